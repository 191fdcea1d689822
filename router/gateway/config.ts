/**
 * What a gateway can be told: every key of gateway.toml, with its default. Defaults are applied here and nowhere else.
 * nearcast.example.toml is the manual.
 */
import { z } from 'zod'
import { DEFAULT_PREFIX } from '../../lib/address.ts'
import { ID_PATTERN } from '../../lib/identity.ts'
import { parseListen } from '../../lib/listen.ts'
import { LOG_LEVELS } from '../../lib/log.ts'
import { DEFAULT_MTU } from '../../lib/wireguard/constants.ts'
import { WANTED_PATHS } from '../../lib/wireguard/wanted-path.ts'

const listen = z.string().superRefine((text, context) => {
  try {
    if (parseListen(text).kind === 'unix') context.addIssue('a datagram needs host:port or fd:N')
  } catch (error) {
    context.addIssue(error instanceof Error ? error.message : String(error))
  }
})
const endpoint = z.string().max(128).regex(/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):([1-9]\d{0,4})$/, 'write host:port, an IPv6 address in brackets')

export const gatewayConfig = z.strictObject({
  /** Names this gateway; its identity is gateway/<id>. */
  id: z.string().regex(ID_PATTERN, 'use up to 40 of a-z, 0-9 and "-"'),
  host: z.string().min(1).max(100),
  region: z.string().regex(ID_PATTERN, 'use up to 40 of a-z, 0-9 and "-"'),
  /** Identity, WireGuard key and the last good table. */
  stateDir: z.string().min(1),
  /** The router's feed. */
  router: z.url({ protocol: /^https$/, error: 'use https://host:port' }),
  joinTokenFile: z.string().min(1).optional(),
  /** Where peers find it, best first; told to the router when it joins. */
  advertise: z.union([endpoint, z.array(endpoint).min(1).max(8)]),
  prefix: z
    .string()
    .regex(/^[0-9a-f]{4}$/, 'use four hexadecimal digits')
    .default(DEFAULT_PREFIX.toString(16)),
  /** Whether this program installs the routes to its peers itself. */
  manageHost: z.boolean().default(true),
  wireguard: z
    .strictObject({
      /** UDP: `host:port`, or `fd:N` inherited from the starter. */
      listen: z.array(listen).min(1).max(8).default(['0.0.0.0:51820', '[::]:51820']),
      /** How datagrams come and go: `auto` takes the fast path where the kernel has it. */
      path: z.enum(WANTED_PATHS).default('auto'),
      /** Beyond, those who ask for a handshake are asked for a cookie. */
      handshakesPerSecond: z.int().min(1).max(100_000).default(200),
      /** At the same time. */
      maxPeers: z.int().min(1).max(1_000_000).default(100_000),
      /** A peer without a session for so long is forgotten until its next handshake. */
      idleSeconds: z.int().min(1).max(86_400).default(600),
    })
    .prefault({}),
  websocket: z
    .strictObject({
      /** TLS, for machines that UDP doesn't reach: `host:port` or `fd:N`. Without it there is none. */
      listen: listen.optional(),
      /** PEM files: the chain, leaf first, and its key. Read again when they change. */
      certificate: z.string().min(1).optional(),
      key: z.string().min(1).optional(),
      /** `wss://host/`; told to the router when it joins. */
      advertise: z.url({ protocol: /^wss$/, error: 'write wss://host/ or wss://host:port/' }).max(200).optional(),
      maxConnections: z.int().min(1).max(1_000_000).default(10_000),
    })
    .prefault({})
    .refine(({ listen: place, certificate, key, advertise }) => [place, certificate, key, advertise].every((each) => each === undefined) || [place, certificate, key, advertise].every((each) => each !== undefined), 'listen, certificate, key and advertise go together'),
  tun: z
    .strictObject({
      /** Of the interface that it makes; the proxy names it in [[ingress]]. */
      name: z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/, 'use the name of a network interface').default('nearcast-wg'),
      /** Of packets inside; 80 less than that of the way to the peers. */
      mtu: z.int().min(1280).max(9000).default(DEFAULT_MTU),
    })
    .prefault({}),
  admin: z.strictObject({ listen: z.string().min(1).optional() }).prefault({}),
  log: z.strictObject({ level: z.enum(LOG_LEVELS).default('info') }).prefault({}),
})

export type GatewayConfig = z.infer<typeof gatewayConfig>
