/** Rates with a clock moved by hand: the mean holds, turns are shared, nobody waits for another's. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Rates } from '../../lib/plane/rates.ts'
import type { Gate } from '../../lib/plane/rates.ts'

const CHUNK = 64 * 1024

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
afterEach(() => void vi.useRealTimers())

/** A connection that reads a chunk whenever it may. */
class Reader {
  bytes = 0
  opened = 0
  readonly #gate: Gate | null
  readonly #chunk: number

  constructor(rates: Rates, names: readonly string[], chunk = CHUNK) {
    this.#gate = rates.gate(names, 'down')
    this.#chunk = chunk
    if (!this.#gate) return
    this.#gate.onOpen = () => {
      this.opened++
      this.read()
    }
  }

  read(): void {
    this.bytes += this.#chunk
    // One after the other, as the loop would: never a free second chunk.
    if (this.#gate?.pass(this.#chunk) !== false) setTimeout(() => this.read(), 0)
  }

  start(): this {
    if (this.#gate?.pass(0) !== false) this.read()
    return this
  }

  close(): void {
    this.#gate?.close()
  }
}

test.each([20_000, 1_000_000, 10_000_000])('%d bytes a second, whatever the size of chunks and the number of connections', async (rate) => {
  for (const [connections, chunk] of [[1, CHUNK], [7, CHUNK], [3, 8000]] as const) {
    const rates = new Rates()
    rates.set('a', { bytesPerSecondDown: rate })
    const readers = Array.from({ length: connections }, () => new Reader(rates, ['a'], chunk).start())
    const seconds = 10
    await vi.advanceTimersByTimeAsync(seconds * 1000)
    const sum = readers.reduce((total, { bytes }) => total + bytes, 0)
    expect(sum).toBeGreaterThan(rate * seconds * 0.98 - connections * chunk)
    expect(sum).toBeLessThan(rate * (seconds + 0.1) + connections * chunk)
    const [least, most] = [Math.min(...readers.map(({ bytes }) => bytes)), Math.max(...readers.map(({ bytes }) => bytes))]
    expect(most - least).toBeLessThanOrEqual(Math.max(2 * chunk, rate * 0.1 + chunk))
    for (const reader of readers) reader.close()
  }
})

test('another name is not delayed, however many wait; both names of a connection hold', async () => {
  const rates = new Rates()
  rates.set('poor', { bytesPerSecondDown: 100_000 })
  rates.set('rich', { bytesPerSecondDown: 20_000_000 })
  const poor = Array.from({ length: 50 }, () => new Reader(rates, ['poor', 'network']).start())
  const rich = new Reader(rates, ['rich', 'other']).start()
  await vi.advanceTimersByTimeAsync(5000)
  expect(rich.bytes).toBeGreaterThan(20_000_000 * 5 * 0.98)
  rates.set('network', { bytesPerSecondDown: 50_000 })
  const before = poor.reduce((total, { bytes }) => total + bytes, 0)
  await vi.advanceTimersByTimeAsync(100_000)
  const after = poor.reduce((total, { bytes }) => total + bytes, 0)
  expect((after - before) / 100).toBeGreaterThan(45_000)
  expect((after - before) / 100).toBeLessThan(55_000)
  for (const reader of [...poor, rich]) reader.close()
})

test('a rate that ends wakes everybody, one that changes is in force at once, one that is set later counts too', async () => {
  const rates = new Rates()
  const gate = rates.gate(['a'], 'down')
  const opened = vi.fn()
  if (!gate) throw new Error('no gate')
  gate.onOpen = opened
  expect([gate.pass(1 << 30), rates.waits('a')]).toEqual([true, null])
  rates.set('a', { bytesPerSecondDown: 1000, bytesPerSecondUp: 5 })
  expect([gate.pass(10_000), gate.waiting]).toEqual([false, true])
  expect(rates.waits('a')).toEqual({ up: 0, down: 1 })
  await vi.advanceTimersByTimeAsync(1000)
  expect(opened).not.toHaveBeenCalled()
  // 9,100 bytes of debt at first, a second of it paid.
  rates.set('a', { bytesPerSecondDown: 90_000 })
  await vi.advanceTimersByTimeAsync(120)
  expect(opened).toHaveBeenCalledTimes(1)
  expect(gate.pass(1 << 20)).toBe(false)
  rates.set('a', null)
  expect([opened.mock.calls.length, gate.waiting, rates.waits('a')]).toEqual([2, false, null])
})

test('who has gone takes no turn and leaves no timer', async () => {
  const rates = new Rates()
  rates.set('a', { bytesPerSecondDown: 1000 })
  const readers = [1, 2, 3].map(() => new Reader(rates, ['a']).start())
  for (const reader of readers) reader.close()
  expect(vi.getTimerCount()).toBe(0)
  await vi.advanceTimersByTimeAsync(200_000)
  expect(readers.map(({ opened }) => opened)).toEqual([0, 0, 0])
})

test('a debt is paid before anybody new reads', () => {
  const rates = new Rates()
  rates.set('a', { bytesPerSecondDown: 1000 })
  const first = new Reader(rates, ['a']).start()
  const others = Array.from({ length: 100 }, () => new Reader(rates, ['a']).start())
  expect([first.bytes, others.reduce((total, { bytes }) => total + bytes, 0)]).toEqual([CHUNK, 0])
  for (const reader of [first, ...others]) reader.close()
})
