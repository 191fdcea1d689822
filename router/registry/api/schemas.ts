/** What requests may say. Unknown members are refused: a misspelt limit must not be silently without effect. */
import { z } from 'zod'
import { PROXY_HEADERS } from '../../../lib/backend.ts'
import { ID_PATTERN } from '../../../lib/identity.ts'
import { SCOPES } from '../store/records.ts'

/** A DNS label: names of services are host names. */
export const name = z.string().regex(/^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/, 'use up to 40 of a-z, 0-9 and "-", not at the ends')
const id = z.string().regex(ID_PATTERN, 'use up to 40 of a-z, 0-9 and "-"')
const region = id
const host = z.string().min(1).max(100)
const endpoint = z.string().max(128).regex(/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):([1-9]\d{0,4})$/, 'write host:port, an IPv6 address in brackets')
const reference = z.string().min(1).max(64)
const port = z.int().min(1).max(65535)

export const orgBody = z.strictObject({ name })
export const networkBody = z.strictObject({ name })
export const redisBody = z.strictObject({
  name,
  region,
  replicas: z.array(region).max(16).default([]),
  network: reference.optional(),
  appendFsync: z.enum(['always', 'everysec']).default('everysec'),
  maxMemoryBytes: z.int().min(1 << 20).max(2 ** 40).default(100 * (1 << 20)),
})
export const serviceBody = z.strictObject({
  name,
  kind: z.enum(['tcp', 'postgres']).default('tcp'),
  port,
  nodes: z.array(id).min(1).max(64),
  network: reference.optional(),
  backend: z.string().max(256).optional().meta({ description: 'What agents hand connections on to: `unix:/path` or `host:port`. Operators only.' }),
  proxyHeader: z.enum(PROXY_HEADERS).optional().meta({ description: 'What the backend gets first; default `none`.' }),
})
export const addressBody = z.strictObject({ service: reference, network: reference.optional() })
export const nodeBody = z.strictObject({ id, region, host: host.optional(), hop: z.enum(['v1', 'v2']), endpoint })
export const tokenBody = z.strictObject({
  name,
  role: z.enum(['operator', 'member']),
  org: reference.optional(),
  scopes: z.array(z.enum(SCOPES)).min(1).max(SCOPES.length).optional().meta({ description: 'Default: all. `write` includes `read`.' }),
  expiresAt: z.iso.datetime({ offset: true }).optional().meta({ description: 'Default: it counts until it is removed.' }),
})
export const joinTokenBody = z.strictObject({ kind: z.enum(['proxy', 'agent']), id, region, host })
export const joinBody = z.strictObject({
  token: z.string().min(1).max(200),
  publicKey: z.string().min(1).max(1000),
  endpoint: endpoint.optional(),
  socket: z.string().startsWith('/').max(200).optional(),
})
export const emptyBody = z.strictObject({})

const wholeNumber = (fallback: number, most: number) => z.coerce.number<string>().int().min(0).max(most).default(fallback)
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
