/** Who may use a database, over the API: passwords, users, sources; what agents are told and what is shown to whom. */
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ServiceRow } from '../../lib/feed/messages.ts'
import type { FeedTable } from '../../lib/feed/table.ts'
import { parseRules } from '../../lib/acl-rules.ts'
import { parseIpv6 } from '../../lib/address.ts'
import { parseSource, SourceList } from '../../lib/source-list.ts'
import type { TestRegistry } from '../support/registry.ts'
import { startRegistry } from '../support/registry.ts'

let registry: TestRegistry
let table: FeedTable | null = null
let acme = ''
let reader = ''
const asked: unknown[] = []
let answer: (name: string, params: unknown) => unknown = () => ({})
const DB = '/v1/orgs/acme/redis/cache'
const PLANS = [{ name: 'free', maxMemoryBytes: 8 << 20, maxClients: 10, commandsPerDay: 100 }, { name: 'cache', eviction: true, commandsPerSecond: 50 }]

beforeAll(async () => {
  registry = await startRegistry({ plans: { plans: PLANS, defaultPlan: 'free' } })
  await registry.made('/v1/orgs', { name: 'acme' })
  acme = String((await registry.made('/v1/tokens', { name: 'ci', role: 'member', org: 'acme' }))['token'])
  reader = String((await registry.made('/v1/tokens', { name: 'look', role: 'member', org: 'acme', scopes: ['read'] }))['token'])
  const identity = await registry.join('agent', 'mad-1')
  await registry.reader(identity, {
    apply: (next) => {
      table = next
      return []
    },
    ask: async (name, params) => {
      asked.push([name, params])
      return answer(name, params)
    },
  }).start()
  await registry.made('/v1/orgs/acme/redis', { name: 'cache', region: 'mad' }, acme)
})
afterAll(() => registry.remove())

const sha256 = (text: unknown): string => createHash('sha256').update(String(text)).digest('hex')

function told(): NonNullable<ServiceRow['redis']> {
  const row = [...(table?.services.values() ?? [])].find(({ name }) => name === 'cache')
  if (row?.redis === undefined) throw new Error('the agent knows no such database')
  return row.redis
}

test('a new password is told to the agent before the answer, and shown again', async () => {
  const before = (await registry.call('GET', DB, undefined, acme)).body
  const { status, body } = await registry.call('POST', `${DB}/reset-password`, {}, acme)
  expect(status).toBe(200)
  expect(body['change']).toMatchObject({ agents: [{ id: 'agent/mad-1' }] })
  expect(body['password']).not.toBe(before['password'])
  expect(told().passwordSha256).toBe(sha256(body['password']))
  expect((await registry.call('GET', DB, undefined, acme)).body['password']).toBe(body['password'])
  expect(told().replicationSecret).not.toBe('')
})

test('users: asked of the engine, told to the agent, shown to those who may change things, renewed, removed', async () => {
  const path = `${DB}/users`
  const made = await registry.made(path, { name: 'app', rules: '~app:* +@read' }, acme)
  expect(made).toMatchObject({ name: 'app', rules: '~app:* +@read', url: `redis://app:${String(made['password'])}@cache.flycast:6379` })
  expect(asked.at(-1)).toEqual(['redis.check-rules', { service: expect.stringMatching(/^db/), rules: ['~app:*', '+@read'] }])
  expect(told().users).toEqual([{ name: 'app', passwordSha256: sha256(made['password']), rules: ['~app:*', '+@read'] }])
  expect((await registry.call('GET', path, undefined, acme)).body).toMatchObject([{ name: 'app', password: made['password'] }])
  expect(JSON.stringify((await registry.call('GET', path, undefined, reader)).body)).not.toContain(String(made['password']))
  expect((await registry.call('GET', DB, undefined, reader)).body['users']).toEqual(['app'])
  expect((await registry.call('POST', path, { name: 'app', rules: '+get' }, acme)).body['code']).toBe('redis.user-exists')

  const renewed = (await registry.call('POST', `${path}/app/reset-password`, {}, acme)).body
  expect(renewed['password']).not.toBe(made['password'])
  expect(told().users?.[0]?.passwordSha256).toBe(sha256(renewed['password']))
  const audit = JSON.stringify((await registry.call('GET', '/v1/audit?limit=1000')).body)
  expect(audit).toContain('redis.user-create')
  expect(audit).not.toContain(String(renewed['password']))

  expect((await registry.call('DELETE', `${path}/app`, undefined, acme)).status).toBe(200)
  expect(told().users).toBeUndefined()
  for (const [method, at] of [['DELETE', `${path}/app`], ['POST', `${path}/app/reset-password`]] as const) {
    expect((await registry.call(method, at, method === 'POST' ? {} : undefined, acme)).body['code']).toBe('redis.user-unknown')
  }
})

