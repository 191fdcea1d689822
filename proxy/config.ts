/**
 * What a proxy can be told: every key of proxy.toml, with its default. Read by lib/config.ts, shown in
 * nearcast.example.toml. Defaults are applied here and nowhere else.
 */
import { availableParallelism } from 'node:os'
import { z } from 'zod'
import { DEFAULT_PREFIX, networkOf, parseIpv6 } from '../lib/address.ts'
import type { NetworkId } from '../lib/address.ts'
import { LOG_LEVELS } from '../lib/log.ts'
import { WANTED_PLANES } from '../lib/plane/wanted.ts'
import { INTERCEPTS } from './host/interception.ts'
import { GATEWAY } from './host/ruleset.ts'

const id = z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/, 'use 1 to 40 lower-case letters, digits and dashes')
const milliseconds = (least: number, most: number) => z.int().min(least).max(most)

const ingress = z.strictObject({
  /** A network interface that leads to clients of one network, and of no other; or the one of a gateway on this host. */
  interface: z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/, 'use the name of a network interface'),
  /** That network: `fdaa:0:1::/48`; or `gateway`. */
  network: z.string().max(43),
})

export const proxyConfig = z
  .strictObject({
    /** Names this proxy; its identity is `proxy/<id>`. */
    id,
    /** The machine it runs on. An agent that names the same host is reached over its Unix socket. */
    host: z.string().min(1).max(256),
    region: z.string().min(1).max(64),
    /** Holds the identity (identity files 0600) and the last good table (feed.json). */
    stateDir: z.string().min(1),
    /** The router's feed: `https://[fdaa::10]:7300`. */
    router: z.url({ protocol: /^https$/, error: 'use https://host:port' }),
    /** A file with a single-use token; read only while there is no identity yet. NEARCAST_JOIN_TOKEN does the same. */
    joinTokenFile: z.string().min(1).optional(),
    /** The first 16 bits of the address plan, in hexadecimal. */
    prefix: z
      .string()
      .regex(/^[0-9a-f]{4}$/, 'use four hexadecimal digits')
      .default(DEFAULT_PREFIX.toString(16)),
    /** Who moves the bytes: `portable` is Node's sockets, and what `auto` takes; `uring` is the kernel's io_uring. */
    plane: z.enum(WANTED_PLANES).default('auto'),
    /**
     * Threads that carry connections on the io_uring plane, beside the one that keeps tables and probes: `auto` is one per
     * processor, 0 lets that one carry them too. All connections of a network meet the same thread.
     */
    dataThreads: z.union([z.literal('auto'), z.int().min(0).max(64)]).default('auto'),
    /** Whether this program installs routes and nftables rules itself. false: the operator has done so. */
    manageHost: z.boolean().default(true),
    /** How connections come in: `tproxy` has one listener for all addresses and ports, `local` one per port; `auto` takes the first where it can. */
    intercept: z.enum(INTERCEPTS).default('auto'),
    /** The interfaces whose source addresses can be believed, each for one network. */
    ingress: z.array(ingress).max(1024).default([]),
    dial: z
      .strictObject({
        /** One attempt at one node, TLS handshake and status byte included; four times its latency are added. */
        connectTimeoutMs: milliseconds(10, 60_000).default(1000),
        /** All attempts of one connection together. */
        deadlineMs: milliseconds(10, 300_000).default(5000),
      })
      .prefault({}),
    health: z
      .strictObject({
        /** Time between two probes of one node; each is moved by up to a tenth at random. */
        intervalMs: milliseconds(50, 600_000).default(2000),
        /** One probe; four times the node's latency are added. */
        timeoutMs: milliseconds(10, 60_000).default(2000),
        /** That many failures in a row, of probes or of dials, make a node unhealthy. */
        failures: z.int().min(1).max(100).default(3),
        /** That many probes in a row that succeed make it healthy again. */
        successes: z.int().min(1).max(100).default(2),
      })
      .prefault({}),
    nearest: z
      .strictObject({
        /** A service moves to another node only when that one is better by this share … */
        hysteresisPercent: z.number().min(0).max(1000).default(20),
        /** … and by this much. */
        hysteresisMs: z.number().min(0).max(10_000).default(1),
      })
      .prefault({}),
    limits: z
      .strictObject({
        /** Open client connections in all. Beyond: reset and counted. */
        maxConnections: z.int().min(1).max(10_000_000).default(10_000),
        /** Open client connections from one source network. */
        perNetworkConnections: z.int().min(1).max(10_000_000).default(2000),
        /** Beyond a limit of an address or its network that many new connections of an address wait for their turn … */
        queueLength: z.int().min(0).max(10_000).default(64),
        /** … each for so long; then, or when the queue is full, they are reset. */
        queueMs: milliseconds(1, 60_000).default(1000),
      })
      .prefault({}),
    tls: z
      .strictObject({
        /** PEM files: the chain, leaf first, and its key. The first one is for clients that name no server. Read again when they change. */
        certificates: z.array(z.strictObject({ certificate: z.string().min(1), key: z.string().min(1) })).max(1000).default([]),
        /** A directory of `<name>.pem` (or `.crt`) files, each with its `<name>.key`. */
        directory: z.string().min(1).optional(),
        /** From the first byte of a client's TLS to the end of its handshake. */
        handshakeTimeoutMs: milliseconds(100, 60_000).default(5000),
        /** `auto` takes a client that says nothing for so long for one without TLS. */
        firstByteMs: milliseconds(100, 60_000).default(3000),
        /** Half handshakes in all. Beyond: reset and counted. */
        maxHandshakes: z.int().min(1).max(1_000_000).default(1000),
        /** Half handshakes from one source network. */
        perNetworkHandshakes: z.int().min(1).max(1_000_000).default(250),
        /** New keys for session tickets; older tickets cost their clients a full handshake. */
        ticketKeyHours: z.number().min(0.01).max(24 * 7).default(12),
      })
      .prefault({}),
    admin: z
      .strictObject({
        /** `host:port`, `unix:/path` or `fd:<n>` of /metrics, /healthz and /readyz. Without it there is none. */
        listen: z.string().min(1).optional(),
      })
      .prefault({}),
    log: z.strictObject({ level: z.enum(LOG_LEVELS).default('info') }).prefault({}),
  })
  .superRefine((config, context) => {
    const prefix = Number.parseInt(config.prefix, 16)
    const seen = new Set<string>()
    config.ingress.forEach((entry, index) => {
      if (ingressNetwork(entry.network, prefix) === null) {
        const message = `"${entry.network}" must be a network of the address plan, like ${config.prefix}:0:1::/48, or "${GATEWAY}"`
        context.addIssue({ code: 'custom', path: ['ingress', index, 'network'], message })
      }
      if (seen.has(entry.interface)) {
        const message = `"${entry.interface}" is named twice; an interface belongs to one network`
        context.addIssue({ code: 'custom', path: ['ingress', index, 'interface'], message })
      }
      seen.add(entry.interface)
    })
  })

export type ProxyConfig = z.infer<typeof proxyConfig>

export function dataThreads(wanted: ProxyConfig['dataThreads']): number {
  return wanted === 'auto' ? availableParallelism() : wanted
}

/** The network of `fdaa:0:1::/48`, `gateway` as it is, or null when it is neither. */
export function ingressNetwork(text: string, prefix: number): NetworkId | typeof GATEWAY | null {
  if (text === GATEWAY) return GATEWAY
  const [address, length, ...rest] = text.split('/')
  if (address === undefined || length !== '48' || rest.length > 0) return null
  try {
    const bytes = parseIpv6(address)
    return bytes.subarray(6).every((byte) => byte === 0) ? networkOf(bytes, prefix) : null
  } catch {
    return null
  }
}
