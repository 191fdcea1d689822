/**
 * What the API answers. The compiler holds the documents to these schemas, the tests every answer, and openapi.ts writes
 * them down. An `id` makes a schema a component of the description. Strict here, so that nothing leaves by accident;
 * clients must skip members that they don't know.
 */
import { z } from 'zod'
import { PROXY_HEADERS } from '../../../lib/backend.ts'
import { CODES } from '../../../lib/errors.ts'
import { BACKBONE_IMPLEMENTATIONS, engineCommand, importProgress, redisStatistics, slowCommand } from '../../../lib/feed/questions.ts'
import { limits, SERVICE_KINDS, tlsPolicy } from '../../../lib/feed/messages.ts'
import { JOINING_KINDS } from '../../../lib/identity.ts'
import { SCOPES } from '../store/records.ts'
import { REDIS_ENGINES } from '../../../lib/redis-engines.ts'
import { redisLimits } from '../../../lib/redis-limits.ts'
import { redisPlan } from '../objects/plans.ts'

const at = z.iso.datetime().meta({ description: 'RFC 3339, UTC.' })
const milliseconds = z.number().min(0)
const revision = z.int().min(0).meta({ description: 'Number of the change that made it so.' })
const identity = z.string().meta({ description: '`proxy/<id>`, `agent/<id>`, `gateway/<id>` or `backbone/<id>`.', examples: ['proxy/mad-1'] })

export const listOf = <Item extends z.ZodType>(item: Item) => z.array(item).readonly()
const strings = listOf(z.string())

export const problemAnswer = z
  .strictObject({
    type: z.string().meta({ description: '`urn:nearcast:error:<code>`' }),
    title: z.string(),
    status: z.int().min(400).max(599),
    code: z.enum(Object.keys(CODES) as (keyof typeof CODES)[]).meta({ description: 'Stable; docs/errors.md says what each means and what to do.' }),
    detail: z.string().meta({ description: 'For people. May change.' }),
  })
  .meta({ id: 'Problem', description: 'RFC 9457 problem details.' })

const limitsAnswer = z.strictObject(limits.shape).meta({ id: 'Limits', description: 'What may be used at each proxy; a member that is not there is without limit.' })

export const networkAnswer = z
  .strictObject({
    id: z.int(),
    name: z.string(),
    prefix: z.string().meta({ examples: ['fdaa:0:1::/48'] }),
    limits: limitsAnswer.optional().meta({ description: 'Set by operators, for all addresses of the network together.' }),
    createdAt: at,
  })
  .meta({ id: 'Network', description: 'A private network of one organization: a /48 of the address plan.' })

export const orgAnswer = z
  .strictObject({ id: z.string(), name: z.string(), createdAt: at, networks: listOf(networkAnswer) })
  .meta({ id: 'Org', description: 'An organization: a tenant with networks of its own.' })

const reached = z.strictObject({ id: identity, ms: milliseconds })

export const revocationAnswer = z
  .strictObject({
    revision,
    ms: milliseconds,
    proxies: listOf(reached),
    agents: listOf(z.union([reached, z.strictObject({ id: identity, error: z.string() })])),
    missing: strings.meta({ description: 'Connected proxies that have not acknowledged in time; they will when they can.' }),
  })
  .meta({ id: 'Revocation', description: 'How long until every agent and proxy concerned had put a change or removal in force, by the clock of the router.' })

export const provisioningAnswer = z
  .strictObject(revocationAnswer.shape)
  .meta({ id: 'Provisioning', description: 'How long until every agent and proxy concerned had put a change in force, by the clock of the router.' })

const state = z.enum(['provisioning', 'active'])
const port = z.int().min(1).max(65535)

const tlsAnswer = z.strictObject({ policy: z.enum(['off', ...tlsPolicy.options]), alpn: strings.optional(), clientCa: z.string().optional() }).meta({ id: 'Tls' })

