/** The agent's brain without any socket: every state against every event, and openings cut at every place. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { HopBrain } from '../../agent/connection.ts'
import type { ConnectionEnd, Gate } from '../../agent/connection.ts'
import { ipv6FromBytes, parseIpv6 } from '../../lib/address.ts'
import { encodeFrame } from '../../lib/hop/frames.ts'
import { encodeConnection, encodeProbe, encodeSession } from '../../lib/hop/header.ts'
import { STATUS } from '../../lib/hop/protocol.ts'
import type { PlaneAction, PlaneEvent } from '../../lib/plane/plane.ts'
import { testSeed } from '../support/random.ts'

const OPEN: Gate = { admitLocal: () => null, admitConnection: () => null }
const SHUT: Gate = {
  admitLocal: () => ({ status: STATUS.refused, reason: 'unknown-dialer' }),
  admitConnection: () => ({ status: STATUS.refused, reason: 'bad-signature' }),
}
const ACCEPTED: PlaneEvent = { type: 'accepted', source: null, destination: null, peer: { kind: 'process', uid: 0, pid: 1 } }
const RESULT = { bytesUp: 0, bytesDown: 0, durationMs: 1, endedBy: 'client', how: 'end' } as const
const HEADER = encodeConnection(
  {
    purpose: 'client',
    dialer: 'proxy/mad-1',
    agent: 'mad',
    service: 'db',
    generation: 1,
    epoch: 1,
    session: new Uint8Array(16),
    worker: 0,
    counter: 1n,
    source: { ip: parseIpv6('fdaa:0:1:2::5'), port: 1 },
    destination: { ip: parseIpv6('fdaa:0:1:0:1::2'), port: 6379 },
  },
  new Uint8Array(32),
)
const SESSION = encodeSession('proxy/mad-1', 'mad')

function brain(gate: Gate = OPEN): { on: HopBrain['on']; ends: ConnectionEnd[] } {
  const ends: ConnectionEnd[] = []
  const made = new HopBrain({ gate, headerTimeoutMs: 5000, engineDialTimeoutMs: 1000, sessionIdleMs: 15_000, ended: (end) => void ends.push(end) })
  return { on: (event) => made.on(event), ends }
}

const received = (bytes: Uint8Array): PlaneEvent => ({ type: 'received', side: 'client', bytes })
const answered = (answer: unknown): PlaneEvent => ({ type: 'answered', question: null, answer })
const types = (actions: readonly PlaneAction[]): string[] => actions.map(({ type }) => type)

/** How each state is reached. */
const STATES = {
  opening: [ACCEPTED],
  asking: [ACCEPTED, received(HEADER)],
  dialling: [ACCEPTED, received(HEADER), answered({ target: { kind: 'unix', path: '/x' }, header: new Uint8Array() })],
  carrying: [ACCEPTED, received(HEADER), answered({ target: { kind: 'unix', path: '/x' }, header: new Uint8Array() }), { type: 'dialled' }],
  session: [ACCEPTED, received(encodeSession('proxy/mad-1', 'mad'))],
  over: [ACCEPTED, { type: 'ended', side: 'client' }],
} satisfies Record<string, PlaneEvent[]>

const EVENTS = {
  header: received(HEADER),
  part: received(HEADER.subarray(0, 20)),
  noise: received(Buffer.from('*1\r\n$4\r\nPING\r\n')),
  ping: received(encodeFrame({ type: 'ping', n: 1 })),
  dialled: { type: 'dialled' },
  'dial-failed': { type: 'dial-failed', reason: 'refused' },
  ended: { type: 'ended', side: 'client' },
  failed: { type: 'failed', side: 'client' },
  timer: { type: 'timer', name: 'any' },
  path: answered({ target: { kind: 'unix', path: '/x' }, header: new Uint8Array() }),
  unavailable: answered({ unavailable: 'redis.loading' }),
  nothing: answered(undefined),
} satisfies Record<string, PlaneEvent>

test.each([
  ['opening', 'header', 'cancel-timer consume read ask'],
  ['opening', 'part', ''],
  ['opening', 'noise', 'reset'],
  ['opening', 'timer', 'reset'],
  ['opening', 'ended', 'reset'],
  ['opening', 'failed', ''],
  ['asking', 'path', 'dial'],
  ['asking', 'unavailable', 'write close'],
  ['asking', 'nothing', 'write close'],
  ['asking', 'ended', 'reset'],
  ['dialling', 'dialled', 'write carry'],
  ['dialling', 'dial-failed', 'write close'],
  ['dialling', 'ended', 'reset'],
  ['dialling', 'timer', ''],
  ['session', 'ping', 'consume write timer'],
  ['session', 'noise', 'consume reset'],
  ['session', 'ended', 'close'],
  ['session', 'timer', 'reset'],
  ['session', 'nothing', 'close'],
] as const)('%s, %s: %s', (state, event, actions) => {
  const { on } = brain()
  for (const before of STATES[state]) on(before)
  expect(types(on(EVENTS[event]))).toEqual(actions === '' ? [] : actions.split(' '))
})

