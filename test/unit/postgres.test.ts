/** PostgreSQL's first messages, and the brain that waits for them: without any socket. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { NetworkId } from '../../lib/address.ts'
import { parseIpv6 } from '../../lib/address.ts'
import type { Brain, CarryResult, PlaneAction, PlaneEvent, SocketAddress } from '../../lib/plane/plane.ts'
import type { Admission, ConnectionRecord } from '../../proxy/connection-record.ts'
import { PostgresConnection } from '../../proxy/postgres/postgres-connection.ts'
import type { CancelQuestion } from '../../proxy/postgres/postgres-connection.ts'
import { MAX_STARTUP_BYTES, readStartup } from '../../proxy/postgres/startup.ts'
import { testSeed } from '../support/random.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
const SSL = hex('00000008 04d2162f')
const GSS = hex('00000008 04d21630')
const CANCEL = hex('00000010 04d2162e 0000002a deadbeef')
/** Protocol 3.2: a key of 32 bytes. */
const LONG_CANCEL = hex(`0000002c 04d2162e 0000002a ${'5a'.repeat(32)}`)
const STARTUP = hex('00000013 00030000 7573657200 64656d6f00 00')

test.each([
  ['SSLRequest', SSL, { state: 'negotiation' }],
  ['GSSENCRequest', GSS, { state: 'negotiation' }],
  ['CancelRequest', CANCEL, { state: 'cancel', bytes: 16 }],
  ['CancelRequest of protocol 3.2', LONG_CANCEL, { state: 'cancel', bytes: 44 }],
  ['CancelRequest and more', Buffer.concat([CANCEL, SSL]), { state: 'cancel', bytes: 16 }],
  ['the longest CancelRequest', Buffer.concat([hex('0000010c 04d2162e 00000001'), Buffer.alloc(256)]), { state: 'cancel', bytes: 268 }],
  ['a longer one', Buffer.concat([hex('0000010d 04d2162e 00000001'), Buffer.alloc(257)]), { state: 'session' }],
  ['a shorter one', hex('0000000f 04d2162e 0000002a deadbe'), { state: 'session' }],
  ['StartupMessage', STARTUP, { state: 'session' }],
  ['SSLRequest with something behind it', Buffer.concat([SSL, hex('16')]), { state: 'session' }],
  ['SSLRequest of a wrong length', hex('00000009 04d2162f 00'), { state: 'session' }],
  ['TLS at once', hex('16'), { state: 'session' }],
  ['text', Buffer.from('G'), { state: 'session' }],
  ['a long length', hex('00 01'), { state: 'session' }],
  ['nothing', Buffer.alloc(0), { state: 'incomplete' }],
])('%s', (_name, bytes, startup) => {
  expect(readStartup(bytes)).toEqual(startup)
})

test('whatever the bytes, it decides within its limit, never throws, and never changes its mind', () => {
  const seed = testSeed('postgres startup')
  const special = fc.constantFrom(SSL, GSS, CANCEL, LONG_CANCEL, STARTUP)
  const length = fc.nat(400).map((value) => hex(`0000${value.toString(16).padStart(4, '0')}`))
  const made = fc.tuple(length, fc.constantFrom('04d2162e', '04d2162f', '04d21630', '00030000').map(hex), fc.uint8Array({ maxLength: 400 }))
  const bytes = fc.oneof(special, made.map((parts) => Buffer.concat(parts)), fc.uint8Array({ maxLength: 400 }).map((value) => Buffer.from(value)))
  fc.assert(
    fc.property(bytes, (whole) => {
      const first = [...whole.keys()].map((end) => end + 1).find((end) => readStartup(whole.subarray(0, end)).state !== 'incomplete')
      if (whole.length >= MAX_STARTUP_BYTES) expect(first).toBeLessThanOrEqual(MAX_STARTUP_BYTES)
      if (first === undefined) return
      const decided = readStartup(whole.subarray(0, first))
      // A question that isn't alone any more is a session: the one change of mind, and the brain asks once.
      const later = readStartup(whole)
      expect(decided.state === 'negotiation' && whole.length > first ? { state: 'session' } : decided).toEqual(later)
      if (later.state === 'cancel') expect(later.bytes).toBeLessThanOrEqual(whole.length)
    }),
    { seed, numRuns: 2000 },
  )
})

