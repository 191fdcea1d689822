/** What requests may say. Unknown members are refused: a misspelt limit must not be silently without effect. */
import { z } from 'zod'
import { USER_NAME } from '../../../lib/acl-rules.ts'
import { PROXY_HEADERS } from '../../../lib/backend.ts'
import { limits, wireguardRow } from '../../../lib/feed/messages.ts'
import { BACKBONE_ENDPOINT, ID_PATTERN, JOINING_KINDS } from '../../../lib/identity.ts'
import { LIVE_POLICY } from '../../../lib/live-policy.ts'
import { MAX_SOURCES, parseSource } from '../../../lib/source-list.ts'
import { REDIS_ENGINES } from '../../../lib/redis-engines.ts'
import { redisLimits } from '../../../lib/redis-limits.ts'
import { maxMemory, PLAN_NAME } from '../objects/plans.ts'
import { SCOPES } from '../store/records.ts'

/** A DNS label: names of services are host names. */
export const name = z.string().regex(/^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/, 'use up to 40 of a-z, 0-9 and "-", not at the ends')
const id = z.string().regex(ID_PATTERN, 'use up to 40 of a-z, 0-9 and "-"')
const region = id
const host = z.string().min(1).max(100)
const endpoint = z.string().max(128).regex(/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):([1-9]\d{0,4})$/, 'write host:port, an IPv6 address in brackets')
/** By its number: no name is looked up on the way into the backbone. */
const backboneEndpoint = z.string().max(64).regex(BACKBONE_ENDPOINT, 'write [IPv6 address]:port')
const reference = z.string().min(1).max(64)
const port = z.int().min(1).max(65535)
const live = z
  .string()
  .regex(LIVE_POLICY, 'write keep, cut or drain:<seconds>')
  .meta({ description: 'What becomes of live connections when their address is revoked or their node drains or is unhealthy.' })

const wholeNumber = (fallback: number, most: number) => z.coerce.number<string>().int().min(0).max(most).default(fallback)

const tls = z
  .strictObject({
    policy: z.enum(['off', 'terminate', 'passthrough', 'auto']).meta({
      description: '`auto`: the first byte of the client says whether it speaks TLS, so the client must speak first. `passthrough`: the server does TLS.',
    }),
    alpn: z.array(z.string().min(1).max(64)).min(1).max(8).optional().meta({ description: 'Protocols to agree upon, best first.' }),
    clientCa: z.string().min(1).max(16_384).optional().meta({ description: 'PEM; clients must present a certificate of this CA. Only with `terminate`.' }),
  })
  .meta({ description: 'Who does TLS for the address; off unless told.' })

const plan = z.string().regex(PLAN_NAME).meta({ description: 'Takes over its limits; GET /v1/plans lists them. null, for operators: no plan and no limits.' })
const eviction = z.boolean().meta({ description: 'When it is full, keys go instead of writes being refused: those that expire first.' })
/** Each member of the row; null: without that limit. */
const redisLimitsChange = z
  .strictObject({
    maxClients: redisLimits.shape.maxClients.nullable(),
    commandsPerSecond: redisLimits.shape.commandsPerSecond.nullable(),
    commandsPerDay: redisLimits.shape.commandsPerDay.nullable(),
    commandsPerMonth: redisLimits.shape.commandsPerMonth.nullable(),
    requestBytes: redisLimits.shape.requestBytes.nullable(),
    entryBytes: redisLimits.shape.entryBytes.nullable(),
    bytesPerSecond: redisLimits.shape.bytesPerSecond.nullable(),
    bytesPerDay: redisLimits.shape.bytesPerDay.nullable(),
    idleSeconds: redisLimits.shape.idleSeconds.nullable(),
    scriptMs: redisLimits.shape.scriptMs.nullable(),
  })
  .meta({ description: 'Operators only; others choose a plan.' })

