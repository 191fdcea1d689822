/** Turns for forks, and when an engine wants one. */
import { expect, test, vi } from 'vitest'
import { ForkTurns, memoryAvailable } from '../../agent/redis/engine/fork-turns.ts'
import { persistenceOf } from '../../agent/redis/engine/persistence.ts'

const never = new AbortController().signal
const info = (current: number, base: number, more = ''): string =>
  `# Persistence\r\nused_memory:77\r\naof_current_size:${current}\r\naof_base_size:${base}\r\naof_last_bgrewrite_status:ok\r\n${more}`

test('so many at a time, as long as there is memory for the worst of all; who fits passes who does not', async () => {
  let availableBytes = 100
  const turns = new ForkTurns({ atOnce: 2, availableBytes: () => availableBytes })
  const order: string[] = []
  const take = (name: string, bytes: number): Promise<(() => void) | null> =>
    turns.take(bytes, never).then((release) => {
      order.push(name)
      return release
    })
  const first = await take('first', 60)
  const large = take('large', 50)
  const small = await take('small', 40)
  expect([turns.running, turns.waiting]).toEqual([2, 1])
  small?.()
  expect(turns.waiting).toBe(1)
  first?.()
  first?.()
  const third = await large
  expect(order).toEqual(['first', 'small', 'large'])
  availableBytes = 0
  third?.()
  expect(turns.running).toBe(0)
  vi.useFakeTimers()
  try {
    const late = take('late', 1)
    expect(turns.waiting).toBe(1)
    availableBytes = 100
    // Memory comes back without a word: it is looked for.
    await vi.advanceTimersByTimeAsync(1000)
    const last = await late
    last?.()
    expect([order.at(-1), turns.running]).toEqual(['late', 0])
  } finally {
    vi.useRealTimers()
  }
})

test('who gives up waits no more; what began by itself counts', async () => {
  const turns = new ForkTurns({ atOnce: 1, availableBytes: () => Infinity })
  const over = turns.claim(1)
  const giving = new AbortController()
  const waiting = turns.take(1, giving.signal)
  giving.abort()
  expect(await waiting).toBeNull()
  expect(await turns.take(1, giving.signal)).toBeNull()
  expect([turns.running, turns.waiting]).toEqual([1, 0])
  over()
  expect(await turns.take(1, never)).not.toBeNull()
  expect(memoryAvailable()).toBeGreaterThan(1 << 20)
})

test('what INFO says of children, files and replicas', () => {
  expect(persistenceOf(info(10, 0))).toEqual({ forked: false, copyWanted: false, memoryBytes: 77, rewriteDue: false, rewriteFailed: false })
  expect(persistenceOf(info(64 << 20, 33 << 20)).rewriteDue).toBe(false)
  expect(persistenceOf(info(66 << 20, 33 << 20)).rewriteDue).toBe(true)
  for (const line of ['rdb_bgsave_in_progress:1', 'aof_rewrite_in_progress:1', 'aof_rewrite_scheduled:1']) expect(persistenceOf(info(1, 1, line)).forked).toBe(true)
  expect(persistenceOf(info(1, 1, 'slave0:ip=127.0.0.1,port=0,state=online,offset=1,lag=0\r\nslave1:ip=127.0.0.1,port=0,state=wait_bgsave,offset=0,lag=0')).copyWanted).toBe(true)
  expect(persistenceOf(info(1, 1, 'slave0:ip=127.0.0.1,port=0,state=online,offset=1,lag=0')).copyWanted).toBe(false)
})
