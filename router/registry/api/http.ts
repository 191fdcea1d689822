/**
 * Routes over HTTP: who calls, how often, how long a body may be, JSON in and JSON out, errors as RFC 9457 problems.
 * The only importer of hono. Knows no object of the registry but tokens and orgs.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { TLSSocket } from 'node:tls'
import type { HttpBindings } from '@hono/node-server'
import { getRequestListener } from '@hono/node-server'
import type { Context } from 'hono'
import { Hono } from 'hono'
import type { z } from 'zod'
import { asNearcastError, NearcastError } from '../../../lib/errors.ts'
import { issueText } from '../../../lib/schema-issue.ts'
import type { Logger } from '../../../lib/log.ts'
import type { Clock } from '../objects/clock.ts'
import { findOrg, noOrg } from '../objects/orgs.ts'
import { authenticate, checkExpiry, checkScope, scopesOf } from '../objects/tokens.ts'
import type { OrgRecord, TokenRecord } from '../store/records.ts'
import type { Store } from '../store/store.ts'
import type { Rate } from './rate-limit.ts'
import { RateLimit } from './rate-limit.ts'
import type { Access, Call, Route } from './route.ts'
import { scopeOf } from './route.ts'

export interface HttpOptions {
  readonly store: Store
  readonly clock: Clock
  readonly routes: readonly Route[]
  readonly rate: Rate
  readonly log: Logger
  readonly onRequest: (method: string, status: number) => void
}

export type RequestListener = (request: IncomingMessage, response: ServerResponse) => void

export const MAX_BODY_BYTES = 64 * 1024
type Environment = { Bindings: HttpBindings }

export function createListener(options: HttpOptions): RequestListener {
  const app = new Hono<Environment>()
  const limit = new RateLimit(options.rate, () => performance.now())
  const fail = (context: Context<Environment>, thrown: unknown): Response => {
    const error = asNearcastError(thrown)
    // The message of a foreign error was written for us, not for the caller.
    const hidden = error.code === 'internal'
    if (error.status >= 500) options.log.error({ code: error.code, error: error.message, path: context.req.path }, 'api: failed')
    return problem(error, hidden ? 'The router failed; its log says why.' : error.message)
  }
  app.use(async (context, next) => {
    await next()
    options.onRequest(context.req.method, context.res.status)
  })
  for (const route of options.routes) {
    app.on(route.method, route.path, async (context) => {
      const answer = await serve(context, route, options, limit)
      return context.json(answer as object, route.status, { 'cache-control': 'no-store' })
    })
  }
  app.notFound((context) => {
    const allowed = options.routes.filter(({ path }) => matches(path, context.req.path)).map(({ method }) => method)
    if (allowed.length === 0) return fail(context, notFound(context))
    const response = fail(context, new NearcastError('api.method-not-allowed', `${context.req.path.slice(0, 128)} takes ${allowed.join(', ')}.`, { side: 'client' }))
    response.headers.set('allow', allowed.join(', '))
    return response
  })
  app.onError((error, context) => fail(context, error))
  const listener = getRequestListener(app.fetch, { overrideGlobalObjects: false })
  return (request, response) => void listener(request, response)
}

/** Access of routes that need no token. */
const OPEN: ReadonlySet<Access> = new Set(['join', 'public'])

async function serve(context: Context<Environment>, route: Route, { store, clock }: HttpOptions, limit: RateLimit): Promise<unknown> {
  const { socket } = context.env.incoming
  const peer = `peer ${socket.remoteAddress ?? 'unix'}`
  const open = OPEN.has(route.access)
  if (open) limit.take(peer)
  if (route.access === 'join' && !(socket instanceof TLSSocket)) throw notFound(context)
  const token = open ? null : caller(context, store, limit, peer)
  if (token !== null) checkExpiry(token, clock)
  if (route.access === 'operator' && token?.role !== 'operator') throw notFound(context)
  const org = route.access === 'org' ? callersOrg(store, context.req.param('org') ?? '', token) : null
  // Last, so that a token that may only read learns nothing of what it can't see anyway.
  if (token !== null) checkScope(token, scopeOf(route))
  const call = {
    params: context.req.param(),
    query: parsed(route.query, context.req.query(), 'query') as Call['query'],
    body: route.body === undefined ? undefined : await readBody(context, route.body),
    token,
    memberOf: token?.role === 'member' ? token.org : undefined,
    showsSecrets: token !== null && scopesOf(token).includes('write'),
    act: (what: string) => ({ who: token === null ? 'join' : `token/${token.id}`, what }),
  }
  return route.handle(call, org)
}