test('rules that the engine refuses, and names that are ours, make no user', async () => {
  const post = async (body: unknown): Promise<unknown> => (await registry.call('POST', `${DB}/users`, body, acme)).body['code']
  answer = () => ({ refused: { code: 'redis.user-rules', message: 'no' } })
  expect(await post({ name: 'x', rules: '+nonsense' })).toBe('redis.user-rules')
  answer = () => ({ refused: { code: 'of.the-future', message: 'no' } })
  expect(await post({ name: 'x', rules: '+get' })).toBe('feed.ask-failed')
  answer = () => 'nonsense'
  expect(await post({ name: 'x', rules: '+get' })).toBe('feed.ask-failed')
  answer = () => ({})
  for (const name of ['default', 'nearcast-agent', 'A', 'a b', '']) expect(await post({ name, rules: '+get' })).toBe('api.body-invalid')
  for (const rules of ['on', '>pw', '<pw', '#00', 'nopass', 'reset', 'resetpass', '(+get ~*)', 'clearselectors', '+get;', '~a\u0001', ' ']) expect(await post({ name: 'x', rules })).toBe('redis.user-rules')
  expect((await registry.call('GET', `${DB}/users`, undefined, acme)).body).toEqual([])
  expect(parseRules('  ~a:*   %R~b &c +@all -@admin +config|get allkeys ')).toHaveLength(7)
  expect(parseRules('+get '.repeat(65))).toBeNull()
})

const change = (allowedSources: unknown): ReturnType<TestRegistry['call']> => registry.call('PATCH', DB, { allowedSources }, acme)

test('sources: told to the agent, shown, ended with null; what is no subnet is refused', async () => {
  expect((await change(['10.0.0.0/8', '10.0.0.0/8', 'fdaa:0:1::/48'])).body['allowedSources']).toEqual(['10.0.0.0/8', 'fdaa:0:1::/48'])
  expect(told().allowedSources).toEqual(['10.0.0.0/8', 'fdaa:0:1::/48'])
  for (const wrong of [[], ['10.0.0.0/33'], ['fdaa::/129'], ['name'], ['10.0.0'], Array.from({ length: 65 }, () => '10.0.0.1')]) expect((await change(wrong)).body['code']).toBe('api.body-invalid')
  expect((await change(null)).body['allowedSources']).toBeUndefined()
  expect(told().allowedSources).toBeUndefined()
})

const park = (parkAfterMinutes: unknown): ReturnType<TestRegistry['call']> => registry.call('PATCH', DB, { parkAfterMinutes }, acme)

test("when it rests: told to the agent, shown, the node's own with null", async () => {
  expect([(await park(10)).body['parkAfterMinutes'], told().parkAfterMinutes]).toEqual([10, 10])
  expect([(await park('never')).body['parkAfterMinutes'], told().parkAfterMinutes]).toEqual(['never', 'never'])
  for (const wrong of [0, -1, 1.5, 'soon', 525_601]) expect((await park(wrong)).body['code']).toBe('api.body-invalid')
  expect([(await park(null)).body['parkAfterMinutes'], told().parkAfterMinutes]).toEqual([undefined, undefined])
})

test('a subnet holds what lies in it', () => {
  expect(parseSource('fe80::1%eth0')).toBeNull()
  const list = new SourceList(['192.0.2.0/25', '2001:db8::/33', '::1'])
  for (const inside of ['::ffff:c000:27f', '2001:db8:7fff::1', '::1']) expect([inside, list.holds(parseIpv6(inside))]).toEqual([inside, true])
  for (const outside of ['::ffff:c000:280', '2001:db8:8000::1', '::2', '::c000:201']) expect([outside, list.holds(parseIpv6(outside))]).toEqual([outside, false])
  expect(new SourceList([]).holds(parseIpv6('::1'))).toBe(false)
})