export const addressAnswer = z
  .strictObject({
    address: z.string().meta({ description: 'RFC 5952.' }),
    network: z.int(),
    service: z.string(),
    port: port.nullable(),
    generation: z.int().min(1),
    limits: limitsAnswer.optional(),
    granted: z
      .strictObject({ grant: z.string(), owner: z.string(), grantee: z.string() })
      .optional()
      .meta({ description: 'On a network of `grantee`, by a grant of `owner`; ids of organizations.' }),
    tls: tlsAnswer,
    state,
    createdAt: at,
  })
  .meta({ id: 'Address', description: 'A Flycast address: leads connections on one network to a service.' })

export const placementAnswer = z.strictObject({ node: z.string(), role: z.enum(['primary', 'replica', 'peer']) }).meta({ id: 'Placement' })

export const serviceAnswer = z
  .strictObject({
    id: z.string(),
    org: z.string(),
    name: z.string(),
    kind: z.enum(SERVICE_KINDS),
    port,
    hostname: z.string(),
    network: z.int().optional(),
    address: z.string().meta({ description: 'The first of `addresses`; empty when there is none.' }),
    addresses: strings,
    placements: listOf(placementAnswer),
    nodes: strings,
    backend: z.string().optional().meta({ description: 'What agents hand connections on to. Shown to operators.' }),
    proxyHeader: z.enum(PROXY_HEADERS).optional().meta({ description: 'What the backend gets first. Shown to operators.' }),
    live: z.string().optional().meta({ description: '`keep`, `cut` or `drain:<seconds>`: what becomes of live connections.' }),
    shadow: z.literal(true).optional().meta({ description: 'Isolation is judged and logged, not enforced.' }),
    state,
    createdAt: at,
  })
  .meta({ id: 'Service', description: 'What addresses lead to: nodes that serve one port.' })

export const planAnswer = z.strictObject(redisPlan.shape).meta({ id: 'Plan', description: 'What databases on it may use.' })

const secret = 'Left out for a token without the scope `write`.'
export const redisAnswer = z
  .strictObject({
    ...serviceAnswer.shape,
    kind: z.literal('redis'),
    region: z.string(),
    replicas: strings,
    appendFsync: z.enum(['always', 'everysec']),
    maxMemoryBytes: z.int(),
    allowedSources: strings.optional().meta({ description: 'Where clients must come from; absent: from anywhere.' }),
    parkAfterMinutes: z.union([z.number(), z.literal('never')]).optional().meta({ description: 'Absent: as its node is set.' }),
    engine: z.enum(REDIS_ENGINES).optional().meta({ description: 'What runs it; absent: as its nodes are set.' }),
    plan: z.string().optional().meta({ description: 'Whose limits it took over last.' }),
    limits: z.strictObject(redisLimits.shape).optional().meta({ description: 'A member that is absent: without that limit. Each node that holds the database counts for itself.' }),
    eviction: z.literal(true).optional().meta({ description: 'When it is full, keys go instead of writes being refused: those that expire first.' }),
    autoUpgrade: z.literal(true).optional().meta({ description: 'When it meets a limit of its plan, it goes on to the next one.' }),
    dailyBackups: z.int().optional().meta({ description: 'So many are kept; absent: none are taken.' }),
    users: strings.optional().meta({ description: 'Names of its users beside `default`.' }),
    tls: tlsAnswer.shape.policy,
    username: z.string(),
    password: z.string().optional().meta({ description: secret }),
    url: z.string().optional().meta({ description: `${secret} \`rediss://\` when the address takes nothing else.` }),
    env: z
      .strictObject({
        REDIS_URL: z.string().optional(),
        REDIS_TLS_URL: z.string().optional().meta({ description: 'Of an address that takes both: the one with TLS.' }),
        REDIS_HOST: z.string(),
        REDIS_PORT: z.string(),
        REDIS_USERNAME: z.string(),
        REDIS_PASSWORD: z.string().optional(),
        REDIS_ADDRESS: z.string(),
      })
      .meta({ description: 'What an app needs, as environment variables.' }),
  })
  .meta({ id: 'Redis', description: 'A database with its own address.' })