/** Guesses are slowed down by peer, callers by token. @throws NearcastError api.unauthorized, api.rate-limited */
function caller(context: Context<Environment>, store: Store, limit: RateLimit, peer: string): TokenRecord {
  const bearer = /^Bearer ([\x21-\x7e]{1,200})$/.exec(context.req.header('authorization') ?? '')?.[1]
  const token = bearer === undefined ? null : authenticate(store, bearer)
  limit.take(token === null ? peer : `token ${token.id}`)
  if (token !== null) return token
  throw new NearcastError('api.unauthorized', 'Send "Authorization: Bearer <token>" with a token of this router; the command line takes it from NEARCAST_TOKEN or --token.', { side: 'client' })
}

/** Another's org and no org look alike. */
function callersOrg(store: Store, idOrName: string, token: TokenRecord | null): OrgRecord {
  const org = findOrg(store, idOrName)
  if (token?.role === 'operator' || token?.org === org.id) return org
  throw noOrg(idOrName)
}

async function readBody(context: Context<Environment>, schema: NonNullable<Route['body']>): Promise<unknown> {
  const text = await readText(context.env.incoming)
  let value: unknown
  try {
    value = text === '' ? {} : JSON.parse(text)
  } catch (error) {
    throw new NearcastError('api.body-invalid', 'The body is not JSON.', { side: 'client', cause: error })
  }
  return parsed(schema, value, 'body')
}

/** @throws NearcastError api.body-invalid, naming the members and what they may be */
function parsed(schema: z.ZodType, value: unknown, where: 'body' | 'query'): unknown {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issues = result.error.issues.slice(0, 5).map((issue) => issueText(issue, where))
  throw new NearcastError('api.body-invalid', `${issues.join('; ')}.`, { side: 'client' })
}

/** Whether a route's path, `/v1/orgs/:org`, is that of a request. */
function matches(path: string, asked: string): boolean {
  const [wanted, given] = [path.split('/'), asked.split('/')]
  return wanted.length === given.length && wanted.every((part, index) => part.startsWith(':') || part === given[index])
}

/** Never holds more than the limit, whatever the length says. @throws NearcastError api.body-too-large */
async function readText(incoming: HttpBindings['incoming']): Promise<string> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of incoming.iterator({ destroyOnReturn: false })) {
    if (!Buffer.isBuffer(part)) continue
    bytes += part.length
    if (bytes > MAX_BODY_BYTES) {
      throw new NearcastError('api.body-too-large', `A body has at most ${MAX_BODY_BYTES} bytes.`, { side: 'client' })
    }
    parts.push(part)
  }
  return Buffer.concat(parts).toString('utf8')
}

function notFound(context: Context<Environment>): NearcastError {
  return new NearcastError('api.not-found', `There is no ${context.req.method} ${context.req.path.slice(0, 128)} for this token.`, { side: 'client' })
}

function problem(error: NearcastError, detail: string): Response {
  const body = {
    type: `urn:nearcast:error:${error.code}`,
    title: error.code.replaceAll(/[.-]/g, ' '),
    status: error.status,
    code: error.code,
    detail,
  }
  const headers: Record<string, string> = { 'content-type': 'application/problem+json', 'cache-control': 'no-store' }
  if (error.status === 401) headers['www-authenticate'] = 'Bearer'
  // What is left of the body isn't read.
  if (error.code === 'api.body-too-large') headers['connection'] = 'close'
  if (error.status === 429 || error.status === 503) headers['retry-after'] = '1'
  return new Response(JSON.stringify(body), { status: error.status, headers })
}
