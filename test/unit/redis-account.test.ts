/** The account of a database, in simulated time: days and months turn, seconds refill, sizes are judged, warnings come once. */
import { expect, test } from 'vitest'
import { Account } from '../../agent/redis/limits/account.ts'
import { Latencies } from '../../agent/redis/limits/latencies.ts'
import { needsReading, redisLimits } from '../../lib/redis-limits.ts'
import type { RedisLimits } from '../../lib/redis-limits.ts'

const DAY_MS = 86_400_000
const get = { name: 'get', announcedBytes: 4, largestBytes: 3 }

function account(limits: RedisLimits, begin = '2026-11-29T23:59:59.000Z') {
  const time = { nowMs: Date.parse(begin), tickMs: 0 }
  const warnings: string[] = []
  const hits: string[] = []
  const made = new Account(null, { nowMs: () => time.nowMs, tickMs: () => time.tickMs, warn: (limit, used, allowed) => warnings.push(`${limit} ${used}/${allowed}`), hit: (limit) => hits.push(limit) })
  made.limits = limits
  return { made, time, warnings, hits }
}

test('a day ends at midnight, a month with it or not; warnings come once per period', () => {
  const { made, time, warnings, hits } = account({ commandsPerDay: 10, commandsPerMonth: 25 })
  const passed = (count: number): number => Array.from({ length: count }, () => made.admit(get)).filter((refusal) => refusal === null).length
  expect(passed(20)).toBe(10)
  expect(warnings).toEqual(['commandsPerDay 8/10', 'commandsPerDay 10/10'])
  time.nowMs += 1000
  expect(passed(20)).toBe(10)
  time.nowMs += DAY_MS
  expect(made.usage).toMatchObject({ day: '2026-12-01', dayCommands: 0, month: '2026-12', monthCommands: 0, commands: 20 })
  expect(passed(8)).toBe(8)
  expect(warnings.filter((warning) => warning === 'commandsPerDay 8/10')).toHaveLength(3)
  expect(hits.length).toBe(20)
})

test('a second’s worth at once, then as many as come back; what opens a connection is never refused', () => {
  const { made, time } = account({ commandsPerSecond: 10 })
  const passed = (count: number, name = 'get'): number => Array.from({ length: count }, () => made.admit({ ...get, name })).filter((refusal) => refusal === null).length
  expect(passed(30)).toBe(10)
  expect(passed(30, 'auth')).toBe(30)
  time.tickMs += 500
  expect(passed(30)).toBe(5)
  made.limits = { commandsPerSecond: 1000 }
  expect(passed(30)).toBe(30)
})

test('sizes count before anything else, bytes of the day with both ways', () => {
  const { made } = account({ requestBytes: 1024, entryBytes: 1 << 20, bytesPerDay: 100 })
  expect(made.admit({ name: 'set', announcedBytes: 1025, largestBytes: 1020 })).toBe('ERR max request size exceeded. Limit: 1024 bytes, Actual: 1025 bytes.')
  made.moved(60, 40)
  expect(made.admit(get)).toBe('ERR max daily bandwidth exceeded. Limit: 100 bytes, Usage: 100 bytes.')
  expect(made.usage).toMatchObject({ bytesUp: 60, bytesDown: 40, dayBytes: 100, dayCommands: 0 })
})

test('only limits that need it make an agent read', () => {
  expect(needsReading(undefined, undefined)).toBe(false)
  expect(needsReading({ maxClients: 1, idleSeconds: 1, scriptMs: 100, bytesPerSecond: 2000 }, undefined)).toBe(false)
  for (const limit of ['commandsPerSecond', 'commandsPerDay', 'commandsPerMonth', 'requestBytes', 'entryBytes', 'bytesPerDay'] as const) expect(needsReading({ [limit]: 1 }, undefined)).toBe(true)
  expect(needsReading({}, true)).toBe(true)
  expect(redisLimits.safeParse({ entryBytes: 1000 }).success).toBe(false)
})

test('latencies: mean, and the 99th percentile within a quarter; old ones go', () => {
  let nowMs = 0
  const latencies = new Latencies(() => nowMs)
  expect(latencies.summary).toBe(null)
  for (let index = 0; index < 980; index++) latencies.add(0.2)
  for (let index = 0; index < 20; index++) latencies.add(50)
  const { count, meanMs, p99Ms } = latencies.summary ?? { count: 0, meanMs: 0, p99Ms: 0 }
  expect([count, Math.round(meanMs * 1000)]).toEqual([1000, 1196])
  expect(p99Ms).toBeGreaterThan(49)
  expect(p99Ms).toBeLessThan(63)
  nowMs = 61_000
  latencies.add(1e9)
  expect(latencies.summary?.count).toBe(1001)
  nowMs = 200_000
  expect(latencies.summary).toBe(null)
})
