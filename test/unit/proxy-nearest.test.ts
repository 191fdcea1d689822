/** Health, latency, choice, and that explain says what would be chosen. */
import { describe, expect, test } from 'vitest'
import type { NodeRow, ServiceRow } from '../../lib/feed/messages.ts'
import { asNetworkId, formatIpv6, machineAddress } from '../../lib/address.ts'
import { explain } from '../../proxy/explain.ts'
import { choose, clearlyBetter, score } from '../../proxy/nearest/choose.ts'
import type { Contender } from '../../proxy/nearest/choose.ts'
import { Admissions } from '../../proxy/limits/admissions.ts'
import { Health } from '../../proxy/nearest/health.ts'
import { Latency } from '../../proxy/nearest/latency.ts'
import { Nearest } from '../../proxy/nearest/nearest.ts'
import type { LimitUse } from '../../proxy/limits/limits.ts'
import type { KnownNode } from '../../proxy/nearest/nearest.ts'
import { Routes } from '../../proxy/routes.ts'
import { Random, testSeed } from '../support/random.ts'

const SETTINGS = { hysteresisPercent: 20, hysteresisMs: 1 }

const contender = (node: string, latencyMs: number | null, more: Partial<Contender> = {}): Contender => ({
  node,
  latencyMs,
  session: true,
  distance: 2,
  healthy: true,
  available: true,
  load: 0,
  tie: 0,
  ...more,
})
const order = (contenders: readonly Contender[], present: string | null = null): string[] =>
  Array.from(choose(contenders, present, SETTINGS), ({ contender: { node } }) => node)

describe('health', () => {
  const settings = { failures: 3, successes: 2 }

  test('the third failed probe in a row ejects, the second success in a row re-admits', () => {
    const health = new Health(settings, 0)
    expect([health.probeFailed('x', 1), health.probeFailed('x', 2), health.probeSucceeded(3)]).toEqual([null, null, null])
    expect([health.probeFailed('x', 4), health.probeFailed('x', 5)]).toEqual([null, null])
    expect(health.healthy).toBe(true)
    expect(health.probeFailed('hop.timeout', 6)).toBe('ejected')
    expect(health).toMatchObject({ healthy: false, sinceMs: 6, reason: 'probe: hop.timeout' })
    expect([health.probeSucceeded(7), health.probeFailed('x', 8), health.probeSucceeded(9)]).toEqual([null, null, null])
    expect(health.probeSucceeded(10)).toBe('readmitted')
    expect(health).toMatchObject({ healthy: true, sinceMs: 10, reason: null })
  })

  test('dials that fail eject at once though probes succeed; a dial that succeeds does not re-admit', () => {
    const health = new Health(settings, 0)
    for (const at of [1, 2]) {
      health.dialFailed('refused', at)
      health.probeSucceeded(at)
    }
    expect(health.dialFailed('refused', 3)).toBe('ejected')
    health.dialSucceeded()
    expect(health.healthy).toBe(false)
    health.probeSucceeded(4)
    expect(health.probeSucceeded(5)).toBe('readmitted')
    expect([health.dialFailed('refused', 6), health.dialFailed('refused', 7)]).toEqual([null, null])
    health.dialSucceeded()
    expect([health.dialFailed('refused', 8), health.dialFailed('refused', 9)]).toEqual([null, null])
    expect(health.healthy).toBe(true)
  })
})

test('a dial that may have failed for one tenant only counts while probes fail too', () => {
  const health = new Health({ failures: 3, successes: 2 }, 0)
  for (let at = 1; at < 10; at++) expect(health.dialFailed('timeout', at, false)).toBeNull()
  health.probeFailed('hop.timeout', 10)
  expect([11, 12, 13].map((at) => health.dialFailed('timeout', at, false))).toEqual([null, null, 'ejected'])
})