export const redisUserAnswer = z
  .strictObject({
    name: z.string(),
    rules: z.string().meta({ description: 'What is denied to all users of databases stays denied.' }),
    password: z.string().optional().meta({ description: secret }),
    url: z.string().optional().meta({ description: secret }),
    createdAt: at,
  })
  .meta({ id: 'RedisUser', description: 'A user of a database, beside `default`.' })

export const redisStatisticsAnswer = z
  .strictObject({
    nodes: listOf(redisStatistics),
    missing: listOf(z.strictObject({ node: z.string(), code: z.string() })).meta({ description: 'Nodes that did not say, and why.' }),
  })
  .meta({ id: 'RedisStatistics', description: 'Counts live on over restarts; each node counts for itself.' })
export const redisCommandsAnswer = z
  .strictObject({ server: z.string(), commands: listOf(engineCommand) })
  .meta({ id: 'RedisCommands', description: 'What the engine of a database knows; it answers everything else with its own error.' })
export const redisSlowAnswer = z
  .strictObject({
    node: z.string().meta({ description: 'Of the primary.' }),
    ways: listOf(z.strictObject({ proxy: z.string(), node: z.string(), latencyMs: z.number().nullable(), healthy: z.boolean() })).meta({ description: 'Which node each proxy takes, and how far it is.' }),
    latency: redisStatistics.shape.latency,
    engineLatency: redisStatistics.shape.engineLatency.meta({ description: 'In its engine alone, since that started; p99 within twice.' }),
    heldBack: redisStatistics.shape.heldBack.meta({ description: 'How long its engine stood behind its neighbours, because it kept a processor busy; since the agent started.' }),
    limits: redisStatistics.shape.limits.meta({ description: 'Those that were met since the agent started.' }),
    commands: listOf(slowCommand).meta({ description: 'Of the slow log of its engine.' }),
  })
  .meta({ id: 'RedisSlow' })

/** Of a POST: what was made, and how long it took until it was in force. */
export const provisioned = <Shape extends z.ZodRawShape>(made: z.ZodObject<Shape>) => z.strictObject({ ...made.shape, provisioning: provisioningAnswer })

export const takenDownAnswer = z.strictObject({ id: z.string(), name: z.string(), deleted: z.literal(true), revocation: revocationAnswer })
export const addressChangedAnswer = z.strictObject({ ...addressAnswer.shape, change: provisioningAnswer })
export const addressRemovedAnswer = z.strictObject({ address: z.string(), deleted: z.literal(true), revocation: revocationAnswer })
export const backupAnswer = z
  .strictObject({
    id: z.string(),
    database: z.string(),
    kind: z.enum(['manual', 'daily']),
    state: z.enum(['running', 'ready', 'failed']),
    error: z.string().optional(),
    bytes: z.int(),
    sha256: z.string().meta({ description: 'Of the RDB; empty unless it is ready.' }),
    stored: z.enum(['node', 'bucket']).meta({ description: 'Where it lies: on the disk of the node that took it, or in a bucket that outlives it.' }),
    createdAt: at,
  })
  .meta({ id: 'Backup', description: 'A copy of a database of one moment, sealed where it lies.' })
export const backupRemovedAnswer = z.strictObject({ id: z.string(), deleted: z.literal(true) })
export const restoredAnswer = z.strictObject({ database: z.string(), backup: z.string(), state: z.enum(['restored', 'running']), ms: milliseconds })
export const contentAnswer = z.strictObject({
  data: z.string().meta({ description: 'A part of the RDB, in base64.' }),
  next: z.int().nullable().meta({ description: 'Offset of the next part; null: this was the last one.' }),
})
export const importAnswer = importProgress.meta({ id: 'Import', description: 'How far an import into a database is, by the agent of its primary.' })
export const removedUserAnswer = z.strictObject({ name: z.string(), deleted: z.literal(true), revocation: revocationAnswer })
export const removedAnswer = z.strictObject({ id: z.string(), deleted: z.literal(true), revocation: revocationAnswer }).meta({ id: 'Removed' })
export const revokedAnswer = z.strictObject({ ...removedAnswer.shape, addresses: strings.meta({ description: 'Revoked with it.' }) })
/** A change: the object as it is now, and who has put it in force. */
export const changedAnswer = <Shape extends z.ZodRawShape>(object: z.ZodObject<Shape>) => z.strictObject({ ...object.shape, change: revocationAnswer })

