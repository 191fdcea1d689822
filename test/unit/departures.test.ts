/** What becomes of live connections: the policy's words, countdowns, and the judgement over the tables. */
import { expect, test } from 'vitest'
import { asNetworkId } from '../../lib/address.ts'
import { Departures } from '../../lib/departures.ts'
import type { NodeRow, ServiceRow } from '../../lib/feed/messages.ts'
import { LIVE_POLICY, liveForMs } from '../../lib/live-policy.ts'
import { createLogger } from '../../lib/log.ts'
import type { OpenConnection } from '../../proxy/entrance.ts'
import { Revocations } from '../../proxy/revocations.ts'
import { Routes } from '../../proxy/routes.ts'
import { Random, testSeed } from '../support/random.ts'

/** A clock and its timers, moved by hand. */
class Hands {
  nowMs = 0
  readonly cut: string[] = []
  readonly #timers = new Map<number, { atMs: number; callback: () => void }>()
  #last = 0
  readonly departures = new Departures({
    nowMs: () => this.nowMs,
    setTimer: (callback, afterMs) => {
      const id = ++this.#last
      this.#timers.set(id, { atMs: this.nowMs + afterMs, callback })
      return () => void this.#timers.delete(id)
    },
    cut: (id, cause) => void this.cut.push(`${id} ${cause} ${this.nowMs}`),
  })

  get timers(): number {
    return this.#timers.size
  }

  move(toMs: number): void {
    for (;;) {
      const [next] = [...this.#timers].filter(([, { atMs }]) => atMs <= toMs).toSorted(([, left], [, right]) => left.atMs - right.atMs)
      if (next === undefined) break
      this.#timers.delete(next[0])
      this.nowMs = Math.max(this.nowMs, next[1].atMs)
      next[1].callback()
    }
    this.nowMs = toMs
  }
}

test.each([
  [undefined, 0, Infinity],
  ['keep', Infinity, Infinity],
  ['cut', 0, 0],
  ['drain:30', 30_000, 30_000],
  ['nonsense', 0, Infinity],
  ['drain:0', 0, Infinity],
])('policy %s: revoked %d ms, node %d ms', (policy, revokedMs, nodeMs) => {
  expect([liveForMs(policy, 'revoked'), liveForMs(policy, 'node')]).toEqual([revokedMs, nodeMs])
})

test('policies are written in one way', () => {
  for (const word of ['keep', 'cut', 'drain:1', 'drain:99999']) expect(word).toMatch(LIVE_POLICY)
  for (const word of ['', 'drain', 'drain:', 'drain:0', 'drain:01', 'drain:100000', 'drain:1.5', 'drain:-1', 'keep ', 'CUT']) expect(word).not.toMatch(LIVE_POLICY)
})

test('a countdown starts when its cause appears, goes on over reviews, and ends with the cause', () => {
  const hands = new Hands()
  hands.departures.review(1, [{ cause: 'draining', afterMs: 1000 }])
  hands.departures.review(2, [{ cause: 'draining', afterMs: 1000 }])
  hands.move(600)
  hands.departures.review(1, [{ cause: 'draining', afterMs: 1000 }])
  hands.departures.review(2, [])
  hands.move(999)
  expect(hands.cut).toEqual([])
  hands.move(5000)
  expect(hands.cut).toEqual(['1 draining 1000'])
  hands.departures.review(2, [{ cause: 'draining', afterMs: 1000 }])
  hands.move(6500)
  expect(hands.cut.slice(1)).toEqual(['2 draining 6000'])
  expect([hands.departures.size, hands.timers]).toEqual([0, 0])
})

test('a stricter cause or policy counts from its own beginning; what is kept is cut once it is asked for', () => {
  const hands = new Hands()
  hands.departures.review(1, [{ cause: 'revoked', afterMs: Infinity }])
  hands.move(500)
  hands.departures.review(1, [{ cause: 'revoked', afterMs: 2000 }, { cause: 'node', afterMs: 100 }])
  hands.move(550)
  hands.departures.review(1, [{ cause: 'revoked', afterMs: 2000 }])
  hands.move(1999)
  expect(hands.cut).toEqual([])
  hands.move(2000)
  expect(hands.cut).toEqual(['1 revoked 2000'])
  hands.departures.review(3, [{ cause: 'revoked', afterMs: Infinity }])
  hands.departures.review(3, [{ cause: 'revoked', afterMs: 0 }])
  expect(hands.cut[1]).toBe('3 revoked 2000')
})

interface NaiveCause {
  readonly sinceMs: number
  readonly afterMs: number
}

function due(causes: ReadonlyMap<string, NaiveCause>): number {
  return Math.min(Infinity, ...[...causes.values()].map(({ sinceMs, afterMs }) => sinceMs + afterMs))
}

test('random reviews against a naive list: each is cut once, at its time, and nobody else is', () => {
  const random = new Random(testSeed('departures'))
  const hands = new Hands()
  const naive = new Map<number, Map<string, NaiveCause>>()
  const expected: string[] = []
  for (let step = 0; step < 3000; step++) {
    const toMs = hands.nowMs + random.below(40)
    for (let atMs = hands.nowMs; atMs <= toMs; atMs++) {
      for (const [id, causes] of naive) if (due(causes) <= atMs && naive.delete(id)) expected.push(`${id} ${atMs}`)
    }
    hands.move(toMs)
    const id = random.below(20)
    if (random.below(6) === 0) {
      hands.departures.forget(id)
      naive.delete(id)
      continue
    }
    const causes = ['a', 'b'].filter(() => random.below(2) === 0).map((cause) => ({ cause, afterMs: random.below(5) === 0 ? Infinity : random.below(300) }))
    hands.departures.review(id, causes)
    const before = naive.get(id)
    naive.delete(id)
    const now = new Map(causes.map(({ cause, afterMs }) => [cause, { sinceMs: before?.get(cause)?.sinceMs ?? toMs, afterMs }]))
    if (causes.length > 0 && due(now) <= toMs) expected.push(`${id} ${toMs}`)
    else if (causes.length > 0) naive.set(id, now)
  }
  expect(expected.length).toBeGreaterThan(500)
  expect(hands.cut.map((entry) => entry.replace(/ [ab]/, '')).toSorted()).toEqual(expected.toSorted())
})

const ADDRESS = 'fdaa:0:1:0:1::2'

class Judged {
  readonly routes = new Routes(0xfdaa)
  readonly open = new Map<number, OpenConnection>()
  readonly nodes = new Map<string, { row: NodeRow; health: { healthy: boolean } }>()
  verdicts: string[] = []
  readonly revocations = new Revocations({
    entrance: {
      connection: (id) => this.open.get(id),
      ids: () => [...this.open.keys()],
      of: (what, key) => [...this.open].filter(([, connection]) => connection[what] === key).map(([id]) => id),
    },
    routes: this.routes,
    nodes: this.nodes,
    departures: { review: (id, causes) => void this.verdicts.push(`${id}: ${causes.map(({ cause, afterMs }) => `${cause} ${afterMs}`).join(', ') || 'stays'}`) },
    log: createLogger('test', 'silent'),
  })

