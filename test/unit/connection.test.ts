import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { NetworkId } from '../../lib/address.ts'
import { parseIpv6 } from '../../lib/address.ts'
import type { NodeRow } from '../../lib/feed/messages.ts'
import { STATUS } from '../../lib/hop/protocol.ts'
import type { CarryResult, PlaneAction, PlaneEvent, SocketAddress } from '../../lib/plane/plane.ts'
import { Connection } from '../../proxy/connection.ts'
import type { Admission, AttemptOutcome, Candidate, ConnectionRecord, SessionQuestion } from '../../proxy/connection.ts'
import { NO_TLS } from '../support/tls-edge.ts'

const SOURCE: SocketAddress = { ip: parseIpv6('fdaa:0:1:2::5'), port: 40_000 }
const DESTINATION: SocketAddress = { ip: parseIpv6('fdaa:0:1:0:1::9'), port: 6379 }
const NETWORK = 1 as NetworkId
const ADMITTED: Admission = { allowed: true, network: NETWORK, org: 'acme', service: 'cache', address: 'fdaa:0:1:0:1::9', generation: 1 }
const DENIED: Admission = { allowed: false, reason: 'foreign-network', sourceNetwork: 2 as NetworkId, network: NETWORK }
const ACCEPTED: PlaneEvent = { type: 'accepted', source: SOURCE, destination: DESTINATION, peer: { kind: 'anonymous' } }
const RESULT: CarryResult = { bytesUp: 10, bytesDown: 20, durationMs: 30, endedBy: 'client', how: 'end' }
const CLOSED: PlaneEvent = { type: 'closed', result: RESULT }
const DIALLED: PlaneEvent = { type: 'dialled' }
const REFUSED: PlaneEvent = { type: 'dial-failed', reason: 'refused' }
const DEADLINE_MS = 10_000
const CONNECT_MS = 1000

interface World {
  readonly connection: Connection
  readonly records: ConnectionRecord[]
  readonly results: { node: string; outcome: AttemptOutcome }[]
  readonly headers: string[]
  clockMs: number
  /** Nodes without a session. */
  readonly sessionless: Set<string>
}

interface Setting {
  readonly admission?: Admission
  readonly nodes?: readonly string[]
  readonly signed?: boolean
}

function world({ admission = ADMITTED, nodes = ['a', 'b'], signed = true }: Setting = {}): World {
  const made: Omit<World, 'connection'> = { records: [], results: [], headers: [], clockMs: 0, sessionless: new Set() }
  const connection = new Connection({
    id: 7,
    route: () => admission,
    candidates: () => nodes.map(candidate),
    header: ({ node }) => {
      if (made.sessionless.has(node.id)) return null
      made.headers.push(node.id)
      return { target: { kind: 'unix', path: node.id }, bytes: Buffer.from(`header-${made.headers.length}`), expectsStatus: signed }
    },
    tls: NO_TLS,
    now: () => built.clockMs,
    dialResult: (node, service, outcome) => {
      expect(service).toBe('cache')
      made.results.push({ node, outcome })
    },
    ended: (record) => made.records.push(record),
    connectTimeoutMs: () => CONNECT_MS,
    deadlineMs: DEADLINE_MS,
  })
  const built: World = Object.assign(made, { connection })
  return built
}

function candidate(id: string): Candidate {
  const node: NodeRow = { id, region: 'mad', host: 'h', hop: 'signed-v2', endpoint: '[::1]:1', keys: [] }
  return { node }
}

const status = (byte: number, ...more: number[]): PlaneEvent => ({ type: 'received', side: 'upstream', bytes: Uint8Array.of(byte, ...more) })
const timer = (name: string): PlaneEvent => ({ type: 'timer', name })
const rest = (afterMs: number): PlaneAction[] => [{ type: 'cancel-timer', name: 'candidate' }, { type: 'timer', name: 'rest', afterMs }]
const types = (actions: readonly PlaneAction[]): string[] => actions.map((action) => action.type)
const dialled = (actions: readonly PlaneAction[]): string | undefined => actions.flatMap((action) => (action.type === 'dial' && action.target.kind === 'unix' ? [action.target.path] : []))[0]
const question = (actions: readonly PlaneAction[]): unknown => actions.flatMap((action) => (action.type === 'ask' ? [action.question] : []))[0]

