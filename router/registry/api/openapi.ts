/**
 * The API's description: OpenAPI 3.1 (its schemas are JSON Schema 2020-12), written from the routes and the schemas that
 * check bodies and parameters. Pure. docs/openapi.json is a copy of it; scripts/openapi.ts writes that.
 */
import { z } from 'zod'
import { problemAnswer } from './answers.ts'
import type { Rate } from './rate-limit.ts'
import type { Access, Route } from './route.ts'
import { scopeOf } from './route.ts'

export interface ApiLimits {
  readonly rate: Rate
  readonly maxBodyBytes: number
}

type Json = Record<string, unknown>

const PARAMETERS: Readonly<Record<string, string>> = {
  org: 'Name or id of an organization.',
  name: 'Name or id.',
  id: 'Id.',
  address: 'An IPv6 address, in any spelling.',
}

const ACCESS: Readonly<Record<Access, string>> = {
  operator: 'Operators only; to others it looks unknown (404).',
  org: 'Operators, and members of the organization; to others the organization looks unknown (404).',
  token: 'Any valid token.',
  join: 'Without a bearer token, on the TLS listener only.',
  public: 'Without a token.',
}

export function openApi(routes: readonly Route[], version: string, limits: ApiLimits): Json {
  const components = new Map<string, unknown>()
  const paths: Record<string, Json> = {}
  for (const route of routes) {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route, components) }
  }
  const problem = schemaOf(problemAnswer, 'output', components)
  return {
    openapi: '3.1.1',
    info: {
      title: 'Nearcast',
      version,
      summary: 'Private addresses for databases, each connection carried to the nearest healthy node.',
      description: about(limits),
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: 'http://127.0.0.1:7200', description: 'On the router itself; from afar, its TLS port.' }],
    security: [{ token: [] }],
    tags: [...new Set(routes.map(tagOf))].map((name) => ({ name })),
    paths,
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'An API token: POST /v1/tokens.' } },
      schemas: Object.fromEntries([...components].toSorted(([left], [right]) => (left < right ? -1 : 1))),
      responses: {
        Problem: { description: 'It was refused, or it failed; `code` says why.', content: { 'application/problem+json': { schema: problem } } },
        RateLimited: {
          description: 'Too many requests; nothing was done.',
          headers: { 'Retry-After': { description: 'Seconds.', schema: { type: 'integer' } } },
          content: { 'application/problem+json': { schema: problem } },
        },
      },
    },
  }
}

function about({ rate, maxBodyBytes }: ApiLimits): string {
  return [
    'JSON in and out, camelCase. Skip members that you do not know.',
    'Errors are RFC 9457 problems with a stable `code`.',
    `A body has at most ${maxBodyBytes} bytes (413).`,
    `One token, or one peer without a valid token, may send ${rate.perSecond} requests a second and ${rate.burst} at once, unless the operator set other limits (429 with Retry-After).`,
    'A token with the scope `read` may GET and sees no credentials; `write` may everything that its role may. A token may have an end (401, `token.expired`).',
  ].join(' ')
}

function operation(route: Route, components: Map<string, unknown>): Json {
  const { method, path, access, summary, query, body, answer, status } = route
  const words = path.split('/').filter((part) => part !== '' && part !== 'v1')
  const open = access === 'join' || access === 'public'
  return {
    operationId: [method.toLowerCase(), ...words.map((word) => word.replaceAll(/[^a-z]/g, ''))].join('-'),
    tags: [tagOf(route)],
    summary,
    description: open ? ACCESS[access] : `${ACCESS[access]} Scope: ${scopeOf(route)}.`,
    ...(open && { security: [] }),
    parameters: [...pathParameters(path), ...queryParameters(query, components)],
    ...(body !== undefined && { requestBody: { required: true, content: { 'application/json': { schema: schemaOf(body, 'input', components) } } } }),
    responses: {
      [status]: { description: 'Done.', content: { 'application/json': { schema: schemaOf(answer, 'output', components) } } },
      429: { $ref: '#/components/responses/RateLimited' },
      default: { $ref: '#/components/responses/Problem' },
    },
  }
}

function tagOf({ path }: Route): string {
  const words = path.split('/').filter((part) => part !== '')
  return (words[1] === 'orgs' ? words[3] : words[1]) ?? 'orgs'
}

function pathParameters(path: string): Json[] {
  return [...path.matchAll(/:(\w+)/g)].map(([, name = '']) => ({ name, in: 'path', required: true, description: PARAMETERS[name] ?? name, schema: { type: 'string' } }))
}

function queryParameters(query: z.ZodType, components: Map<string, unknown>): Json[] {
  const { properties = {}, required = [] } = schemaOf(query, 'input', components) as { properties?: Record<string, Json>; required?: string[] }
  return Object.entries(properties).map(([name, { description, ...schema }]) => ({ name, in: 'query', required: required.includes(name), ...(description !== undefined && { description }), schema }))
}

/** Schemas with an id become components, once. */
function schemaOf(schema: z.ZodType, io: 'input' | 'output', components: Map<string, unknown>): Json {
  const id = z.globalRegistry.get(schema)?.id
  const wrapped = id === undefined ? schema : z.array(schema)
  const made = z.toJSONSchema(wrapped, {
    io,
    unrepresentable: 'any',
    override: ({ jsonSchema }) => {
      delete jsonSchema.id
      // Our types are readonly; to JSON Schema that would mean something else.
      delete jsonSchema.readOnly
      // Answers may gain members; bodies may not have unknown ones.
      if (io === 'output' && jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties
    },
  }) as Json & { $defs?: Record<string, unknown>; items?: Json }
  const { $schema: _dialect, $defs = {}, ...rest } = made
  for (const [name, definition] of Object.entries($defs)) components.set(name, relocated(definition))
  return relocated(id === undefined ? rest : (rest.items ?? {})) as Json
}

function relocated(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(relocated)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, key === '$ref' && typeof inner === 'string' ? inner.replace('#/$defs/', '#/components/schemas/') : relocated(inner)]),
  )
}
