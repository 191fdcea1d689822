/** Limits on connections: against a naive model, fair between tenants; their rows put in force; waiting for a turn. */
import { describe, expect, test } from 'vitest'
import type { Limits as LimitsRow } from '../../lib/feed/messages.ts'
import { TokenBucket } from '../../lib/token-bucket.ts'
import type { Rate } from '../../lib/plane/plane.ts'
import { Admissions } from '../../proxy/limits/admissions.ts'
import type { Place } from '../../proxy/limits/admissions.ts'
import { Limits } from '../../proxy/limits/limits.ts'
import { Turnstile } from '../../proxy/limits/turnstile.ts'
import type { LimitHit } from '../../proxy/limits/turnstile.ts'
import { Random, testSeed } from '../support/random.ts'
import { until } from '../support/until.ts'

const A: Place = { address: 'a', network: 1 }
const B: Place = { address: 'b', network: 1 }
const OTHER: Place = { address: 'o', network: 2 }
const make = (queueLength = 4, queueMs = 1000): Admissions => new Admissions({ queueLength, queueMs })

test('a token bucket: what passes in any time is at most its rate and what was saved up', () => {
  const random = new Random(testSeed('bucket'))
  for (let round = 0; round < 200; round++) {
    const [perSecond, capacity] = [1 + random.below(1000), 1 + random.below(100)]
    const bucket = new TokenBucket(perSecond, capacity, 0)
    let [nowMs, taken, largest] = [0, 0, 0]
    for (let step = 0; step < 100; step++) {
      nowMs += random.below(300)
      expect(bucket.balance(nowMs - random.below(2) * 50)).toBeLessThanOrEqual(capacity)
      const amount = 1 + random.below(200)
      if (bucket.balance(nowMs) < 0) continue
      bucket.take(amount, nowMs)
      taken += amount
      largest = Math.max(largest, amount)
      nowMs += bucket.msUntil(0, nowMs)
      expect(bucket.balance(nowMs)).toBeGreaterThanOrEqual(-1e-6)
      expect(taken).toBeLessThanOrEqual(capacity + (perSecond * nowMs) / 1000 + largest + 1e-6)
    }
  }
})