function feed({ connection }: World, ...events: readonly PlaneEvent[]): readonly PlaneAction[] {
  let actions: readonly PlaneAction[] = []
  for (const event of events) actions = connection.on(event)
  return actions
}

test('denied: reset before anything is dialled or read, one record with both networks', () => {
  const it = world({ admission: DENIED })
  expect(feed(it, ACCEPTED)).toEqual([{ type: 'reset' }])
  expect(it.headers).toEqual([])
  feed(it, { type: 'closed', result: { ...RESULT, endedBy: 'local', how: 'reset' } })
  expect(it.records).toMatchObject([{ outcome: 'denied', denial: { reason: 'foreign-network', sourceNetwork: 2, network: 1 }, route: null, node: null, attempts: [] }])
})

test('no candidate: reset, and the record says so', () => {
  const it = world({ nodes: [] })
  expect(types(feed(it, ACCEPTED))).toEqual(['timer', 'reset'])
  feed(it, CLOSED)
  expect(it.records).toMatchObject([{ outcome: 'no-candidate', attempts: [] }])
})

const WAITING: Admission = { ...ADMITTED, waits: true }

test('beyond a limit: nothing is dialled before its turn, then all goes as ever', () => {
  const it = world({ admission: WAITING })
  const asked = feed(it, ACCEPTED)
  expect([types(asked), question(asked)]).toEqual([['timer', 'ask'], { kind: 'turn' }])
  // Somebody else's answer is no turn.
  expect(feed(it, { type: 'answered', question: { kind: 'turn' }, answer: true })).toEqual([])
  expect(dialled(feed(it, { type: 'answered', question: question(asked), answer: true }))).toBe('a')
  expect(types(feed(it, DIALLED, status(STATUS.ok)))).toContain('carry')
  feed(it, CLOSED)
  expect(it.records).toMatchObject([{ outcome: 'carried', node: 'a', denial: null }])
})

test.each([
  ['no turn in time', (asked: unknown): PlaneEvent => ({ type: 'answered', question: asked, answer: false })],
  ['no answer until the deadline', (): PlaneEvent => timer('deadline')],
])('beyond a limit, %s: reset, denied for the limit', (_case, event) => {
  const it = world({ admission: WAITING })
  expect(feed(it, event(question(feed(it, ACCEPTED))))).toEqual([{ type: 'reset' }])
  feed(it, { type: 'closed', result: { ...RESULT, endedBy: 'local', how: 'reset' } })
  expect(it.headers).toEqual([])
  expect(it.records).toMatchObject([{ outcome: 'denied', denial: { reason: 'limit', sourceNetwork: 1, network: 1 }, route: { service: 'cache' } }])
})

test('a client that breaks while it waits is gone, and a late turn dials nobody', () => {
  const it = world({ admission: WAITING })
  const asked = question(feed(it, ACCEPTED))
  feed(it, { type: 'failed', side: 'client' })
  expect(feed(it, { type: 'answered', question: asked, answer: true })).toEqual([])
  feed(it, CLOSED)
  expect([it.headers, it.records[0]?.outcome]).toEqual([[], 'client-gone'])
})

test('an address that the socket lost is no Flycast destination', () => {
  const it = world()
  expect(feed(it, { ...ACCEPTED, source: null, destination: null })).toEqual([{ type: 'reset' }])
  feed(it, CLOSED)
  expect(it.records[0]?.denial?.reason).toBe('not-flycast')
})