export const grantAnswer = z
  .strictObject({
    id: z.string(),
    owner: z.string().meta({ description: 'Name of the organization whose service it is.' }),
    ownerId: z.string(),
    service: z.string(),
    grantee: z.string().optional().meta({ description: 'Name; shown to the grantee and to operators.' }),
    granteeId: z.string(),
    network: z.int().nullable().meta({ description: 'The only network that it is for; null: any of the grantee.' }),
    maxAddresses: z.int(),
    addresses: strings,
    createdAt: at,
  })
  .meta({ id: 'Grant', description: 'A service of one organization may have addresses on networks of another.' })

const wireguardKey = z.string().meta({ description: 'A public key of WireGuard, in base64.' })

export const peerAnswer = z
  .strictObject({
    id: z.string(),
    org: z.string(),
    name: z.string(),
    network: z.int(),
    publicKey: wireguardKey,
    address: z.string().meta({ description: 'Its own, on the network.', examples: ['fdaa:0:1:ffff:ffff::102'] }),
    prefix: z.string().meta({ description: 'All that it may send from.', examples: ['fdaa:0:1:ffff:ffff::100/120'] }),
    seen: z
      .strictObject({ gateway: z.string(), at, receivedBytes: z.int().min(0), sentBytes: z.int().min(0) })
      .optional()
      .meta({ description: 'The gateway that had its last handshake, when that was, and bytes since it came in there; absent: no connected gateway holds it now.' }),
    createdAt: at,
  })
  .meta({ id: 'WireguardPeer', description: 'A machine that reaches a network by WireGuard.' })

const atGateways = z
  .strictObject({ revision, ms: milliseconds, gateways: listOf(reached), missing: strings.meta({ description: 'Connected gateways that have not acknowledged in time.' }) })
  .meta({ id: 'AtGateways', description: 'How long until every connected gateway had put a change in force.' })

export const peerChangedAnswer = z.strictObject({ ...peerAnswer.shape, provisioning: atGateways })
export const peerRemovedAnswer = z.strictObject({ id: z.string(), name: z.string(), deleted: z.literal(true), revocation: atGateways })

export const gatewayAnswer = z
  .strictObject({
    id: z.string(),
    region: z.string(),
    publicKey: wireguardKey,
    endpoints: strings.meta({ description: '`host:port` by UDP.' }),
    websocket: z.string().optional().meta({ description: 'For clients that UDP does not reach.' }),
    neighbours: z.string().optional().meta({ description: 'Where other gateways find it, by UDP; absent: its peers do not reach those at other gateways.' }),
    connected: z.boolean().meta({ description: 'Whether it follows the feed now.' }),
    joinedAt: at,
  })
  .meta({ id: 'Gateway', description: 'Where WireGuard peers come in.' })
export const gatewayRemovedAnswer = z.strictObject({ id: z.string(), deleted: z.literal(true) })

const onBackbone = z
  .strictObject({ revision, ms: milliseconds, hosts: listOf(reached), missing: strings.meta({ description: 'Connected hosts that have not acknowledged in time.' }) })
  .meta({ id: 'OnBackbone', description: 'How long until every connected host of the backbone had put a change in force.' })

export const backboneAnswer = z
  .strictObject({
    id: z.string(),
    region: z.string(),
    host: z.string(),
    publicKey: wireguardKey,
    endpoint: z.string().meta({ description: 'By UDP.' }),
    addresses: strings.meta({ description: 'What goes to these from other hosts goes through the backbone.' }),
    connected: z.boolean().meta({ description: 'Whether it follows the feed now.' }),
    implementation: z.enum(BACKBONE_IMPLEMENTATIONS).optional().meta({ description: 'Whose WireGuard it is; absent: it did not say.' }),
    reaches: listOf(z.string()).optional().meta({ description: 'Hosts that it sends to through the backbone at this moment; absent: it did not say.' }),
    rekey: z.strictObject({ waitsFor: strings }).optional().meta({ description: 'While its key changes: who has to acknowledge.' }),
    joinedAt: at,
  })
  .meta({ id: 'BackboneHost', description: 'A host of the backbone.' })