describe('admissions', () => {
  test('without limits everybody is in, and nothing is kept of those who left', () => {
    const admissions = make()
    for (let id = 0; id < 100; id++) expect(admissions.enter(id, A, 0)).toEqual({ state: 'in' })
    expect([admissions.open('address/a'), admissions.open('network/1')]).toEqual([100, 100])
    for (let id = 0; id < 100; id++) admissions.leave(id, 0)
    admissions.leave(5, 0)
    expect([admissions.open('address/a'), admissions.nextMs(0)]).toEqual([0, Infinity])
  })

  test('beyond the most of an address: waits, comes in when one leaves, is refused in time or when the queue is full', () => {
    const admissions = make(2)
    admissions.setAddress(A, { maxConnections: 1 }, 0)
    const states = [1, 2, 3, 4].map((id) => admissions.enter(id, A, id))
    expect(states).toEqual([{ state: 'in' }, { state: 'waiting' }, { state: 'waiting' }, { state: 'refused', limit: 'connections' }])
    expect(admissions.enter(9, B, 5)).toEqual({ state: 'in' })
    admissions.leave(1, 500)
    expect(admissions.turns(500)).toEqual([{ id: 2, entered: true, limit: 'connections' }])
    expect(admissions.nextMs(500)).toBe(503)
    expect(admissions.turns(1002)).toEqual([])
    expect(admissions.turns(1003)).toEqual([{ id: 3, entered: false, limit: 'connections' }])
    expect([admissions.waiting, admissions.nextMs(1003)]).toEqual([0, Infinity])
  })

  test('a rate lets a second of it come at once, then one after the other', () => {
    const admissions = make(10, 5000)
    admissions.setNetwork(1, { connectionsPerSecond: 2 }, 0)
    expect([1, 2, 3, 4].map((id) => admissions.enter(id, A, 0).state)).toEqual(['in', 'in', 'waiting', 'waiting'])
    expect(admissions.nextMs(0)).toBe(500)
    expect(admissions.turns(499)).toEqual([])
    expect(admissions.turns(500)).toEqual([{ id: 3, entered: true, limit: 'connections-per-second' }])
    expect(admissions.enter(5, OTHER, 500).state).toBe('in')
    expect(admissions.turns(1000).map(({ id }) => id)).toEqual([4])
  })

  test('a limit that is raised or goes lets those in who wait; one that is set counts who is there', () => {
    const admissions = make()
    for (const id of [1, 2, 3]) admissions.enter(id, A, 0)
    admissions.setAddress(A, { maxConnections: 2 }, 0)
    expect([4, 5, 6].map((id) => admissions.enter(id, A, 0).state)).toEqual(['waiting', 'waiting', 'waiting'])
    admissions.leave(1, 1)
    expect(admissions.turns(1)).toEqual([])
    admissions.setAddress(A, { maxConnections: 3 }, 2)
    expect(admissions.turns(2).map(({ id }) => id)).toEqual([4])
    admissions.setAddress(A, undefined, 3)
    expect(admissions.turns(3).map(({ id }) => id)).toEqual([5, 6])
  })

  test('the addresses of a network take turns', () => {
    const admissions = make(10)
    admissions.setNetwork(1, { maxConnections: 1 }, 0)
    admissions.enter(0, A, 0)
    for (const id of [1, 2, 3]) admissions.enter(id, A, 0)
    for (const id of [11, 12]) admissions.enter(id, B, 0)
    const served: number[] = []
    for (let last = 0; served.length < 5; last = served.at(-1) ?? 0) {
      admissions.leave(last, 1)
      served.push(...admissions.turns(1).map(({ id }) => id))
    }
    expect(served).toEqual([1, 11, 2, 12, 3])
  })

  test('shares of a soft limit, for address and network, counted where a connection was taken', () => {
    const admissions = make()
    admissions.setAddress(A, { softConnections: 5 }, 0)
    for (const id of [1, 2, 3]) admissions.enter(id, A, 0)
    admissions.placed(1, 'n1')
    admissions.placed(1, 'n2')
    expect(admissions.hasItsShare(A, 'n1', 3)).toBe(false)
    admissions.placed(2, 'n1')
    expect([admissions.hasItsShare(A, 'n1', 3), admissions.hasItsShare(A, 'n2', 3), admissions.hasItsShare(B, 'n1', 3)]).toEqual([true, false, false])
    admissions.setNetwork(1, { softConnections: 2 }, 0)
    expect(admissions.hasItsShare(B, 'n1', 1)).toBe(true)
    admissions.setNetwork(1, undefined, 0)
    admissions.leave(2, 0)
    expect(admissions.hasItsShare(A, 'n1', 3)).toBe(false)
  })

  interface Outcome {
    readonly network: number
    readonly text: string
  }

  /** Applies random events; `only` leaves out what isn't of that network, at the same times. */
  function play(seed: number, only: number | null): Outcome[] {
    const random = new Random(seed)
    const admissions = make(3, 200)
    const limits = new Map<string, LimitsRow>()
    const inside = new Map<number, Place>()
    const arrivals = new Map<number, { place: Place; atMs: number }>()
    const outcomes: Outcome[] = []
    const note = ({ network }: Place, text: string): void => void outcomes.push({ network, text })
    const places = [A, B, OTHER]
    let nowMs = 0
    const enter = (id: number, place: Place): void => {
      inside.set(id, place)
      // First come, first served in each address, among those whose time isn't over (they are told of it a moment later).
      const came = arrivals.get(id)?.atMs ?? nowMs
      for (const [other, { place: theirs, atMs }] of arrivals) if (theirs === place && other !== id && atMs + 200 > nowMs) expect(atMs).toBeGreaterThanOrEqual(came)
      arrivals.delete(id)
      note(place, `${id} in ${nowMs}`)
    }
    const settle = (): void => {
      for (const { id, entered } of admissions.turns(nowMs)) {
        const waited = arrivals.get(id)
        expect(waited).toBeDefined()
        if (waited === undefined) continue
        expect(nowMs - waited.atMs).toBeLessThanOrEqual(entered ? 200 + 40 : 200 + 80)
        if (entered) enter(id, waited.place)
        else {
          expect(nowMs - waited.atMs).toBeGreaterThanOrEqual(200)
          arrivals.delete(id)
          note(waited.place, `${id} refused ${nowMs}`)
        }
      }
      for (const place of places) {
        for (const name of [`address/${place.address}`, `network/${place.network}`]) {
          expect(admissions.open(name)).toBe([...inside.values()].filter((each) => name === `address/${each.address}` || name === `network/${each.network}`).length)
        }
      }
    }
    for (let step = 0; step < 400; step++) {
      nowMs += random.below(40)
      const place = places[random.below(3)] ?? A
      const what = random.below(10)
      const id = step
      const draw = random.below(1000)
      if (only !== null && place.network !== only) {
        settle()
        continue
      }
      if (what < 6) {
        const before = admissions.enter(id, place, nowMs)
        if (before.state === 'in') enter(id, place)
        else if (before.state === 'waiting') arrivals.set(id, { place, atMs: nowMs })
        else note(place, `${id} refused at once`)
      } else if (what < 9) {
        const mine = [...inside].filter(([, each]) => each.network === place.network).map(([each]) => each)
        const leaving = mine[draw % Math.max(1, mine.length)]
        if (leaving !== undefined) {
          inside.delete(leaving)
          admissions.leave(leaving, nowMs)
        }
      } else {
        const row: LimitsRow = { ...(draw % 2 === 0 && { maxConnections: 1 + (draw % 5) }), ...(draw % 3 === 0 && { connectionsPerSecond: 1 + (draw % 20) }) }
        const ofAddress = draw % 7 < 4
        limits.set(ofAddress ? `address/${place.address}` : `network/${place.network}`, row)
        if (ofAddress) admissions.setAddress(place, row, nowMs)
        else admissions.setNetwork(place.network, row, nowMs)
      }
      const opened = new Map(places.flatMap((each) => [`address/${each.address}`, `network/${each.network}`]).map((name) => [name, admissions.open(name)]))
      settle()
      // Nobody waits for nothing: some limit of its address or network is reached.
      for (const { place: waits } of arrivals.values()) {
        const rows = [`address/${waits.address}`, `network/${waits.network}`].map((name) => ({ row: limits.get(name), open: admissions.open(name) }))
        if (rows.every(({ row }) => row?.connectionsPerSecond === undefined)) expect(rows.some(({ row, open }) => open >= (row?.maxConnections ?? Infinity))).toBe(true)
      }
      // Nobody came in beyond a limit that is in force: what is above it was there before it was set.
      for (const [name, row] of limits) expect(admissions.open(name)).toBeLessThanOrEqual(Math.max(row.maxConnections ?? Infinity, opened.get(name) ?? 0))
    }
    return outcomes
  }

  test('random events keep every limit, the order of each queue and the time of each wait', () => {
    const seed = testSeed('admissions')
    let outcomes = 0
    for (let round = 0; round < 30; round++) outcomes += play(seed + round, null).length
    expect(outcomes).toBeGreaterThan(3000)
  })

  test('what one tenant does never changes what happens to another', () => {
    const seed = testSeed('tenants')
    for (let round = 0; round < 20; round++) {
      expect(play(seed + round, 2)).toEqual(play(seed + round, null).filter(({ network }) => network === 2))
    }
  })
})