  constructor(live?: string) {
    this.service(live)
    this.routes.putAddress(ADDRESS, { address: ADDRESS, network: 1, generation: 1, service: 's' })
    for (const id of ['n1', 'n2']) this.node(id)
    const connection = { network: asNetworkId(1), address: ADDRESS, service: 's', generation: 1, session: null }
    this.open.set(1, { ...connection, node: 'n1' })
    this.open.set(2, { ...connection, node: 'n2' })
    this.open.set(3, { ...connection, node: null })
  }

  service(live?: string, nodes = ['n1', 'n2']): void {
    const row: ServiceRow = { id: 's', org: 'o', name: 's', kind: 'tcp', port: 1, placements: nodes.map((node) => ({ node, role: 'peer' })), ...(live !== undefined && { live }) }
    this.routes.putService('s', row)
  }

  node(id: string, more: Partial<NodeRow> = {}): void {
    this.nodes.set(id, { row: { id, region: 'mad', host: 'h', hop: 'v2', endpoint: '[::1]:1', keys: [], ...more }, health: { healthy: true } })
  }

  review(touched: Parameters<Revocations['review']>[0]): string[] {
    this.verdicts = []
    this.revocations.review(touched)
    return this.verdicts.toSorted()
  }
}

test('nothing has happened: all stay', () => {
  expect(new Judged('cut').review('all')).toEqual(['1: stays', '2: stays', '3: stays'])
})

test.each([
  [undefined, 0],
  ['keep', Infinity],
  ['drain:2', 2000],
] as const)('a revoked address, policy %s', (live, afterMs) => {
  const judged = new Judged(live)
  judged.routes.putAddress(ADDRESS, null)
  expect(judged.review({ address: [ADDRESS] })).toEqual([1, 2, 3].map((id) => `${id}: address revoked ${afterMs}`))
  judged.routes.putAddress(ADDRESS, { address: ADDRESS, network: 1, generation: 2, service: 's' })
  expect(judged.review({ address: [ADDRESS] })[0]).toBe(`1: address revoked ${afterMs}`)
})

test.each([
  [undefined, Infinity],
  ['cut', 0],
  ['drain:2', 2000],
] as const)('a draining or unhealthy node, policy %s: only its own connections, and only while it is so', (live, afterMs) => {
  const judged = new Judged(live)
  judged.node('n1', { draining: true })
  expect(judged.review({ node: ['n1'] })).toEqual([`1: node draining ${afterMs}`])
  judged.node('n1')
  expect(judged.review({ node: ['n1'] })).toEqual(['1: stays'])
  const known = judged.nodes.get('n2')
  if (known) known.health.healthy = false
  expect(judged.review({ node: ['n2'] })).toEqual([`2: node unhealthy ${afterMs}`])
})

test('whatever the policy: cut at once with a removed service, a revoked node, a placement that moved', () => {
  const judged = new Judged('keep')
  judged.nodes.delete('n1')
  judged.service('keep', ['n1'])
  expect(judged.review({ service: ['s'] })).toEqual(['1: node revoked 0', '2: service moved 0', '3: stays'])
  // Its addresses go in the same change: what is revoked with its service isn't kept.
  judged.routes.putAddress(ADDRESS, null)
  judged.routes.putService('s', null)
  expect(judged.review({ service: ['s'], address: [ADDRESS] })).toEqual([1, 2, 3].map((id) => `${id}: service removed 0`))
})