test('signed hop: header, status byte, then payload; the record tells it', () => {
  const it = world()
  expect(feed(it, ACCEPTED)).toEqual([
    { type: 'timer', name: 'deadline', afterMs: DEADLINE_MS },
    { type: 'timer', name: 'candidate', afterMs: CONNECT_MS },
    { type: 'dial', target: { kind: 'unix', path: 'a' }, timeoutMs: CONNECT_MS },
  ])
  it.clockMs = 3
  expect(feed(it, DIALLED)).toEqual([
    { type: 'write', side: 'upstream', bytes: Buffer.from('header-1') },
    { type: 'read', side: 'upstream', limitBytes: 1 },
  ])
  it.clockMs = 5
  expect(feed(it, status(STATUS.ok, 1, 2))).toEqual([
    { type: 'consume', side: 'upstream', bytes: 1 },
    { type: 'cancel-timer', name: 'candidate' },
    { type: 'cancel-timer', name: 'deadline' },
    { type: 'carry' },
  ])
  feed(it, CLOSED)
  expect(it.results).toEqual([{ node: 'a', outcome: 'ok' }])
  expect(it.records).toEqual([
    {
      id: 7, source: SOURCE, destination: DESTINATION, denial: null, tls: null,
      route: { network: 1, org: 'acme', service: 'cache', address: 'fdaa:0:1:0:1::9', generation: 1 },
      node: 'a', attempts: [{ node: 'a', ms: 5, outcome: 'ok' }],
      bytesUp: 10, bytesDown: 20, durationMs: 30, connectMs: 5, outcome: 'carried', endedBy: 'client', how: 'end',
    },
  ])
})

test('plain hops carry at once, behind the header in the same list', () => {
  const it = world({ signed: false })
  expect(types(feed(it, ACCEPTED, DIALLED))).toEqual(['write', 'cancel-timer', 'cancel-timer', 'carry'])
})

test.each([
  [REFUSED, 'refused'],
  [{ type: 'dial-failed', reason: 'tls' }, 'tls'],
  [timer('candidate'), 'timeout'],
] as const)('a failed dial takes the next node: %o', (event, outcome) => {
  const it = world()
  expect(dialled(feed(it, ACCEPTED, event))).toBe('b')
  expect(it.results).toEqual([{ node: 'a', outcome }])
})

test.each([
  [status(STATUS.refused), 'rejected'],
  [status(STATUS.unavailable), 'unavailable'],
  [status(STATUS.unknownService), 'unknown-service'],
  [status(STATUS.overloaded), 'overloaded'],
  [status(99), 'protocol'],
  [{ type: 'ended', side: 'upstream' }, 'reset'],
  [{ type: 'failed', side: 'upstream' }, 'reset'],
  [timer('candidate'), 'timeout'],
] as const)('an agent that does not take it hands over to the next node: %o', (event, outcome) => {
  const it = world()
  expect(dialled(feed(it, ACCEPTED, DIALLED, event))).toBe('b')
  expect(it.results).toEqual([{ node: 'a', outcome }])
})

test('nobody takes it: all are asked again after a rest, until the deadline; every try in the record', () => {
  const it = world()
  expect(feed(it, ACCEPTED, REFUSED, DIALLED, status(STATUS.unavailable))).toEqual(rest(100))
  expect(dialled(feed(it, timer('rest')))).toBe('a')
  expect(feed(it, REFUSED, REFUSED)).toEqual(rest(200))
  expect(feed(it, timer('deadline'))).toEqual([{ type: 'reset' }])
  feed(it, CLOSED)
  const attempts = [{ node: 'a', outcome: 'refused' }, { node: 'b', outcome: 'unavailable' }, { node: 'a', outcome: 'refused' }, { node: 'b', outcome: 'refused' }]
  expect(it.records).toMatchObject([{ outcome: 'unanswered', node: null, attempts }])
})

test('a node that is back after a rest takes the connection; a client that left meanwhile ends it', () => {
  const back = world({ nodes: ['a'] })
  expect(types(feed(back, ACCEPTED, REFUSED, timer('rest'), DIALLED, status(STATUS.ok)))).toContain('carry')

  const gone = world({ nodes: ['a'] })
  feed(gone, ACCEPTED, REFUSED, { type: 'failed', side: 'client' }, { type: 'closed', result: { ...RESULT, how: 'reset' } })
  expect(gone.records[0]?.outcome).toBe('client-gone')
})