export const backboneRekeyAnswer = z.strictObject({ id: z.string(), publicKey: wireguardKey.meta({ description: 'The new one.' }), change: onBackbone })
export const backboneRemovedAnswer = z.strictObject({ id: z.string(), deleted: z.literal(true), revocation: onBackbone })

export const nodeAnswer = z
  .strictObject({
    id: z.string(),
    region: z.string(),
    host: z.string(),
    hop: z.enum(['signed-v2', 'v2', 'v1']),
    endpoint: z.string(),
    socket: z.string().optional(),
    connected: z.boolean().optional().meta({ description: 'Of an agent: whether it follows the feed now.' }),
    revoked: z.boolean().optional(),
    draining: z.boolean().meta({ description: 'New connections go there only when no other node is left.' }),
    services: z.int().min(0).meta({ description: 'How many are placed on it.' }),
    createdAt: at,
  })
  .meta({ id: 'Node', description: 'A data node: an agent that joined, or a foreign server that reads PROXY headers itself.' })

export const programAnswer = z
  .strictObject({
    kind: z.enum(JOINING_KINDS),
    id: z.string(),
    identity,
    region: z.string(),
    host: z.string(),
    joinedAt: at,
    connected: z.boolean(),
    program: z.string().optional().meta({ description: 'Name and version.' }),
    connectedAt: at.optional(),
    revision,
    lag: z.int().min(0).nullable().meta({ description: 'Revisions sent and not acknowledged; null while it is away.' }),
    unavailable: z.record(z.string(), z.string()).optional().meta({ description: 'Services that its agent cannot serve, with the reason.' }),
  })
  .meta({ id: 'Program', description: 'A proxy, agent, gateway or backbone that joined.' })

export const statusAnswer = z
  .strictObject({ router: z.string(), revision, keyRotation: z.enum(['running', 'none']), programs: listOf(programAnswer) })
  .meta({ id: 'Status' })

export const tokenAnswer = z
  .strictObject({
    id: z.string(),
    name: z.string(),
    role: z.enum(['operator', 'member']),
    org: z.string().optional(),
    scopes: listOf(z.enum(SCOPES)),
    expiresAt: at.optional(),
    createdAt: at,
  })
  .meta({ id: 'Token', description: 'An API token, without the token itself.' })

export const tokenMadeAnswer = z.strictObject({ ...tokenAnswer.shape, token: z.string().meta({ description: 'Shown this once.' }) })
export const joinTokenAnswer = z.strictObject({ token: z.string(), expiresAt: at })
export const joinAnswer = z.strictObject({ identity, certificate: z.string(), ca: z.string() }).meta({ description: 'Certificates in PEM.' })
export const rotationAnswer = z.strictObject({ epoch: z.int(), revision })

export const auditAnswer = z
  .strictObject({
    id: z.int(),
    revision,
    at,
    who: z.string(),
    what: z.string(),
    org: z.string(),
    kind: z.string(),
    key: z.string(),
    before: z.unknown().meta({ description: 'Without secrets; null when it was made.' }),
    after: z.unknown().meta({ description: 'Without secrets; null when it was removed.' }),
  })
  .meta({ id: 'AuditEntry' })

