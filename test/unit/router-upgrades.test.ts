/** Databases that go on to the next plan by themselves. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { RedisStatistics } from '../../lib/feed/questions.ts'
import type { RedisPlan } from '../../router/registry/objects/plans.ts'
import { nextPlan, Upgrades } from '../../router/registry/upgrades.ts'
import type { TestRegistry } from '../support/registry.ts'
import { QUIET, startRegistry } from '../support/registry.ts'

const PLANS: RedisPlan[] = [
  { name: 'small', maxMemoryBytes: 16 << 20, maxClients: 20, commandsPerSecond: 100 },
  { name: 'cache', maxMemoryBytes: 64 << 20, eviction: true },
  { name: 'medium', maxMemoryBytes: 64 << 20, maxClients: 20, commandsPerSecond: 1000 },
  { name: 'large', maxMemoryBytes: 1 << 30 },
]
const DB = '/v1/orgs/acme/redis/cache'
let registry: TestRegistry

beforeAll(async () => {
  registry = await startRegistry({ plans: { plans: PLANS, defaultPlan: 'small' } })
  await registry.made('/v1/orgs', { name: 'acme' })
  await registry.reader(await registry.join('agent', 'mad-1'), { apply: () => [] }).start()
  await registry.made('/v1/orgs/acme/redis', { name: 'cache', region: 'mad' })
})
afterAll(() => registry.remove())

test('the next plan is the first behind the present one that gives more of all that was short, and keeps the keys', () => {
  const small = { plan: 'small', maxMemoryBytes: 16 << 20, limits: { maxClients: 20, commandsPerSecond: 100 } }
  expect(nextPlan(PLANS, small, ['maxMemoryBytes'])?.name).toBe('medium')
  expect(nextPlan(PLANS, small, ['maxMemoryBytes', 'maxClients'])?.name).toBe('large')
  expect(nextPlan(PLANS, { ...small, eviction: true }, ['maxMemoryBytes'])?.name).toBe('cache')
  expect(nextPlan(PLANS, { plan: 'large', maxMemoryBytes: 1 << 30 }, ['maxMemoryBytes'])).toBeNull()
  expect(nextPlan(PLANS, { ...small, plan: 'gone' }, ['maxMemoryBytes'])).toBeNull()
})

test('a database at a limit of its use goes on, when that is switched on; others stay', async () => {
  let said: Partial<RedisStatistics> = {}
  const statistics = (): RedisStatistics => ({
    node: 'mad-1', role: 'primary', resting: false, connections: 0, commands: { total: 0, day: 0, month: 0, perSecond: 0 }, bytes: { up: 0, down: 0, day: 0, month: 0 }, hits: 0, misses: 0,
    engine: null, diskBytes: 0, latency: null, limits: [], ...said,
  })
  const upgrades = new Upgrades({ store: registry.registry.store, plans: { plans: PLANS }, log: QUIET, statisticsOf: async () => statistics() })
  const plan = async (): Promise<unknown> => {
    await upgrades.tick()
    return (await registry.call('GET', DB)).body['plan']
  }
  const full = { engine: { keys: 1, memoryBytes: 16 << 20, evicted: 0, expired: 0 } }
  said = full
  expect(await plan()).toBe('small')
  expect((await registry.call('PATCH', DB, { autoUpgrade: true })).body).toMatchObject({ plan: 'small', autoUpgrade: true })
  said = {}
  expect(await plan()).toBe('small')
  // What only a mistake meets, and what was met before anybody looked.
  said = { limits: [{ limit: 'scriptMs', allowed: 1, hits: 9 }, { limit: 'commandsPerSecond', allowed: 100, hits: 5 }] }
  expect(await plan()).toBe('small')
  expect(await plan()).toBe('small')
  said = { limits: [{ limit: 'commandsPerSecond', allowed: 100, hits: 6 }] }
  expect(await plan()).toBe('medium')
  expect((await registry.call('GET', DB)).body).toMatchObject({ maxMemoryBytes: 64 << 20, limits: { maxClients: 20, commandsPerSecond: 1000 }, autoUpgrade: true })
  said = { limits: [{ limit: 'maxClients', allowed: 20, used: 20, hits: 0 }] }
  expect(await plan()).toBe('large')
  expect(JSON.stringify((await registry.call('GET', '/v1/audit?limit=50')).body)).toContain('redis.upgrade')
  expect((await registry.call('PATCH', DB, { plan: 'small', autoUpgrade: false })).body).not.toHaveProperty('autoUpgrade')
  said = full
  expect(await plan()).toBe('small')
})
