/** A whole registry in this process: store, API over plain HTTP, feed and join over TLS, in a directory of its own. */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import { FeedReader } from '../../lib/feed/reader.ts'
import type { FailedService, FeedReaderOptions } from '../../lib/feed/reader.ts'
import type { Identity, JoiningKind } from '../../lib/identity.ts'
import { join } from '../../lib/identity.ts'
import type { Logger } from '../../lib/log.ts'
import { createLogger } from '../../lib/log.ts'
import { listenPlain, listenTls } from '../../router/listeners.ts'
import { createListener } from '../../router/registry/api/http.ts'
import type { Route } from '../../router/registry/api/route.ts'
import { apiRoutes } from '../../router/registry/api/routes.ts'
import { putBootstrapToken } from '../../router/registry/objects/tokens.ts'
import type { Registry, RegistryOptions } from '../../router/registry/registry.ts'
import { openRegistry } from '../../router/registry/registry.ts'
import { checkAnswer } from './api-answer.ts'

export const OPERATOR = 'operator-token-of-the-tests-0123456789'
export const QUIET: Logger = createLogger('test', 'silent')

export interface Answer {
  readonly status: number
  // The tests look into answers of many shapes; each asserts what it reads.
  readonly body: { [member: string]: never } & Record<string, unknown>
}

export interface TestRegistry {
  readonly registry: Registry
  readonly routes: readonly Route[]
  readonly url: string
  readonly feedUrl: string
  readonly directory: string
  call(method: string, path: string, body?: unknown, token?: string): Promise<Answer>
  /** POST that must succeed. */
  made(path: string, body: unknown, token?: string): Promise<Record<string, unknown>>
  joinToken(kind: JoiningKind, id: string, region?: string): Promise<string>
  join(kind: JoiningKind, id: string, region?: string): Promise<Identity>
  reader(identity: Identity, options?: Partial<FeedReaderOptions>): FeedReader
  /** Stops listening and closes the store; `directory` stays until `remove`. */
  close(): Promise<void>
  remove(): Promise<void>
}

export async function startRegistry(options: Partial<RegistryOptions> & { directory?: string; feedPort?: number; rate?: number } = {}): Promise<TestRegistry> {
  const directory = options.directory ?? mkdtempSync(joinPath(tmpdir(), 'nearcast-registry-'))
  const registry = await openRegistry({
    id: 'main',
    stateDir: directory,
    prefix: 0xfdaa,
    quotas: { networks: 5, databases: 5, services: 5, addresses: 20, grants: 5, peers: 3 },
    log: QUIET,
    ...options,
  })
  registry.store.write({ who: 'test', what: 'bootstrap' }, (transaction) => putBootstrapToken(transaction, OPERATOR, registry.clock))
  const rate = options.rate ?? 10_000
  const limits = { perSecond: rate, burst: rate }
  const routes = apiRoutes(registry, limits)
  const listener = createListener({ store: registry.store, clock: registry.clock, routes, rate: limits, log: QUIET, onRequest: () => undefined })
  const tls = await listenTls(`[::1]:${options.feedPort ?? 0}`, [], registry, listener).catch((error: unknown) => {
    registry.close()
    if (options.directory === undefined) rmSync(directory, { recursive: true, force: true })
    throw error
  })
  const plain = await listenPlain('127.0.0.1:0', listener)
  const url = `http://127.0.0.1:${plain.port}`
  const readers = new Set<FeedReader>()
  let closed = false
  const test: TestRegistry = {
    registry,
    routes,
    url,
    feedUrl: `https://[::1]:${tls.port}`,
    directory,
    call: async (method, path, body, token = OPERATOR) => {
      const response = await fetch(url + path, {
        method,
        headers: { authorization: `Bearer ${token}`, connection: 'close' },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      })
      const answer = { status: response.status, body: (await response.json()) as Answer['body'] }
      checkAnswer(routes, method, path, response, answer.body)
      return answer
    },
    made: async (path, body, token) => {
      const answer = await test.call('POST', path, body, token)
      if (answer.status !== 201) throw new Error(`POST ${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
      return answer.body
    },
    joinToken: async (kind, id, region = 'mad') => String((await test.made('/v1/join-tokens', { kind, id, region, host: `host-${id}` }))['token']),
    join: async (kind, id, region) =>
      join({
        routerUrl: test.feedUrl,
        token: await test.joinToken(kind, id, region),
        stateDir: joinPath(directory, kind, id),
        kind,
        id,
        ...(kind === 'agent' && { endpoint: '[fd00::1]:7400', socket: `/run/${id}.sock` }),
        ...(kind === 'backbone' && { backbone: { publicKey: createHash('sha256').update(id).digest('base64'), endpoint: '[fd00::1]:51821', addresses: [`fd00::${createHash('sha256').update(id).digest('hex').slice(0, 4)}`] } }),
        ...(kind === 'gateway' && { gateway: { publicKey: createHash('sha256').update(id).digest('base64'), endpoints: ['192.0.2.1:51820'] } }),
      }),
    reader: (identity, readerOptions = {}) => {
      const reader = new FeedReader({
        url: test.feedUrl,
        identity,
        cacheFile: joinPath(directory, `${identity.identity.replace('/', '-')}.cache`),
        program: 'test 1',
        log: QUIET,
        apply: (): FailedService[] => [],
        ask: async () => null,
        ...readerOptions,
      })
      readers.add(reader)
      return reader
    },
    close: async () => {
      if (closed) return
      closed = true
      await Promise.all([plain.close(), tls.close(), Promise.resolve(registry.close())])
    },
    remove: async () => {
      await Promise.all([...readers].map((reader) => reader.stop()))
      await test.close()
      rmSync(directory, { recursive: true, force: true })
    },
  }
  return test
}
