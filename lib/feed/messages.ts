/**
 * The feed: what the router tells proxies, agents and gateways, and what they answer. JSON text over WebSocket.
 *
 * A connection opens with `hello` (reader -> router) and is answered by `snapshot`, or by `changes` when the router
 * still knows what changed since the reader's revision. From then on each committed change arrives once, in order.
 * Rows are whole: a `put` replaces the row of that table and key, `row: null` removes it. Every reader gets its own
 * view: a proxy no credential, an agent only the services placed on it, a gateway only WireGuard peers and other gateways, a
 * backbone only its hosts. Keys shown are that reader's own.
 *
 * The version is checked on `hello`; a reader ignores tables and members that it doesn't know (a newer router).
 */
import { z } from 'zod'
import { PROXY_HEADERS } from '../backend.ts'
import { REDIS_ENGINES } from '../redis-engines.ts'
import { redisLimits } from '../redis-limits.ts'

export const FEED_VERSION = 1
/** A message longer than this is refused by both sides. A snapshot is split into several `snapshot` parts. */
export const MAX_FEED_MESSAGE_BYTES = 1 << 20

const hex = (bytes: number) => z.string().regex(new RegExp(`^[0-9a-f]{${bytes * 2}}$`))
const id = z.string().min(1).max(64)
const text = z.string().max(256)

/** Keys of one (dialer, agent) pair: the newest first; all of them verify, the first one signs. */
const hopKeys = z.array(z.object({ epoch: z.int().min(0), key: hex(32) })).max(4)

const perSecond = z.int().min(1).max(1_000_000_000_000)
const connections = z.int().min(1).max(10_000_000)

/** What one address or network may use at each proxy; a member that isn't there is without limit. */
export const limits = z.object({
  /** Open connections, in equal shares for the nodes of a service: one that carries its share goes behind the others. */
  softConnections: connections.optional(),
  /** Open connections; beyond, a new one waits briefly for one to end and is then reset. */
  maxConnections: connections.optional(),
  /** New connections; beyond, one waits as above. */
  connectionsPerSecond: perSecond.optional(),
  /** Client to node. */
  bytesPerSecondUp: perSecond.optional(),
  /** Node to client. */
  bytesPerSecondDown: perSecond.optional(),
})
export type Limits = z.infer<typeof limits>

export const networkRow = z.object({
  /** 1 .. 2^32-1, the 32 bits behind fdaa. */
  id: z.int().min(1).max(0xffff_ffff),
  org: id,
  name: text,
  limits: limits.optional(),
})

/** `postgres`: PostgreSQL's protocol, as far as its CancelRequest needs it; `tcp`: any bytes. */
export const SERVICE_KINDS = ['redis', 'tcp', 'postgres'] as const

export const placement = z.object({ node: id, role: z.enum(['primary', 'replica', 'peer']) })

/** A service is what an address points at: one database (kind redis), or a server of somebody else's (tcp, postgres). */
export const serviceRow = z.object({
  id,
  org: id,
  name: text,
  kind: z.enum(SERVICE_KINDS),
  port: z.int().min(1).max(65535),
  placements: z.array(placement).max(64),
  /** `keep`, `cut` or `drain:<seconds>`: what happens to live connections (lib/live-policy.ts). */
  live: z.string().max(16).optional(),
  /** Isolation is judged and logged but not enforced, while a service moves in from elsewhere. Absent: enforced. */
  shadow: z.literal(true).optional(),
  /** Where an agent hands its connections on to; only in the view of agents that hold it, never of kind redis. */
  backend: z
    .object({
      /** `unix:/path` or `host:port` (lib/backend.ts). The agent dials it only when its own configuration allows that. */
      target: text,
      /** What the backend gets first. */
      proxyHeader: z.enum(PROXY_HEADERS),
    })
    .optional(),
  /** Only in the view of agents that hold it. */
  redis: z
    .object({
      /** SHA-256 of the tenant's password, as Redis ACL takes it (`#<hex>`). */
      passwordSha256: hex(32),
      /** Masterauth of its replicas. A secret. */
      replicationSecret: z.string().min(16).max(128),
      maxMemoryBytes: z.int().min(1 << 20),
      appendFsync: z.enum(['always', 'everysec']),
      /** Users beside `default`, with rules as lib/acl-rules.ts allows them. */
      users: z.array(z.object({ name: id, passwordSha256: hex(32), rules: z.array(z.string().max(160)).max(64) })).max(32).optional(),
      /** Addresses and subnets that clients must come from (lib/source-list.ts). Absent: any. */
      allowedSources: z.array(z.string().max(64)).max(64).optional(),
      /** Its engine rests after so many minutes without a connection, or never. Absent: as the agent's own setting says. */
      parkAfterMinutes: z.union([z.number().positive(), z.literal('never')]).optional(),
      /** What runs it; absent: as its node is set. */
      engine: z.enum(REDIS_ENGINES).optional(),
      limits: redisLimits.optional(),
      /** At `maxMemoryBytes` keys go, those that expire first, instead of writes being refused. */
      eviction: z.literal(true).optional(),
    })
    .optional(),
})

/** Who does TLS for an address. `auto`: the client's first byte says whether it speaks TLS. */
export const tlsPolicy = z.enum(['terminate', 'passthrough', 'auto'])

export const addressTls = z.object({
  policy: tlsPolicy,
  /** Protocols to agree upon (ALPN), best first; not with `passthrough`. */
  alpn: z.array(z.string().min(1).max(64)).min(1).max(8).optional(),
  /** PEM; clients must present a certificate of this CA. Only with `terminate`: `auto` would let others in without TLS. */
  clientCa: z.string().max(16_384).optional(),
})
export type AddressTls = z.infer<typeof addressTls>