test('an unknown session is reopened, and the same node tried once more with a new header', () => {
  const it = world()
  const asked = question(feed(it, ACCEPTED, DIALLED, status(STATUS.unknownSession)))
  expect(asked).toEqual({ kind: 'session', node: 'a', reopen: true } satisfies SessionQuestion)
  expect(dialled(feed(it, { type: 'answered', question: asked, answer: true }))).toBe('a')
  expect(it.headers).toEqual(['a', 'a'])
  expect(dialled(feed(it, DIALLED, status(STATUS.unknownSession)))).toBe('b')
  expect(it.results.map(({ outcome }) => outcome)).toEqual(['unknown-session', 'unknown-session'])
})

test('without a session: wait for one, and go on without', () => {
  const it = world()
  it.sessionless.add('a')
  const asked = question(feed(it, ACCEPTED))
  expect(asked).toEqual({ kind: 'session', node: 'a', reopen: false })
  expect(feed(it, { type: 'answered', question: { ...Object(asked) }, answer: true })).toEqual([])
  expect(dialled(feed(it, { type: 'answered', question: asked, answer: undefined }))).toBe('b')
  expect(it.results).toEqual([{ node: 'a', outcome: 'no-session' }])

  const other = world()
  other.sessionless.add('a')
  expect(dialled(feed(other, ACCEPTED, timer('candidate')))).toBe('b')
})

test('the deadline ends it, by its timer or before another try', () => {
  const late = world()
  expect(feed(late, ACCEPTED, DIALLED, timer('deadline'))).toEqual([{ type: 'reset' }])
  feed(late, CLOSED)
  expect(late.records).toMatchObject([{ outcome: 'deadline', attempts: [{ node: 'a', outcome: 'timeout' }] }])

  const slow = world()
  feed(slow, ACCEPTED)
  slow.clockMs = DEADLINE_MS
  expect(feed(slow, REFUSED)).toEqual([{ type: 'reset' }])
})

test('a client that left, one that half-closed, and a cut', () => {
  const left = world()
  feed(left, ACCEPTED, { type: 'failed', side: 'client' }, { type: 'closed', result: { ...RESULT, how: 'reset' } })
  expect(left.records[0]?.outcome).toBe('client-gone')

  const halfClosed = world()
  expect(types(feed(halfClosed, ACCEPTED, { type: 'ended', side: 'client' }, DIALLED, status(STATUS.ok)))).toContain('carry')

  const cut = world()
  feed(cut, ACCEPTED, DIALLED, status(STATUS.ok), { type: 'closed', result: { ...RESULT, endedBy: 'local', how: 'cut' } })
  expect(cut.records[0]?.outcome).toBe('cut')
})

test('candidates are asked for one at a time', () => {
  const yielded: string[] = []
  const connection = new Connection({
    id: 1,
    route: () => ADMITTED,
    *candidates() {
      for (const id of ['a', 'b', 'c']) {
        yielded.push(id)
        yield candidate(id)
      }
    },
    header: () => ({ target: { kind: 'unix', path: 'x' }, bytes: new Uint8Array(1), expectsStatus: true }),
    tls: NO_TLS,
    now: () => 0,
    dialResult: () => undefined,
    ended: () => undefined,
    connectTimeoutMs: () => 1,
    deadlineMs: 100,
  })
  connection.on(ACCEPTED)
  expect(yielded).toEqual(['a'])
  connection.on(REFUSED)
  expect(yielded).toEqual(['a', 'b'])
})

/** Events that lead into each state, and what else may be sent there. */
const STATES: Readonly<Record<string, readonly PlaneEvent[]>> = {
  new: [],
  dialling: [ACCEPTED],
  status: [ACCEPTED, DIALLED],
  session: [ACCEPTED, DIALLED, status(STATUS.unknownSession)],
  resting: [ACCEPTED, REFUSED, REFUSED],
  carrying: [ACCEPTED, DIALLED, status(STATUS.ok)],
  ending: [ACCEPTED, timer('deadline')],
  ended: [ACCEPTED, CLOSED],
}

const EVENTS: readonly PlaneEvent[] = [
  ACCEPTED, DIALLED, REFUSED, CLOSED, status(0), status(1), status(2), status(77),
  { type: 'received', side: 'upstream', bytes: new Uint8Array() },
  { type: 'received', side: 'client', bytes: Uint8Array.of(0) },
  { type: 'ended', side: 'client' }, { type: 'ended', side: 'upstream' },
  { type: 'failed', side: 'client' }, { type: 'failed', side: 'upstream' },
  timer('candidate'), timer('deadline'), timer('rest'), timer('unheard of'),
  { type: 'answered', question: null, answer: true },
]