test('plans: taken over whole, told to the agent; limits are for operators, choosing a plan is for everybody', async () => {
  expect((await registry.call('GET', '/v1/plans', undefined, reader)).body).toEqual(PLANS)
  const patch = async (body: unknown, token = acme): Promise<Record<string, unknown>> => (await registry.call('PATCH', DB, body, token)).body
  expect(await patch({ plan: 'free' })).toMatchObject({ plan: 'free', maxMemoryBytes: 8 << 20, limits: { maxClients: 10, commandsPerDay: 100 } })
  expect(told()).toMatchObject({ maxMemoryBytes: 8 << 20, limits: { maxClients: 10, commandsPerDay: 100 } })
  const onCache = await patch({ plan: 'cache' })
  expect(onCache).toMatchObject({ plan: 'cache', maxMemoryBytes: 8 << 20, limits: { commandsPerSecond: 50 }, eviction: true })
  expect(told()).toMatchObject({ limits: { commandsPerSecond: 50 }, eviction: true })
  expect(told().limits).toEqual({ commandsPerSecond: 50 })
  expect((await patch({ eviction: false }))['eviction']).toBeUndefined()
  for (const body of [{ limits: { maxClients: 1000 } }, { maxMemoryBytes: 1 << 30 }, { plan: null }]) expect((await patch(body))['code']).toBe('redis.limits-forbidden')
  expect((await patch({ plan: 'gold' }))['code']).toBe('redis.plan-unknown')
  const operator = async (body: unknown): Promise<Record<string, unknown>> => (await registry.call('PATCH', DB, body)).body
  expect(await operator({ limits: { commandsPerSecond: null, idleSeconds: 60 }, maxMemoryBytes: 16 << 20 })).toMatchObject({ plan: 'cache', limits: { idleSeconds: 60 }, maxMemoryBytes: 16 << 20 })
  for (const limits of [{ maxClients: 0 }, { entryBytes: 1000 }, { unknown: 1 }, { scriptMs: 1 }]) expect((await operator({ limits }))['code']).toBe('api.body-invalid')
  expect(await operator({ plan: null })).not.toHaveProperty('limits')
  expect(told().limits).toBeUndefined()
  const made = await registry.made('/v1/orgs/acme/redis', { name: 'second', region: 'mad', eviction: true }, acme)
  expect(made).toMatchObject({ plan: 'free', maxMemoryBytes: 8 << 20, eviction: true })
  expect((await registry.call('POST', '/v1/orgs/acme/redis', { name: 'third', region: 'mad', plan: 'gold' }, acme)).body['code']).toBe('redis.plan-unknown')
})

test('an engine is chosen once, told to the agent, and lists its commands', async () => {
  await registry.made('/v1/orgs/acme/redis', { name: 'valkeyed', region: 'mad', engine: 'valkey' }, acme)
  expect([...(table?.services.values() ?? [])].find(({ name }) => name === 'valkeyed')?.redis?.engine).toBe('valkey')
  const at = '/v1/orgs/acme/redis/valkeyed'
  expect((await registry.call('GET', at, undefined, acme)).body['engine']).toBe('valkey')
  expect((await registry.call('PATCH', at, { engine: 'redis' }, acme)).body['code']).toBe('api.body-invalid')
  answer = () => ({ server: 'valkey 8.0.1', commands: [{ name: 'get', kind: 'read' }] })
  expect((await registry.call('GET', `${at}/commands`, undefined, reader)).body).toEqual({ server: 'valkey 8.0.1', commands: [{ name: 'get', kind: 'read' }] })
  answer = () => ({})
})

test('statistics and slow commands: of the nodes that answer, and of those that do not', async () => {
  const said = { node: 'mad-1', role: 'primary', resting: false, connections: 1, commands: { total: 5, day: 2, month: 5, perSecond: 0.5 }, bytes: { up: 1, down: 2, day: 3, month: 3 }, hits: 1, misses: 0, engine: null, diskBytes: 10, latency: null, limits: [{ limit: 'maxClients', allowed: 1, used: 1, hits: 3 }, { limit: 'idleSeconds', allowed: 9, hits: 0 }] }
  answer = (name) => (name === 'redis.slow' ? { commands: [{ at: '2026-11-21T00:00:00.000Z', ms: 12, command: 'KEYS *' }] } : said)
  expect((await registry.call('GET', `${DB}/statistics`, undefined, reader)).body).toEqual({ nodes: [said], missing: [] })
  expect((await registry.call('GET', `${DB}/slow`, undefined, reader)).body).toMatchObject({ node: 'mad-1', ways: [], limits: [{ limit: 'maxClients', hits: 3 }], commands: [{ command: 'KEYS *' }] })
  answer = () => ({ refused: { code: 'redis.not-answering', message: 'no' } })
  expect((await registry.call('GET', `${DB}/statistics`, undefined, reader)).body).toEqual({ nodes: [], missing: [{ node: 'mad-1', code: 'redis.not-answering' }] })
  expect((await registry.call('GET', '/v1/orgs/acme/redis/nobody/statistics', undefined, reader)).status).toBe(404)
  answer = () => ({})
})