const SOURCE: SocketAddress = { ip: parseIpv6('fdaa:0:1:2::5'), port: 40_000 }
const DESTINATION: SocketAddress = { ip: parseIpv6('fdaa:0:1:0:1::9'), port: 5432 }
const ROUTE = { network: 1 as NetworkId, org: 'acme', service: 'pg', address: 'fdaa:0:1:0:1::9', generation: 1 }
const ACCEPTED: PlaneEvent = { type: 'accepted', source: SOURCE, destination: DESTINATION, peer: { kind: 'anonymous' } }
const RESULT: CarryResult = { bytesUp: 0, bytesDown: 0, durationMs: 30, endedBy: 'client', how: 'end' }
const CLOSED: PlaneEvent = { type: 'closed', result: RESULT }
const client = (bytes: Uint8Array): PlaneEvent => ({ type: 'received', side: 'client', bytes })
const upstream = (text: string): PlaneEvent => ({ type: 'received', side: 'upstream', bytes: Buffer.from(text) })
const TIMER: PlaneEvent = { type: 'timer', name: 'startup' }
const types = (actions: readonly PlaneAction[]): string[] => actions.map(({ type }) => type)

/** An inner brain that dials when it is accepted and carries when it is dialled. */
function scene(admission: Partial<Extract<Admission, { allowed: true }>> | null = {}) {
  const heard: PlaneEvent[] = []
  const records: ConnectionRecord[] = []
  let admitted = 0
  const brain = new PostgresConnection({
    id: 7,
    admit: () => {
      admitted++
      return admission === null ? { allowed: false, reason: 'foreign-network', sourceNetwork: null, network: null } : { allowed: true, kind: 'postgres', ...ROUTE, ...admission }
    },
    session: (route): Brain => ({
      on(event) {
        heard.push(event)
        if (event.type === 'accepted') return [route(SOURCE, DESTINATION).allowed ? { type: 'dial', target: { kind: 'unix', path: '/x' }, timeoutMs: 1 } : { type: 'reset' }]
        return event.type === 'dialled' ? [{ type: 'write', side: 'upstream', bytes: Buffer.from('header') }, { type: 'carry', rates: ['r'] }] : []
      },
    }),
    startupTimeoutMs: 10_000,
    ended: (record) => records.push(record),
  })
  const feed = (...events: readonly PlaneEvent[]): readonly PlaneAction[] => {
    let actions: readonly PlaneAction[] = []
    for (const event of events) actions = brain.on(event)
    return actions
  }
  return { feed, heard, records, admitted: () => admitted }
}

test('of other kinds nothing is read, and every event passes', () => {
  for (const kind of ['redis', 'tcp'] as const) {
    const { feed, heard, admitted } = scene({ kind })
    expect(types(feed(ACCEPTED))).toEqual(['dial'])
    expect(types(feed({ type: 'dialled' }))).toEqual(['write', 'carry'])
    feed(CLOSED)
    expect(heard.map(({ type }) => type)).toEqual(['accepted', 'dialled', 'closed'])
    expect(admitted()).toBe(1)
  }
})

test('who may not come in is refused before anything is read; an unknown source, too', () => {
  const { feed, records } = scene(null)
  expect(types(feed(ACCEPTED))).toEqual(['reset'])
  feed(CLOSED)
  expect(records).toEqual([])
  expect(types(scene().feed({ ...ACCEPTED, source: null }))).toEqual(['dial'])
})

test('where TLS ends at the proxy, the first bytes are the inner brain’s', () => {
  expect(types(scene({ tls: { policy: 'terminate' } as never }).feed(ACCEPTED))).toEqual(['dial'])
})

test('nothing is dialled before the first message; a startup message is carried whole', () => {
  const { feed, heard, admitted } = scene()
  expect(feed(ACCEPTED)).toEqual([{ type: 'timer', name: 'startup', afterMs: 10_000 }, { type: 'read', side: 'client', limitBytes: MAX_STARTUP_BYTES }])
  expect(feed(client(STARTUP.subarray(0, 5)))).toEqual([])
  expect(types(feed(client(STARTUP)))).toEqual(['cancel-timer', 'read', 'dial'])
  expect(feed({ type: 'dialled' }).at(-1)).toEqual({ type: 'carry', rates: ['r'] })
  expect(heard.map(({ type }) => type)).toEqual(['accepted', 'dialled'])
  expect(admitted()).toBe(1)
})

