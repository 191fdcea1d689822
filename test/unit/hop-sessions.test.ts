/** Replay protection: the window against a plain set, and the sessions that hold the windows. */
import { expect, test } from 'vitest'
import { ReplayWindow } from '../../lib/hop/replay-window.ts'
import type { HopSessionsOptions } from '../../lib/hop/sessions.ts'
import { HopSessions } from '../../lib/hop/sessions.ts'
import { Random, testSeed } from '../support/random.ts'

/** Remembers everything. */
class NaiveWindow {
  readonly #seen = new Set<number>()
  #highest = -1

  accept(counter: number): boolean {
    if (this.#seen.has(counter) || this.#highest - counter >= ReplayWindow.size) return false
    this.#seen.add(counter)
    this.#highest = Math.max(this.#highest, counter)
    return true
  }
}

test('the window agrees with a set that remembers everything', () => {
  const random = new Random(testSeed('replay window'))
  for (const spread of [3, 40, 1000, 9000, 30_000]) {
    const window = new ReplayWindow()
    const naive = new NaiveWindow()
    let head = 0
    let accepted = 0
    for (let round = 0; round < 30_000; round++) {
      head += random.below(50) === 0 ? random.below(spread * 4) : random.below(3)
      const counter = Math.max(0, head - random.below(spread))
      const expected = naive.accept(counter)
      if (expected) accepted++
      if (window.accept(BigInt(counter)) !== expected) throw new Error(`differs at ${counter}, round ${round}, spread ${spread}, seed ${random.seed}`)
    }
    expect(accepted).toBeGreaterThan(100)
    expect(accepted).toBeLessThan(30_000)
  }
})

test('the window at its edges', () => {
  const window = new ReplayWindow()
  expect(window.accept(0n)).toBe(true)
  expect(window.accept(0n)).toBe(false)
  const head = BigInt(ReplayWindow.size)
  expect(window.accept(head)).toBe(true)
  expect(window.accept(0n)).toBe(false)
  expect(window.accept(1n)).toBe(true)
  expect(window.accept(1n)).toBe(false)
  expect(window.accept(head - 1n)).toBe(true)
  expect(window.accept(1n << 50n)).toBe(true)
  expect(window.accept(head)).toBe(false)
  expect(window.accept(BigInt(Number.MAX_SAFE_INTEGER))).toBe(true)
  expect(window.accept(BigInt(Number.MAX_SAFE_INTEGER) + 1n)).toBe(false)
  expect(window.accept(0xffff_ffff_ffff_ffffn)).toBe(false)
  expect(window.accept(-1n)).toBe(false)
})

function sessions(options: HopSessionsOptions = {}): HopSessions {
  let next = 0
  return new HopSessions({ random: (length) => new Uint8Array(length).fill(++next), ...options })
}

const header = (session: Uint8Array, counter: bigint, dialer = 'proxy/a', worker = 0) => ({ session, counter, dialer, worker })

test('a counter is good once, per session and worker', () => {
  const agent = sessions()
  const one = agent.open('proxy/a', 0)
  const two = agent.open('proxy/b', 0)
  expect(agent.check(header(one, 1n), 1)).toBe('ok')
  expect(agent.check(header(one, 1n), 1)).toBe('replayed')
  expect(agent.check(header(one, 1n, 'proxy/a', 1), 1)).toBe('ok')
  expect(agent.check(header(two, 1n, 'proxy/b'), 1)).toBe('ok')
})

test("another dialer's session is unknown, and its counter stays unused", () => {
  const agent = sessions()
  const session = agent.open('proxy/a', 0)
  expect(agent.check(header(session, 1n, 'proxy/b'), 1)).toBe('unknown-session')
  expect(agent.check(header(new Uint8Array(16), 1n), 1)).toBe('unknown-session')
  expect(agent.check(header(session, 1n), 1)).toBe('ok')
})

test('a session outlives its connection by a minute', () => {
  const agent = sessions()
  const session = agent.open('proxy/a', 0)
  expect(agent.check(header(session, 1n), 1_000_000)).toBe('ok')
  agent.close(session, 1_000_000)
  agent.close(session, 2_000_000)
  expect(agent.check(header(session, 2n), 1_059_999)).toBe('ok')
  expect(agent.check(header(session, 3n), 1_060_000)).toBe('unknown-session')
  expect(agent.size).toBe(0)
})

test('closed sessions that nobody asks for are dropped when another opens', () => {
  const agent = sessions()
  agent.close(agent.open('proxy/a', 0), 0)
  agent.open('proxy/b', 60_000)
  expect(agent.size).toBe(1)
})

test('a dialer holds a few sessions: the longest closed goes first, then the oldest', () => {
  const agent = sessions({ maxPerDialer: 3 })
  const [one, two, three] = [agent.open('proxy/a', 0), agent.open('proxy/a', 1), agent.open('proxy/a', 2)]
  agent.close(three, 5)
  agent.close(two, 4)
  agent.open('proxy/a', 6)
  expect(agent.check(header(two, 1n), 7)).toBe('unknown-session')
  agent.open('proxy/a', 8)
  expect(agent.check(header(three, 1n), 9)).toBe('unknown-session')
  agent.open('proxy/a', 10)
  expect(agent.check(header(one, 1n), 11)).toBe('unknown-session')
  expect(agent.size).toBe(3)
})

test('sessions and workers are bounded', () => {
  const agent = sessions({ maxSessions: 2, maxWorkers: 2 })
  const first = agent.open('proxy/a', 0)
  agent.open('proxy/b', 0)
  const last = agent.open('proxy/c', 0)
  expect(agent.size).toBe(2)
  expect(agent.check(header(first, 1n), 1)).toBe('unknown-session')
  expect(agent.check(header(last, 1n, 'proxy/c', 0), 1)).toBe('ok')
  expect(agent.check(header(last, 1n, 'proxy/c', 1), 1)).toBe('ok')
  expect(agent.check(header(last, 1n, 'proxy/c', 2), 1)).toBe('replayed')
})

test('revoking a dialer ends its sessions alone', () => {
  const agent = sessions()
  const revoked = agent.open('proxy/a', 0)
  const kept = agent.open('proxy/b', 0)
  agent.revoke('proxy/a')
  expect(agent.check(header(revoked, 1n), 1)).toBe('unknown-session')
  expect(agent.check(header(kept, 1n, 'proxy/b'), 1)).toBe('ok')
})

test('challenges are random', () => {
  const agent = new HopSessions()
  const ids = new Set(Array.from({ length: 100 }, (_, index) => Buffer.from(agent.open(`proxy/p${index}`, 0)).toString('hex')))
  expect(ids.size).toBe(100)
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}$/)
})
