/**
 * What a gateway can be told: every key of gateway.toml, with its default. Defaults are applied here and nowhere else.
 * nearcast.example.toml is the manual.
 */
import { z } from 'zod'
import { DEFAULT_PREFIX } from '../../lib/address.ts'
import { BACKBONE_ENDPOINT } from '../../lib/identity.ts'
import { parseListen } from '../../lib/listen.ts'
import { DEFAULT_MTU, WIREGUARD_BYTES } from '../../lib/wireguard/constants.ts'
import { WANTED_PATHS } from '../../lib/wireguard/wanted-path.ts'
import { PROGRAM_KEYS, tunKeys } from '../program-keys.ts'

const listen = z.string().superRefine((text, context) => {
  try {
    if (parseListen(text).kind === 'unix') context.addIssue('a datagram needs host:port or fd:N')
  } catch (error) {
    context.addIssue(error instanceof Error ? error.message : String(error))
  }
})
const LISTEN_IPV6 = /^\[[0-9a-fA-F:.]+\]:\d+$/
const endpoint = z.string().max(128).regex(/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):([1-9]\d{0,4})$/, 'write host:port, an IPv6 address in brackets')

export const gatewayConfig = z
  .strictObject({
    ...PROGRAM_KEYS,
    /** Where peers find it, best first; told to the router when it joins. */
    advertise: z.union([endpoint, z.array(endpoint).min(1).max(8)]),
    prefix: z
      .string()
      .regex(/^[0-9a-f]{4}$/, 'use four hexadecimal digits')
      .default(DEFAULT_PREFIX.toString(16)),
    /** Whether this program installs the routes to its peers itself. */
    manageHost: z.boolean().default(true),
    neighbours: z
      .strictObject({
        /** Where the other gateways find it, by UDP: an address of its host on the backbone, and the port of wireguard.listen. Told to the router when it joins. */
        advertise: z.string().max(64).regex(BACKBONE_ENDPOINT, 'write [IPv6 address]:port').optional(),
        /** Of packets to them: 80 less than that of the backbone, which is 80 less than that of the way. */
        mtu: z.int().min(1280).max(9000).default(DEFAULT_MTU - WIREGUARD_BYTES),
      })
      .prefault({}),
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
    /** Of the interface; the proxy names it in [[ingress]]. */
    tun: tunKeys('nearcast-wg'),
  })
  .refine(({ neighbours, wireguard }) => neighbours.advertise === undefined || wireguard.listen.some((place) => LISTEN_IPV6.test(place)), 'neighbours.advertise needs an IPv6 address in wireguard.listen')

export type GatewayConfig = z.infer<typeof gatewayConfig>
