/** Limits that several threads count: exact, whoever comes when, and a rate as a token bucket has it. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { TokenBucket } from '../../lib/token-bucket.ts'
import { LimitAccounts } from '../../proxy/tables/limit-accounts.ts'
import type { AccountLimits } from '../../proxy/tables/limit-accounts.ts'
import { LimitCounters } from '../../proxy/tables/limit-counters.ts'
import type { VisitorReport, VisitorStart } from '../support/limit-visitor.ts'
import { Random, testSeed } from '../support/random.ts'

function account(limits: AccountLimits, nowMs = 0) {
  const accounts = new LimitAccounts(8)
  return { accounts, number: accounts.open(limits, nowMs), counters: new LimitCounters(accounts.handle) }
}

test('no more come in than the maximum; who leaves makes room; account 0 has no limits', () => {
  const { accounts, number, counters } = account({ maxConnections: 2 })
  const network = accounts.open({ maxConnections: 1 }, 0)
  expect([counters.enter(number, 0, 0), counters.enter(number, network, 0), counters.enter(number, 0, 0)]).toEqual([null, null, 'connections'])
  counters.leave(number, 0)
  // The network is full: the address must not count it either.
  expect(counters.enter(number, network, 0)).toBe('connections')
  expect([counters.open(number), counters.open(network)]).toEqual([1, 1])
  accounts.change(network, {}, 0)
  expect(counters.enter(number, network, 0)).toBe(null)
  for (let turn = 0; turn < 100; turn++) expect(counters.enter(0, 0, 0)).toBe(null)
})

test('a refused network gives the address its part of the second back', () => {
  const { accounts, number, counters } = account({ connectionsPerSecond: 1 })
  const network = accounts.open({ maxConnections: 0 }, 0)
  expect([counters.enter(number, network, 0), counters.enter(number, 0, 0), counters.enter(number, 0, 0)]).toEqual(['connections', null, 'connections-per-second'])
})

test.each([1, 3, 7, 100, 999, 65_537, 2 ** 20])('%i per second let in what a token bucket does', (perSecond) => {
  const seed = testSeed('limit-counters')
  const random = new Random(seed)
  // Late enough that moments wrap.
  let nowMs = 5e9 + random.below(1e9)
  const { number, counters } = account({ connectionsPerSecond: perSecond }, nowMs)
  const bucket = new TokenBucket(perSecond, perSecond, nowMs)
  let entered = 0
  let expected = 0
  for (let turn = 0; turn < 20_000; turn++) {
    nowMs += random.below(4) === 0 ? random.below(Math.ceil(4000 / perSecond) + 1) : 0
    if (counters.enter(number, 0, nowMs) === null) entered++
    if (bucket.balance(nowMs) >= 1) {
      bucket.take(1, nowMs)
      expected++
    }
  }
  // Units of a millionth of a second: a connection may come that much later.
  expect(Math.abs(entered - expected), `seed ${seed}`).toBeLessThanOrEqual(1 + expected / 1000)
})

test('a change of the rate keeps what is used up; a closed account is given out again once it is empty', () => {
  const { accounts, number, counters } = account({ connectionsPerSecond: 10 })
  for (let turn = 0; turn < 10; turn++) counters.enter(number, 0, 0)
  accounts.change(number, { connectionsPerSecond: 1000 }, 0)
  expect([counters.enter(number, 0, 0), counters.enter(number, 0, 2)]).toEqual(['connections-per-second', null])
  accounts.change(number, { maxConnections: 100 }, 0)
  expect(counters.enter(number, 0, 0)).toBe(null)
  accounts.close(number)
  const other = accounts.open({}, 0)
  expect(other).not.toBe(number)
  while (counters.open(number) > 0) counters.leave(number, 0)
  expect(accounts.open({ connectionsPerSecond: 1 }, 0)).toBe(number)
  for (let turn = 0; turn < 6; turn++) accounts.open({}, 0)
  expect(() => accounts.open({}, 0)).toThrow(expect.objectContaining({ code: 'table.full' }))
})

async function hammer(limits: AccountLimits, leaves: boolean, visits: number): Promise<{ reports: VisitorReport[]; left: number }> {
  const { accounts, number, counters } = account(limits, 5000)
  const network = accounts.open({}, 5000)
  const begin = new SharedArrayBuffer(4)
  const workerData: VisitorStart = { handle: accounts.handle, address: number, network, visits, leaves, begin }
  const workers = Array.from({ length: 4 }, () => new Worker(new URL('../support/limit-visitor.ts', import.meta.url), { workerData }))
  const reports = workers.map(async (worker) => (await once(worker, 'message'))[0] as VisitorReport)
  await Promise.all(workers.map((worker) => once(worker, 'online')))
  Atomics.store(new Int32Array(begin), 0, 1)
  Atomics.notify(new Int32Array(begin), 0)
  const done = await Promise.all(reports)
  expect(counters.open(number)).toBe(counters.open(network))
  await Promise.all(workers.map((worker) => worker.terminate()))
  return { reports: done, left: counters.open(number) }
}

test('four threads at once: never more than the maximum, and nothing is left', async () => {
  const { reports, left } = await hammer({ maxConnections: 3 }, true, 50_000)
  expect(left).toBe(0)
  expect(Math.max(...reports.map(({ most }) => most))).toBeLessThanOrEqual(3)
  expect(Math.min(...reports.map(({ entered }) => entered))).toBeGreaterThan(0)
})

test.each([{ maxConnections: 12_345 }, { connectionsPerSecond: 12_345 }])('four threads at once let in exactly %o', async (limits) => {
  const { reports, left } = await hammer(limits, false, 10_000)
  expect([left, reports.reduce((sum, { entered }) => sum + entered, 0)]).toEqual([12_345, 12_345])
})