/** Made by a proxy, which may be of another version: members that this one doesn't know pass. */
export const explainAnswer = z
  .looseObject({
    proxy: z.string(),
    revision,
    verdict: z.looseObject({ allowed: z.boolean(), reason: z.string().optional(), sourceNetwork: z.int().optional(), network: z.int().optional() }),
    service: z.string().optional(),
    name: z.string().optional(),
    port: port.optional(),
    candidates: listOf(
      z.looseObject({
        node: z.string(),
        region: z.string(),
        role: z.enum(['primary', 'replica', 'peer']),
        latencyMs: milliseconds.nullable(),
        connectMs: milliseconds.nullable(),
        healthy: z.boolean(),
        available: z.boolean(),
        reason: z.string().optional(),
        connections: z.int().min(0),
        load: z.number(),
        score: z.number().nullable(),
        rank: z.int().min(1).meta({ description: '1 is tried first.' }),
      }),
    ),
    chosen: z.string().optional(),
    why: z.string(),
  })
  .meta({ id: 'Explanation', description: 'Why a connection goes where it goes, by the tables that the data path reads.' })

export const regionAnswer = z
  .strictObject({
    id: z.string(),
    nodes: z.int().min(1).meta({ description: 'Data nodes that can hold databases.' }),
    connected: z.int().min(0).meta({ description: 'How many of them follow the feed now.' }),
  })
  .meta({ id: 'Region', description: 'Where databases can be.' })

const feedPosition = z.looseObject({ state: z.string(), revision })

/** Of programs, which may be of another version: members that this one doesn't know pass. */
export const liveProxy = z.looseObject({
  proxy: z.string(),
  region: z.string(),
  feed: feedPosition,
  addresses: z.int(),
  ports: listOf(z.int()),
  connections: z.int(),
  nodes: listOf(
    z.looseObject({
      node: z.string(),
      region: z.string(),
      hop: z.string(),
      healthy: z.boolean(),
      reason: z.string().optional(),
      reachable: z.boolean(),
      latencyMs: milliseconds.nullable(),
      connectMs: milliseconds.nullable(),
      connections: z.int(),
      load: z.number(),
      unavailable: z.int(),
    }),
  ),
})

const measured = z
  .object({
    count: z.int().min(1),
    p50: milliseconds,
    p90: milliseconds,
    p99: milliseconds,
    samples: listOf(milliseconds).meta({ description: 'The oldest first.' }),
  })
  .meta({ id: 'Measured', description: 'The last probes of one proxy to one node, in milliseconds.' })

/** What a latency report takes from a proxy's status. */
export const measuringProxy = z.object({
  proxy: z.string(),
  region: z.string(),
  nodes: listOf(
    z.object({
      node: z.string(),
      region: z.string(),
      healthy: z.boolean(),
      connect: measured.nullable().meta({ description: 'A fresh dial, TLS handshake included; null before the first.' }),
      rtt: measured.nullable().meta({ description: 'Question to answer on that connection.' }),
    }),
  ),
})

export const latencyAnswer = z
  .strictObject({
    at: z.iso.datetime(),
    proxies: listOf(measuringProxy),
    missing: listOf(z.strictObject({ identity, reason: z.string() })).meta({ description: 'Proxies that did not answer.' }),
  })
  .meta({ id: 'Latencies', description: 'From every connected proxy to every node.' })

export const liveAgent = z.looseObject({
  agent: z.string(),
  region: z.string(),
  feed: feedPosition,
  connections: z.int(),
  databases: listOf(
    z.looseObject({
      service: z.string(),
      role: z.enum(['primary', 'replica']),
      reason: z.string().nullable(),
      writesRefused: z.boolean(),
      linked: z.boolean().nullable(),
      connections: z.int(),
    }),
  ),
})

export const liveAnswer = z
  .strictObject({
    revision,
    proxies: listOf(liveProxy),
    agents: listOf(liveAgent),
    services: listOf(z.strictObject({ id: z.string(), org: z.string(), name: z.string(), kind: z.string() })).meta({
      description: 'Names of the services that agents speak of.',
    }),
    missing: listOf(z.strictObject({ identity, reason: z.string() })).meta({ description: 'Programs that did not answer.' }),
  })
  .meta({ id: 'Live', description: 'What proxies and agents say of themselves at this moment.' })

export const openApiAnswer = z.looseObject({ openapi: z.string() }).meta({ description: 'OpenAPI 3.1.' })