test('latency begins with the first sample, follows a change, and ignores what is no time', () => {
  const latency = new Latency()
  expect(latency.smoothedMs).toBeNull()
  for (const wrong of [Number.NaN, -1, Number.POSITIVE_INFINITY]) latency.add(wrong)
  expect(latency.smoothedMs).toBeNull()
  latency.add(10)
  expect(latency.smoothedMs).toBe(10)
  latency.add(110)
  expect(latency.smoothedMs).toBeCloseTo(40)
  for (let sample = 0; sample < 12; sample++) latency.add(110)
  expect(latency.smoothedMs).toBeGreaterThan(108)
})

describe('choice', () => {
  test('nearest first; unproven, unhealthy and unavailable ones after all well ones, but never left out', () => {
    const contenders = [
      contender('unavailable', 0.1, { available: false }),
      contender('unhealthy', 0.2, { healthy: false }),
      contender('no-session', 0.3, { session: false }),
      contender('new', null),
      contender('far', 200),
      contender('near', 1),
    ]
    expect(order(contenders)).toEqual(['near', 'far', 'no-session', 'new', 'unhealthy', 'unavailable'])
    expect(order(contenders.toReversed())).toEqual(['near', 'far', 'no-session', 'new', 'unhealthy', 'unavailable'])
    expect(order([])).toEqual([])
  })

  test('while nothing is measured: own host, own region, elsewhere; a measurement knows better', () => {
    const contenders = [contender('elsewhere', null), contender('region', null, { distance: 1, tie: 3 }), contender('host', null, { distance: 0, tie: 9 })]
    expect(order(contenders)).toEqual(['host', 'region', 'elsewhere'])
    expect(order([...contenders, contender('measured', 150)])).toEqual(['measured', 'host', 'region', 'elsewhere'])
    expect(order([contender('own', 1.01, { distance: 0, tie: 2 }), contender('other', 1.02, { tie: 1 })])).toEqual(['other', 'own'])
  })

  test('the present node stays unless another one is better by the share and by the milliseconds', () => {
    expect(order([contender('a', 10), contender('b', 9)], 'a')).toEqual(['a', 'b'])
    expect(order([contender('a', 10), contender('b', 7.9)], 'a')).toEqual(['b', 'a'])
    expect(order([contender('a', 1), contender('b', 0.1)], 'a')).toEqual(['a', 'b'])
    expect(order([contender('a', 100), contender('b', 98.5)], 'a')).toEqual(['a', 'b'])
    expect(order([contender('a', 10), contender('b', 9)], null)).toEqual(['b', 'a'])
    expect(order([contender('a', 10, { healthy: false }), contender('b', 100)], 'a')).toEqual(['b', 'a'])
    expect(order([contender('b', 100), contender('c', 10)], 'gone')).toEqual(['c', 'b'])
  })

  test('load moves connections between near ones, and never to a node that is more than twice as far', () => {
    expect(order([contender('a', 10, { load: 500 }), contender('b', 11)], 'a')).toEqual(['b', 'a'])
    expect(order([contender('a', 10, { load: 1e9 }), contender('b', 22)], 'a')).toEqual(['a', 'b'])
    expect(score(10, 0)).toBe(10)
    expect(score(10, 1e12)).toBeLessThanOrEqual(21)
  })

  test('scores that differ by less than noise are decided by the tie', () => {
    expect(order([contender('a', 1.01, { tie: 2 }), contender('b', 1.02, { tie: 1 })])).toEqual(['b', 'a'])
    expect(order([contender('a', 1.01, { tie: 1 }), contender('b', 1.02, { tie: 2 })])).toEqual(['a', 'b'])
  })

  test('whatever is given: all come once, no worse tier before a better one, the choice never clearly beaten', () => {
    const random = new Random(testSeed('choose'))
    for (let round = 0; round < 2000; round++) {
      const contenders = Array.from({ length: 1 + random.below(8) }, (_, index) =>
        contender(`n${index}`, random.below(5) === 0 ? null : random.below(3000) / 10, {
          healthy: random.below(4) > 0,
          available: random.below(4) > 0,
          session: random.below(4) > 0,
          draining: random.below(4) === 0,
          busy: random.below(4) === 0,
          suspect: random.below(4) === 0,
          load: random.below(3) * random.below(1000),
          tie: random.below(1000),
        }),
      )
      const present = random.below(2) === 0 ? `n${random.below(8)}` : null
      const ranked = [...choose(contenders, present, SETTINGS)]
      expect(ranked.map((entry) => entry.contender.node).toSorted()).toEqual(contenders.map(({ node }) => node).toSorted())
      const tiers = ranked.map(({ tier }) => ['good', 'busy', 'suspect', 'unproven', 'draining', 'unhealthy', 'unavailable'].indexOf(tier))
      expect(tiers).toEqual(tiers.toSorted((left, right) => left - right))
      const [first] = ranked
      const good = ranked.filter(({ tier }) => tier === 'good')
      if (first?.tier === 'good') for (const other of good) expect(clearlyBetter((other.score ?? 0) + 0.2, first.score ?? 0, SETTINGS)).toBe(false)
    }
  })
})