export const orgBody = z.strictObject({ name })
export const networkBody = z.strictObject({ name })
export const redisBody = z.strictObject({
  name,
  region,
  replicas: z.array(region).max(16).default([]),
  network: reference.optional(),
  live: live.optional(),
  appendFsync: z.enum(['always', 'everysec']).default('everysec'),
  maxMemoryBytes: maxMemory.default(100 * (1 << 20)).meta({ description: 'Unless its plan says it.' }),
  engine: z.enum(REDIS_ENGINES).optional().meta({ description: 'What runs it, for ever; default: as its nodes are set.' }),
  plan: plan.optional(),
  eviction: eviction.optional(),
  tls: tls.optional(),
})
export const redisChangeBody = z.strictObject({
  plan: plan.nullable().optional(),
  eviction: eviction.optional(),
  limits: redisLimitsChange.optional(),
  maxMemoryBytes: maxMemory.optional().meta({ description: 'Operators only.' }),
  autoUpgrade: z.boolean().optional().meta({ description: 'When it meets a limit of its plan, it goes on to the next one that gives more of that, in the order of GET /v1/plans.' }),
  allowedSources: z
    .array(z.string().max(64).refine((text) => parseSource(text) !== null, 'write an address or a subnet: 192.0.2.7, 10.0.0.0/8, fdaa:0:1::/48'))
    .min(1)
    .max(MAX_SOURCES)
    .nullable()
    .optional()
    .meta({ description: 'Addresses and subnets, IPv4 and IPv6, that clients must come from; null: from anywhere.' }),
  parkAfterMinutes: z
    .union([z.int().min(1).max(525_600), z.literal('never')])
    .nullable()
    .optional()
    .meta({ description: 'Its engine rests after so many minutes without a connection (one with replicas never does); the next connection wakes it. null: as its node is set.' }),
  dailyBackups: z.int().min(1).max(30).nullable().optional().meta({ description: 'A backup every day, so many kept; null: none are taken, those that there are stay.' }),
})
export const restoreBody = z.strictObject({ backup: reference.meta({ description: 'Of this or another database of the organization.' }) })
export const importBody = z.strictObject({
  from: z.string().max(1024).regex(/^rediss?:\/\//, 'write redis://user:password@host:port, or rediss://').meta({ description: 'It is kept nowhere.' }),
})
export const contentQuery = z.strictObject({ offset: wholeNumber(0, Number.MAX_SAFE_INTEGER).meta({ description: '`next` of the answer before.' }) })
export const redisUserBody = z.strictObject({
  name: z.string().regex(USER_NAME, 'use up to 40 of a-z, 0-9, "-" and "_"; not "default", nothing that begins with "nearcast"'),
  rules: z.string().min(1).max(4096).meta({ description: "Redis's ACL rules of commands, categories, keys and channels.", examples: ['~app:* &* +@read +@write'] }),
})
export const resetPasswordBody = z.strictObject({})
export const serviceBody = z.strictObject({
  name,
  kind: z.enum(['tcp', 'postgres']).default('tcp'),
  port,
  nodes: z.array(id).min(1).max(64),
  network: reference.optional(),
  live: live.optional(),
  backend: z.string().max(256).optional().meta({ description: 'What agents hand connections on to: `unix:/path` or `host:port`. Operators only.' }),
  proxyHeader: z.enum(PROXY_HEADERS).optional().meta({ description: 'What the backend gets first; default `none`.' }),
})
export const addressBody = z.strictObject({
  service: z.string().min(1).max(128).meta({ description: 'Name or id; `owner/service` for one that a grant gives.' }),
  network: reference.optional(),
  tls: tls.optional(),
})

/** Each member of the row; null: without that limit. */
const limitsChange = z.strictObject({
  softConnections: limits.shape.softConnections.nullable(),
  maxConnections: limits.shape.maxConnections.nullable(),
  connectionsPerSecond: limits.shape.connectionsPerSecond.nullable(),
  bytesPerSecondUp: limits.shape.bytesPerSecondUp.nullable(),
  bytesPerSecondDown: limits.shape.bytesPerSecondDown.nullable(),
})
export const addressChangeBody = z.strictObject({ tls: tls.optional(), limits: limitsChange.optional() })
export const networkChangeBody = z.strictObject({ limits: limitsChange.optional() })
export const serviceChangeBody = z.strictObject({
  live: live.nullable().optional(),
  shadow: z.boolean().optional().meta({ description: 'Operators: judge and log isolation without enforcing it, while a service moves in.' }),
})
export const nodeChangeBody = z.strictObject({ draining: z.boolean().optional() })
export const grantBody = z.strictObject({
  service: reference,
  grantee: reference.meta({ description: 'Id of an organization; operators may give its name.' }),
  network: reference.optional().meta({ description: 'The only network of the grantee that it is for.' }),
  maxAddresses: z.int().min(1).max(100).default(8),
})
export const grantAddressBody = z.strictObject({ network: reference.optional() })
const wireguardKey = wireguardRow.shape.publicKey.meta({ description: 'Of WireGuard, in base64: `wg pubkey` prints it.' })
export const peerBody = z.strictObject({ name, publicKey: wireguardKey, network: reference.optional() })
export const peerResetBody = z.strictObject({ publicKey: wireguardKey })
export const nodeBody = z.strictObject({ id, region, host: host.optional(), hop: z.enum(['v1', 'v2']), endpoint })
export const tokenBody = z.strictObject({
  name,
  role: z.enum(['operator', 'member']),
  org: reference.optional(),
  scopes: z.array(z.enum(SCOPES)).min(1).max(SCOPES.length).optional().meta({ description: 'Default: all. `write` includes `read`.' }),
  expiresAt: z.iso.datetime({ offset: true }).optional().meta({ description: 'Default: it counts until it is removed.' }),
})
export const joinTokenBody = z.strictObject({ kind: z.enum(JOINING_KINDS), id, region, host })
export const joinBody = z.strictObject({
  token: z.string().min(1).max(200),
  publicKey: z.string().min(1).max(1000),
  endpoint: endpoint.optional(),
  socket: z.string().startsWith('/').max(200).optional(),
  backbone: z
    .strictObject({ publicKey: wireguardKey, endpoint: backboneEndpoint, addresses: z.array(z.string().max(39)).min(1).max(16) })
    .optional()
    .meta({ description: 'Of a host of the backbone: where the others find it, and its addresses, whose traffic goes through the backbone.' }),
  gateway: z
    .strictObject({
      publicKey: wireguardKey,
      endpoints: z.array(endpoint).min(1).max(8),
      websocket: z.url({ protocol: /^wss$/ }).max(200).optional(),
      neighbours: backboneEndpoint.optional(),
    })
    .optional()
    .meta({ description: 'Of a gateway: where its peers find it, and where other gateways do.' }),
})
export const emptyBody = z.strictObject({})

export const auditQuery = z.strictObject({
  after: wholeNumber(0, Number.MAX_SAFE_INTEGER).meta({ description: 'Only entries with a higher id.' }),
  limit: wholeNumber(100, 1000).meta({ description: 'At most so many.' }),
})
export const explainQuery = z.strictObject({
  from: z.string().max(128).meta({ description: 'An address, or org/region.' }),
  to: z.string().max(128).meta({ description: 'An address, name.flycast, or the name of a service.' }),
  proxy: z.string().max(64).optional().meta({ description: 'Ask this proxy.' }),
  region: z.string().max(64).optional().meta({ description: 'Ask a proxy of this region.' }),
})