const now = (): number => performance.now()

function world(queueMs = 30) {
  const hits: LimitHit[] = []
  const rates: (readonly [string, Rate | null])[] = []
  const turnstile = new Turnstile({ queueLength: 2, queueMs, now, onHit: (hit) => hits.push(hit) })
  const limits = new Limits({
    turnstile,
    now,
    plane: {
      setRate: (name, rate) => void rates.push([name, rate]),
      rateWaits: (name) => (rates.findLast(([each]) => each === name)?.[1] ? { up: 3, down: 0 } : null),
    },
  })
  return { hits, rates, turnstile, limits, visitor: { ...A, org: 'acme', service: 's' } }
}

describe('turnstile and rows', () => {
  test('a turn comes when one leaves, or ends with a refusal; each hit names the tenant', async () => {
    const { hits, turnstile, limits, visitor } = world()
    limits.putAddress(A, { maxConnections: 1 })
    expect([1, 2, 3, 4].map((id) => turnstile.enter(id, visitor))).toEqual(['in', 'waiting', 'waiting', 'refused'])
    turnstile.leave(1)
    expect(await turnstile.turn(2)).toBe(true)
    expect(await turnstile.turn(3)).toBe(false)
    turnstile.leave(3)
    expect(await turnstile.turn(77)).toBe(false)
    expect(hits.map(({ limit, outcome, org, service }) => [limit, outcome, org, service].join(' '))).toEqual([
      'connections refused acme s',
      'connections waited acme s',
      'connections refused acme s',
    ])
    turnstile.close()
  })

  test('who leaves while waiting is told no, and its place is free', async () => {
    const { turnstile, limits, visitor } = world(5000)
    limits.putAddress(A, { maxConnections: 1 })
    for (const id of [1, 2, 3]) turnstile.enter(id, visitor)
    const turn = turnstile.turn(2)
    turnstile.leave(2)
    expect(await turn).toBe(false)
    turnstile.leave(1)
    await until('the third is in', () => turnstile.admissions.open('address/a') === 1)
    expect(await turnstile.turn(3)).toBe(true)
    turnstile.close()
  })

  test('rows: rates are set and ended in the plane, a snapshot leaves exactly its own', () => {
    const { rates, limits } = world()
    limits.putNetwork(1, undefined)
    limits.putAddress(A, { bytesPerSecondUp: 1000 })
    limits.putAddress(A, { maxConnections: 5 })
    limits.putNetwork(2, { bytesPerSecondDown: 7, bytesPerSecondUp: 8 })
    expect(rates).toEqual([['address/a', { bytesPerSecondUp: 1000 }], ['address/a', null], ['network/2', { bytesPerSecondUp: 8, bytesPerSecondDown: 7 }]])
    expect(limits.use('address/a')).toEqual({ limits: { maxConnections: 5 }, connections: 0, rateWaits: { up: 0, down: 0 } })
    expect(limits.rates()).toEqual([{ network: 2, address: null, waits: { up: 3, down: 0 } }])
    rates.length = 0
    limits.replace({ networks: new Map([[1, { id: 1 }]]), addresses: new Map([['b', { ...B, limits: { bytesPerSecondUp: 9 } }]]) })
    expect(new Map(rates)).toEqual(new Map([['network/2', null], ['address/a', null], ['address/b', { bytesPerSecondUp: 9 }]]))
    limits.removeAddress('b')
    expect([limits.use('address/b'), rates.at(-1)]).toEqual([null, ['address/b', null]])
  })
})