test('a draining node serves only when no other is left, a busy one behind its equals; both before an unhealthy one', () => {
  const nodes = [contender('near', 1, { draining: true }), contender('mid', 20, { busy: true }), contender('far', 90), contender('ill', 2, { healthy: false })]
  expect(order(nodes)).toEqual(['far', 'mid', 'near', 'ill'])
  expect(order([contender('near', 1, { draining: true, healthy: false }), contender('far', 90, { draining: true })])).toEqual(['far', 'near'])
  // Who was chosen before doesn't stay first while it drains.
  expect(order([contender('near', 1, { draining: true }), contender('far', 90)], 'near')[0]).toBe('far')
})

describe('explain', () => {
  const PLACEMENTS: ServiceRow['placements'] = [
    { node: 'mad-1', role: 'primary' },
    { node: 'ams-1', role: 'replica' },
    { node: 'gru-1', role: 'replica' },
  ]
  const ADDRESS = 'fdaa:0:1:0:1::2'

  class Fixture {
    readonly known = new Map<string, KnownNode & { reachable: boolean; proofs: number; load: number; latency: Latency; connect: Latency; health: Health }>()
    readonly routes = new Routes(0xfdaa)
    readonly nearest = new Nearest({ settings: SETTINGS, host: 'h', region: 'r', nodes: this.known, placements: (id) => this.routes.placements(id) })

    readonly admissions = new Admissions({ queueLength: 4, queueMs: 1000 })
    readonly uses = new Map<string, LimitUse>()

    constructor() {
      const row: ServiceRow = { id: 'svc', org: 'acme', name: 'cache', kind: 'redis', port: 6379, placements: PLACEMENTS }
      this.routes.putService('svc', row)
      this.routes.putAddress(ADDRESS, { address: ADDRESS, network: 1, generation: 3, service: 'svc' })
      for (const { node } of PLACEMENTS) {
        const nodeRow: NodeRow = { id: node, region: node.slice(0, 3), host: node, hop: 'v2', endpoint: '[::1]:1', keys: [] }
        const health = new Health({ failures: 1, successes: 1 }, 0)
        this.known.set(node, { row: nodeRow, health, latency: new Latency(), connect: new Latency(), reachable: true, proofs: 0, load: 0, connections: 0, salt: 1, session: null, dialled: () => {} })
      }
    }

    explain(params: object) {
      const { routes, nearest, admissions } = this
      const limits = { use: (name: string) => this.uses.get(name) ?? null }
      return explain({ destination: ADDRESS, ...params }, { proxy: 'mad-1', revision: 7, prefix: 0xfdaa, routes, nearest, settings: SETTINGS, limits, admissions })
    }
  }

  test('says what the data path then chooses, whatever is known, and asking changes nothing', () => {
    const random = new Random(testSeed('explain'))
    const fixture = new Fixture()
    for (let round = 0; round < 500; round++) {
      for (const node of fixture.known.values()) {
        if (random.below(3) > 0) node.latency.add(random.below(2000) / 10)
        node.load = random.below(400)
        node.reachable = random.below(6) > 0
        if (random.below(5) === 0) node.health.probeFailed('hop.timeout', round)
        else node.health.probeSucceeded(round)
      }
      const before = fixture.nearest.present('svc')
      const report = fixture.explain({ network: 1 })
      expect(fixture.explain({ network: 1 })).toEqual(report)
      expect(fixture.nearest.present('svc')).toBe(before)
      const chosen = Array.from(fixture.nearest.candidates('svc'), ({ node }) => node.id)
      expect(report.chosen).toBe(chosen[0])
      expect(report.candidates.map(({ node }) => node)).toEqual(chosen)
      expect(report.why).toContain(chosen[0])
    }
  })

  test('reads well', () => {
    const fixture = new Fixture()
    for (const [node, ms] of [['mad-1', 1], ['ams-1', 25.1], ['gru-1', 190]] as const) fixture.known.get(node)?.latency.add(ms)
    expect(fixture.explain({ source: formatIpv6(machineAddress(asNetworkId(1), 5, 5)) })).toMatchObject({
      verdict: { allowed: true, sourceNetwork: 1, network: 1 },
      service: 'svc',
      name: 'cache',
      port: 6379,
      chosen: 'mad-1',
      why: 'mad-1 (mad, 1 ms) is the nearest well node; next is ams-1 (ams, 25.1 ms).',
    })
    fixture.known.get('mad-1')?.health.probeFailed('hop.timeout', 1)
    expect(fixture.explain({ network: 1 }).why).toBe(
      'ams-1 (ams, 25.1 ms) is the nearest well node; next is gru-1 (gru, 190 ms). mad-1 (mad, 1 ms) is unhealthy (probe: hop.timeout).',
    )
    for (const { health } of fixture.known.values()) health.probeFailed('x', 1)
    expect(fixture.explain({ network: 1 }).why).toContain('mad-1 (mad, 1 ms) is tried although it is unhealthy: no better node is left.')
  })

  test('says when hysteresis keeps the present node', () => {
    const fixture = new Fixture()
    fixture.known.get('mad-1')?.latency.add(10)
    fixture.known.get('ams-1')?.latency.add(10.5)
    fixture.nearest.candidates('svc').next()
    for (let sample = 0; sample < 9; sample++) fixture.known.get('ams-1')?.latency.add(9)
    expect(fixture.explain({ network: 1 }).why).toMatch(/^mad-1 \(mad, 10 ms\) was chosen before and stays: ams-1 \(ams, 9.*\) is not better by 20 % and 1 ms\./)
  })

  test('a node that failed a connection comes behind, until it answers a probe or a connection', () => {
    const fixture = new Fixture()
    for (const [node, ms] of [['mad-1', 1], ['ams-1', 25], ['gru-1', 190]] as const) fixture.known.get(node)?.latency.add(ms)
    const { nearest, known } = fixture
    const mad = known.get('mad-1')
    if (!mad) throw new Error('there is no mad-1')
    const first = (service = 'svc'): string | undefined => nearest.candidates(service).next().value?.node.id
    fixture.routes.putService('other', { id: 'other', org: 'globex', name: 'cache', kind: 'redis', port: 6379, placements: PLACEMENTS })
    expect([first(), first('other')]).toEqual(['mad-1', 'mad-1'])
    nearest.dialled('mad-1', 'svc', 'timeout')
    expect([first(), first('other')]).toEqual(['ams-1', 'ams-1'])
    expect(fixture.explain({ network: 1 }).why).toContain('mad-1 (mad, 1 ms) is suspect (the last connection to it failed).')
    mad.proofs++
    expect([first(), first('other')]).toEqual(['mad-1', 'mad-1'])
    nearest.dialled('mad-1', 'svc', 'refused')
    nearest.dialled('mad-1', 'other', 'ok')
    expect([first(), first('other')]).toEqual(['mad-1', 'mad-1'])
    // An agent's silence may be one tenant's: nobody else is moved by it, not even by many.
    Object.assign(mad, { row: { ...mad.row, hop: 'signed-v2' } })
    for (let turn = 0; turn < 10; turn++) nearest.dialled('mad-1', 'svc', 'timeout')
    expect([first(), first('other')]).toEqual(['ams-1', 'mad-1'])
    nearest.dialled('mad-1', 'svc', 'refused')
    expect([first(), first('other')]).toEqual(['ams-1', 'ams-1'])
    // Without a session nothing was tried.
    mad.proofs++
    nearest.dialled('mad-1', 'svc', 'no-session')
    expect(first()).toBe('mad-1')
    // Where nobody else is left it is tried all the same.
    nearest.dialled('mad-1', 'svc', 'refused')
    for (const node of ['ams-1', 'gru-1']) known.get(node)?.health.probeFailed('x', 1)
    expect(first()).toBe('mad-1')
  })

  test('says what limits and draining do', () => {
    const fixture = new Fixture()
    for (const [node, ms] of [['mad-1', 1], ['ams-1', 25], ['gru-1', 190]] as const) fixture.known.get(node)?.latency.add(ms)
    expect(fixture.explain({ network: 1 })).not.toHaveProperty('limits')
    const place = { address: ADDRESS, network: 1 }
    const limits = { softConnections: 3, maxConnections: 2 }
    fixture.admissions.setAddress(place, limits, 0)
    fixture.uses.set(`address/${ADDRESS}`, { limits, connections: 2, rateWaits: { up: 0, down: 0 } })
    for (const id of [1, 2, 3]) fixture.admissions.enter(id, place, 0)
    fixture.admissions.placed(1, 'mad-1')
    const report = fixture.explain({ network: 1 })
    expect(report).toMatchObject({ chosen: 'ams-1', limits: { address: { maxConnections: 2, connections: 2 }, waiting: 1 } })
    expect(report.why).toContain('mad-1 (mad, 1 ms) is busy (it carries its share of the soft limit).')
    expect(report.why).toContain('The address has 2 of 2 connections: a new one waits briefly')
    // The choice of the service's other addresses stays where it is.
    const share = (node: string, nodes: number): boolean => fixture.admissions.hasItsShare(place, node, nodes)
    expect(fixture.nearest.candidates('svc').next().value?.node.id).toBe('mad-1')
    expect(fixture.nearest.candidates('svc', share).next().value?.node.id).toBe('ams-1')
    expect(fixture.nearest.present('svc')).toBe('mad-1')
    const drained = fixture.known.get('ams-1')
    if (drained) fixture.known.set('ams-1', { ...drained, row: { ...drained.row, draining: true } })
    expect(fixture.explain({ network: 1 })).toMatchObject({ chosen: 'gru-1' })
    expect(fixture.explain({ network: 1 }).why).toContain('ams-1 (ams, 25 ms) is draining (an operator drains it).')
  })

  test('names both networks of a denial and lists nobody', () => {
    const report = new Fixture().explain({ network: 2 })
    expect(report).toMatchObject({ verdict: { allowed: false, reason: 'foreign-network', sourceNetwork: 2, network: 1 }, candidates: [] })
    expect(report.chosen).toBeUndefined()
    expect(report.why).toContain('fdaa:0:2::/48')
    expect(report.why).toContain('fdaa:0:1::/48')
  })

  test('refuses a question that names nobody, or no address', () => {
    expect(() => new Fixture().explain({})).toThrow(expect.objectContaining({ code: 'network.missing' }))
    expect(() => new Fixture().explain({ network: 1, destination: 'example.com' })).toThrow(expect.objectContaining({ code: 'address.invalid' }))
  })
})