test('a question about encryption goes on alone; what the server says to it is carried, but for a no', () => {
  for (const answer of ['S', 'G', 'E', 'NN']) {
    const { feed } = scene()
    feed(ACCEPTED, client(SSL))
    expect(types(feed({ type: 'dialled' }))).toEqual(['write', 'write', 'consume', 'read', 'read', 'timer'])
    expect(feed(upstream(answer))).toEqual([{ type: 'cancel-timer', name: 'startup' }, { type: 'carry', rates: ['r'] }])
  }
})

test('after a no the next message is read: another question, a session, or a CancelRequest', () => {
  const { feed } = scene()
  feed(ACCEPTED, client(GSS), { type: 'dialled' })
  expect(types(feed(upstream('N')))).toEqual(['consume', 'write', 'read', 'read', 'timer'])
  expect(types(feed(client(SSL)))).toEqual(['write', 'consume', 'read', 'read', 'timer'])
  expect(types(feed(upstream('N')))).toEqual(['consume', 'write', 'read', 'read', 'timer'])
  expect(types(feed(client(STARTUP)))).toEqual(['cancel-timer', 'carry'])
  const third = scene().feed(ACCEPTED, client(GSS), { type: 'dialled' }, upstream('N'), client(SSL), upstream('N'), client(SSL))
  expect(types(third)).toEqual(['cancel-timer', 'carry'])
  const cancelled = scene()
  const actions = cancelled.feed(ACCEPTED, client(SSL), { type: 'dialled' }, upstream('N'), client(CANCEL))
  expect(types(actions)).toEqual(['cancel-timer', 'read', 'ask'])
  cancelled.feed(CLOSED)
  // The inner brain has reported it.
  expect([cancelled.records.length, cancelled.heard.at(-1)?.type]).toEqual([0, 'closed'])
})

test('a silent client or server while negotiating is carried; a broken server breaks the client', () => {
  for (const event of [TIMER, { type: 'ended', side: 'client' }, { type: 'ended', side: 'upstream' }] satisfies PlaneEvent[]) {
    expect(types(scene().feed(ACCEPTED, client(SSL), { type: 'dialled' }, event))).toEqual(['cancel-timer', 'carry'])
    expect(types(scene().feed(ACCEPTED, client(SSL), { type: 'dialled' }, upstream('N'), event))).toEqual(['cancel-timer', 'carry'])
  }
  expect(types(scene().feed(ACCEPTED, client(SSL), { type: 'dialled' }, { type: 'failed', side: 'upstream' }))).toEqual(['reset'])
  expect(types(scene().feed(ACCEPTED, client(SSL), { type: 'dialled' }, upstream('N'), { type: 'failed', side: 'upstream' }))).toEqual(['reset'])
})

test.each([CANCEL, LONG_CANCEL])('a CancelRequest is asked of the control side, alone; its end closes the client', (message) => {
  const { feed, heard, records } = scene()
  const actions = feed(ACCEPTED, client(Buffer.concat([message, STARTUP])))
  expect(types(actions)).toEqual(['cancel-timer', 'read', 'ask'])
  const ask = actions.find((action) => action.type === 'ask')
  const question = ask?.question as CancelQuestion
  expect(question).toEqual({ kind: 'cancel', route: ROUTE, source: SOURCE, destination: DESTINATION, message: Uint8Array.from(message) })
  expect(feed({ type: 'answered', question: {}, answer: true })).toEqual([])
  expect(feed({ type: 'answered', question, answer: true })).toEqual([{ type: 'close' }])
  feed(CLOSED)
  expect(heard).toEqual([])
  expect(records).toMatchObject([{ id: 7, outcome: 'cancel-request', route: ROUTE, node: null, source: SOURCE }])
})

test.each<[string, PlaneEvent[], string[], string]>([
  ['says nothing', [TIMER], ['reset'], 'client-silent'],
  ['ends at once', [{ type: 'ended', side: 'client' }], ['close'], 'client-gone'],
  ['breaks', [{ type: 'failed', side: 'client' }], [], 'client-gone'],
])('a client that %s is reported once, and nobody was dialled', (_what, events, expected, outcome) => {
  const { feed, heard, records } = scene()
  expect(types(feed(ACCEPTED, ...events))).toEqual(expected)
  expect(feed(client(STARTUP))).toEqual([])
  feed(CLOSED)
  expect(heard).toEqual([])
  expect(records).toMatchObject([{ outcome, route: ROUTE }])
})

test('a cut one is reported as cut', () => {
  const { feed, records } = scene()
  feed(ACCEPTED, { type: 'closed', result: { ...RESULT, how: 'cut' } })
  expect(records).toMatchObject([{ outcome: 'cut' }])
})