test('in every state every other event is harmless, and closed ends it with one report', () => {
  for (const path of Object.values(STATES)) {
    for (const event of Object.values(EVENTS)) {
      const { on, ends } = brain()
      for (const before of path) on(before)
      const actions = types(on(event))
      // At most one of these, and nothing behind it.
      const last = actions.findIndex((type) => type === 'reset' || type === 'close' || type === 'carry')
      expect(last === -1 || last === actions.length - 1).toBe(true)
      on({ type: 'closed', result: RESULT })
      expect(ends).toHaveLength(1)
    }
  }
})

test('status 0 is the only byte before carrying, and only once the engine was reached', () => {
  const { on, ends } = brain()
  const written: number[] = []
  for (const event of STATES.carrying) for (const action of on(event)) if (action.type === 'write') written.push(...action.bytes)
  expect(written).toEqual([STATUS.ok])
  on({ type: 'closed', result: RESULT })
  expect(ends[0]).toMatchObject({ carried: true, refusal: null, opening: { connection: { service: 'db' } } })
})

test('refused: connections hear their status, strangers that want a session or probe hear nothing', () => {
  const connection = brain(SHUT)
  connection.on(ACCEPTED)
  expect(connection.on(received(HEADER))).toContainEqual({ type: 'write', side: 'client', bytes: Uint8Array.of(STATUS.refused) })
  for (const opening of [encodeProbe('proxy/x', 'mad'), encodeSession('proxy/x', 'mad')]) {
    const local = brain(SHUT)
    local.on(ACCEPTED)
    expect(types(local.on(received(opening)))).toEqual(['cancel-timer', 'consume', 'reset'])
  }
})

test('a session: frames that came with the opening are answered, pushes are written and asked for again', () => {
  const { on } = brain()
  on(ACCEPTED)
  const opened = on(received(Buffer.concat([encodeSession('proxy/mad-1', 'mad'), encodeFrame({ type: 'ping', n: 3 })])))
  expect(types(opened)).toEqual(['cancel-timer', 'consume', 'timer', 'read', 'ask', 'write', 'timer'])
  expect(on(answered(Uint8Array.of(1)))).toEqual([
    { type: 'write', side: 'client', bytes: Uint8Array.of(1) },
    { type: 'ask', question: { type: 'push' } },
  ])
})

test('an opening gives the same decision wherever it is cut', () => {
  const opening = fc.constantFrom(HEADER, encodeProbe('proxy/mad-1', 'mad'), SESSION)
  fc.assert(
    fc.property(opening, fc.array(fc.nat(300), { maxLength: 6 }), fc.uint8Array({ maxLength: 8 }), (whole, cuts, tail) => {
      const bytes = Buffer.concat([whole, tail])
      const { on } = brain()
      on(ACCEPTED)
      const ends = [...new Set([...cuts.filter((cut) => cut > 0 && cut < whole.length), bytes.length])].toSorted((a, b) => a - b)
      for (const end of ends.slice(0, -1)) expect(on(received(bytes.subarray(0, end)))).toEqual([])
      // Of a session's bytes all are read: frames may follow at once.
      const consumed = whole === SESSION ? bytes.length : whole.length
      expect(on(received(bytes))).toContainEqual({ type: 'consume', side: 'client', bytes: consumed })
    }),
    { seed: testSeed('agent openings') },
  )
})

test('whatever arrives, nothing is admitted that the gate has not seen, and nothing throws', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 3000 }), fc.boolean(), (noise, afterSignature) => {
      const bytes = afterSignature ? Buffer.concat([HEADER.subarray(0, 16), noise]) : noise
      const { on } = brain(SHUT)
      on(ACCEPTED)
      for (const action of on(received(bytes))) expect(['ask', 'dial', 'carry']).not.toContain(action.type)
    }),
    { seed: testSeed('agent noise') },
  )
})

test('addresses of the header arrive as they were signed', () => {
  const { on, ends } = brain()
  for (const event of STATES.asking) on(event)
  on({ type: 'closed', result: RESULT })
  expect(ends[0]?.opening).toMatchObject({ connection: { destination: { ip: ipv6FromBytes(parseIpv6('fdaa:0:1:0:1::2')), port: 6379 } } })
})

test('a session: frames that came with the opening are read once, also when the last one is cut', () => {
  const header = encodeSession('proxy/mad-1', 'mad')
  const [first, second] = [encodeFrame({ type: 'ping', n: 1 }), encodeFrame({ type: 'ping', n: 2 })]
  const { on } = brain()
  on(ACCEPTED)
  // As a plane does: what isn't consumed comes again, with what arrives behind it.
  let held = Buffer.concat([header, first, second.subarray(0, 7)])
  const pongs: PlaneAction[] = []
  const arrive = (): void => {
    for (const action of on(received(held))) {
      if (action.type === 'consume') held = held.subarray(action.bytes)
      else if (action.type === 'write') pongs.push(action)
      else expect(action.type).not.toBe('reset')
    }
  }
  arrive()
  held = Buffer.concat([held, second.subarray(7)])
  arrive()
  expect(pongs).toEqual([1, 2].map((n) => ({ type: 'write', side: 'client', bytes: encodeFrame({ type: 'pong', n }) })))
})
