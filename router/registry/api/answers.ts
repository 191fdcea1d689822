/**
 * What the API answers. The compiler holds the documents to these schemas, the tests every answer, and openapi.ts writes
 * them down. An `id` makes a schema a component of the description. Strict here, so that nothing leaves by accident;
 * clients must skip members that they don't know.
 */
import { z } from 'zod'
import { PROXY_HEADERS } from '../../../lib/backend.ts'
import { CODES } from '../../../lib/errors.ts'
import { SERVICE_KINDS, limits, tlsPolicy } from '../../../lib/feed/messages.ts'
import { JOINING_KINDS } from '../../../lib/identity.ts'
import { SCOPES } from '../store/records.ts'

export const at = z.iso.datetime().meta({ description: 'RFC 3339, UTC.' })
export const milliseconds = z.number().min(0)
export const revision = z.int().min(0).meta({ description: 'Number of the change that made it so.' })
export const identity = z.string().meta({ description: '`proxy/<id>`, `agent/<id>`, `gateway/<id>` or `backbone/<id>`.', examples: ['proxy/mad-1'] })
export const listOf = <Item extends z.ZodType>(item: Item) => z.array(item).readonly()
export const strings = listOf(z.string())

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

export const reached = z.strictObject({ id: identity, ms: milliseconds })

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
export const port = z.int().min(1).max(65535)
export const tlsAnswer = z.strictObject({ policy: z.enum(['off', ...tlsPolicy.options]), alpn: strings.optional(), clientCa: z.string().optional() }).meta({ id: 'Tls' })

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

/** Of a POST: what was made, and how long it took until it was in force. */
export const provisioned = <Shape extends z.ZodRawShape>(made: z.ZodObject<Shape>) => z.strictObject({ ...made.shape, provisioning: provisioningAnswer })

export const takenDownAnswer = z.strictObject({ id: z.string(), name: z.string(), deleted: z.literal(true), revocation: revocationAnswer })
export const addressChangedAnswer = z.strictObject({ ...addressAnswer.shape, change: provisioningAnswer })
export const addressRemovedAnswer = z.strictObject({ address: z.string(), deleted: z.literal(true), revocation: revocationAnswer })
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

export const regionAnswer = z
  .strictObject({
    id: z.string(),
    nodes: z.int().min(1).meta({ description: 'Data nodes that can hold databases.' }),
    connected: z.int().min(0).meta({ description: 'How many of them follow the feed now.' }),
  })
  .meta({ id: 'Region', description: 'Where databases can be.' })

export const openApiAnswer = z.looseObject({ openapi: z.string() }).meta({ description: 'OpenAPI 3.1.' })