export const addressRow = z.object({
  /** RFC 5952 text. */
  address: z.string().max(39),
  network: z.int().min(1).max(0xffff_ffff),
  /** Starts at 1; a later owner of the same bits never has the same. */
  generation: z.int().min(1),
  service: id,
  /** Absent: bytes are carried as they are. */
  tls: addressTls.optional(),
  limits: limits.optional(),
})

/** A data node: our agent, or a foreign multitenant server that reads PROXY headers itself (hop v1 or v2). */
export const nodeRow = z.object({
  id,
  region: id,
  /** The host it runs on: a proxy on the same host uses `socket`. */
  host: text,
  hop: z.enum(['signed-v2', 'v2', 'v1']),
  /** host:port; IPv6 in brackets. */
  endpoint: text,
  /** Unix socket of the hop, for dialers on the same host. */
  socket: text.optional(),
  /** True: new connections go there only when no other node is left. */
  draining: z.boolean().optional(),
  /** The receiver's own keys for dialing this node; empty for foreign nodes. */
  keys: hopKeys,
})

const wireguardKey = z.string().regex(/^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/)

/**
 * In the view of agents, those who may dial one: proxies, and agents that hold replicas. In the view of gateways, the other
 * gateways, which dial none and have no such keys.
 */
export const dialerRow = z.object({
  id,
  kind: z.enum(['proxy', 'agent', 'gateway']),
  region: id,
  host: text,
  keys: hopKeys,
  /** Of its one certificate that counts, hexadecimal; a router before 0.1 leaves it out. */
  serial: z.string().max(64).optional(),
  /** Of WireGuard; `[address]:port` by UDP. */
  gateway: z.object({ publicKey: wireguardKey, endpoint: text }).optional(),
})

/** A WireGuard peer, and the only sources that it may use. Only in the view of gateways. */
export const wireguardRow = z.object({
  /** Base64; the key. */
  publicKey: wireguardKey,
  id,
  org: id,
  network: z.int().min(1).max(0xffff_ffff),
  /** A /120 of its network. */
  prefix: z.string().max(43),
})

/** A host of the backbone. Only in the view of backbone programs, its own included. */
export const backboneRow = z.object({
  /** Of the host's backbone program, `backbone/<id>`. */
  id,
  host: text,
  /** Base64: the one that it is to use, and while it changes keys the other one, which is accepted as well. */
  keys: z.array(wireguardKey).min(1).max(2),
  /** `[address]:port`, by UDP. */
  endpoint: text,
  /** Where packets to these go, and the only sources that it may use. */
  addresses: z.array(z.string().max(39)).min(1).max(16),
})

export const tables = {
  networks: networkRow,
  services: serviceRow,
  addresses: addressRow,
  nodes: nodeRow,
  dialers: dialerRow,
  wireguard: wireguardRow,
  backbone: backboneRow,
} as const

export type TableName = keyof typeof tables
export type NetworkRow = z.infer<typeof networkRow>
export type ServiceRow = z.infer<typeof serviceRow>
export type AddressRow = z.infer<typeof addressRow>
export type NodeRow = z.infer<typeof nodeRow>
export type DialerRow = z.infer<typeof dialerRow>
export type WireguardRow = z.infer<typeof wireguardRow>
export type BackboneRow = z.infer<typeof backboneRow>
export type HopKeys = z.infer<typeof hopKeys>
export interface Rows {
  networks: NetworkRow
  services: ServiceRow
  addresses: AddressRow
  nodes: NodeRow
  dialers: DialerRow
  wireguard: WireguardRow
  backbone: BackboneRow
}

/** `row` is validated per table by the reader, so that one bad row of a new kind is skipped and reported, not fatal. */
export const changeSchema = z.object({ table: z.string().max(32), key: z.string().max(128), row: z.unknown() })
export type Change = z.infer<typeof changeSchema>

const revision = z.int().min(0)

export const fromRouter = z.discriminatedUnion('type', [
  /** `last` closes the snapshot; only then the whole table is swapped in. */
  z.object({ type: z.literal('snapshot'), revision, digest: hex(32).optional(), rows: z.array(changeSchema), last: z.boolean() }),
  /** Brings a reader from `from` to `revision`. A reader whose revision isn't `from` closes and starts again. */
  z.object({ type: z.literal('changes'), from: revision, revision, rows: z.array(changeSchema) }),
  /** A question to the reader, answered by `answer` with the same id. `name` is 'explain' or 'status'. */
  z.object({ type: z.literal('ask'), id: z.int(), name: z.string().max(32), params: z.unknown() }),
  z.object({ type: z.literal('error'), code: z.string().max(64), message: z.string().max(512) }),
])
export type FromRouter = z.infer<typeof fromRouter>

export const toRouter = z.discriminatedUnion('type', [
  /** First message. `revision` 0 asks for a snapshot. */
  z.object({ type: z.literal('hello'), version: z.int(), program: z.string().max(64), revision }),
  /** Everything up to `revision` is in force. `failed` names services that an agent could not bring up. */
  z.object({
    type: z.literal('ack'),
    revision,
    failed: z.array(z.object({ service: id, code: z.string().max(64), message: z.string().max(512) })).max(1000).optional(),
  }),
  z.object({ type: z.literal('answer'), id: z.int(), result: z.unknown(), error: z.object({ code: z.string(), message: z.string() }).optional() }),
  /** An agent's view of its services, whole, on every change: the router shows it, proxies get theirs over the hop. */
  z.object({ type: z.literal('availability'), unavailable: z.record(id, z.string().max(128)) }),
])
export type ToRouter = z.infer<typeof toRouter>