/** state -> the events that it acts on; every other event leaves it silent. */
const HEARD: Readonly<Record<string, readonly PlaneEvent[]>> = {
  new: [ACCEPTED],
  dialling: [DIALLED, REFUSED, timer('candidate'), timer('deadline')],
  status: [status(0), status(1), status(2), status(77), { type: 'ended', side: 'upstream' }, { type: 'failed', side: 'upstream' }, timer('candidate'), timer('deadline')],
  session: [timer('candidate'), timer('deadline')],
  resting: [timer('rest'), timer('deadline')],
  carrying: [],
  ending: [],
  ended: [],
}

test.each(Object.keys(STATES))('every event in state %s', (state) => {
  for (const event of EVENTS) {
    const it = world()
    feed(it, ...(STATES[state] ?? []))
    const actions = it.connection.on(event)
    const heard = HEARD[state]?.some((each) => JSON.stringify(each) === JSON.stringify(event)) ?? false
    expect({ event, acts: actions.length > 0 }).toEqual({ event, acts: heard })
    it.connection.on(CLOSED)
    it.connection.on(CLOSED)
    expect(it.records).toHaveLength(1)
  }
})

test('whatever happens: no throw, nothing after a denial, no payload before status 0, one record', () => {
  const anyEvent = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...EVENTS) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 3 }).map((bytes): PlaneEvent => ({ type: 'received', side: 'upstream', bytes })) },
    { weight: 1, arbitrary: fc.constant('answer' as const) },
    { weight: 1, arbitrary: fc.constant('time passes' as const) },
  )
  const setting = fc.record({
    denied: fc.boolean(),
    signed: fc.boolean(),
    nodes: fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 4 }),
    sessionless: fc.subarray(['a', 'b', 'c', 'd']),
  })
  fc.assert(
    fc.property(setting, fc.array(anyEvent, { maxLength: 40 }), ({ denied, signed, nodes, sessionless }, events) => {
      const it = world({ admission: denied ? DENIED : ADMITTED, nodes, signed })
      for (const id of sessionless) it.sessionless.add(id)
      let asked: unknown
      let statusOk = false
      let over = false
      const play = (event: PlaneEvent): void => {
        const waiting = !statusOk
        const actions = it.connection.on(event)
        asked = question(actions) ?? asked
        if (over) expect(actions).toEqual([])
        if (denied) expect(types(actions).filter((type) => type !== 'reset')).toEqual([])
        for (const action of actions) {
          if (action.type === 'read' || action.type === 'consume') expect(action.side).toBe('upstream')
          if (action.type === 'write') expect(Buffer.from(action.bytes).toString()).toMatch(/^header-\d+$/)
          if (action.type === 'carry' && signed) expect(event).toMatchObject({ type: 'received', side: 'upstream' })
          if (action.type === 'carry' && signed && event.type === 'received') expect(event.bytes[0]).toBe(0)
          if (action.type === 'carry') {
            expect(waiting).toBe(true)
            statusOk = true
          }
          if (action.type === 'reset') over = true
        }
      }
      play(ACCEPTED)
      for (const event of events) {
        if (event === 'answer') play({ type: 'answered', question: asked, answer: true })
        else if (event === 'time passes') it.clockMs += 900
        else play(event)
      }
      play(CLOSED)
      play(CLOSED)
      expect(it.records).toHaveLength(1)
      const [record] = it.records
      expect(record?.attempts.length).toBe(it.results.length)
      if (denied) expect(it.headers).toEqual([])
      // A header is never sent twice, and each node gets at most two between two rests.
      const rounds = 1 + events.filter((event) => typeof event === 'object' && event.type === 'timer' && event.name === 'rest').length
      for (const id of nodes) expect(it.headers.filter((each) => each === id).length).toBeLessThanOrEqual(2 * rounds)
    }),
    { numRuns: 2000 },
  )
})
