/** Who gets in, from tables alone. */
import { expect, test } from 'vitest'
import { Admission, whyNotDialer } from '../../agent/tenants/admission.ts'
import { parseIpv6 } from '../../lib/address.ts'
import type { DialerRow } from '../../lib/feed/messages.ts'
import { FeedTable } from '../../lib/feed/table.ts'
import { decodeOpening, encodeConnection } from '../../lib/hop/header.ts'
import type { ConnectionOpening, HopConnection } from '../../lib/hop/header.ts'
import { HopSessions } from '../../lib/hop/sessions.ts'
import type { Peer } from '../../lib/plane/plane.ts'
import { addressChange, databaseRow, dialerChange, KEY } from '../support/data-node.ts'

const A = 'fdaa:0:1:0:1::2'
const PROXY: Peer = { kind: 'certificate', identity: 'nearcast://proxy/mad-1', serial: '0A' }

function scene(full = false) {
  const table = new FeedTable()
  const placements = [
    { node: 'mad', role: 'primary' as const },
    { node: 'gru', role: 'replica' as const },
  ]
  const turned = [
    { node: 'gru', role: 'primary' as const },
    { node: 'mad', role: 'replica' as const },
  ]
  table.apply([
    dialerChange('proxy/mad-1'),
    dialerChange('agent/gru'),
    dialerChange('agent/ams'),
    databaseRow('db', placements, 'pw'),
    databaseRow('copy', turned, 'pw'),
    databaseRow('elsewhere', [{ node: 'gru', role: 'primary' }], 'pw'),
    addressChange(A, 'db', 3),
    addressChange('fdaa:0:1:0:1::3', 'copy'),
  ])
  let nowMs = 0
  const sessions = new HopSessions()
  const admission = new Admission({ agent: 'mad', table: () => table, sessions, uids: new Set([0, 500]), nowMs: () => nowMs, full: () => full, clients: () => 0, clientsFull: () => undefined })
  const session = sessions.open('proxy/mad-1', nowMs)
  let counter = 0n
  const opening = (change: Partial<HopConnection> = {}, key = KEY): ConnectionOpening => {
    const connection: HopConnection = {
      purpose: 'client',
      dialer: 'proxy/mad-1',
      agent: 'mad',
      service: 'db',
      generation: 3,
      epoch: 1,
      session,
      worker: 0,
      counter: counter++,
      source: { ip: parseIpv6('fdaa:0:1:2::5'), port: 1 },
      destination: { ip: parseIpv6(A), port: 6379 },
      ...change,
    }
    const decoded = decodeOpening(encodeConnection(connection, Buffer.from(key, 'hex')))
    if (decoded.state !== 'done' || decoded.opening.kind !== 'connection') throw new Error('not decoded')
    return decoded.opening
  }
  return { admission, table, sessions, session, opening, later: (ms: number) => void (nowMs += ms) }
}

test('the right one gets in', () => {
  const { admission, opening } = scene()
  expect(admission.admitConnection(opening(), PROXY)).toBeNull()
  expect(admission.admitLocal({ kind: 'session', dialer: 'proxy/mad-1', agent: 'mad' }, PROXY)).toBeNull()
})

test.each([
  ['anonymous', { kind: 'anonymous' }],
  ['other-identity', { kind: 'certificate', identity: 'nearcast://proxy/gru-1', serial: '0A' }],
  ['other-identity', { kind: 'certificate', identity: 'proxy/mad-1', serial: '0A' }],
  ['other-identity', { kind: 'process', uid: 501, pid: 7 }],
] as [string, Peer][])('%s: the transport speaks for somebody else', (reason, peer) => {
  const { admission, opening } = scene()
  expect(admission.admitConnection(opening(), peer)?.reason).toBe(reason)
  expect(admission.admitLocal({ kind: 'probe', dialer: 'proxy/mad-1', agent: 'mad' }, peer)?.reason).toBe(reason)
})

test('who has joined again: the earlier certificate counts no more', () => {
  const { admission, opening, table } = scene()
  const change = dialerChange('proxy/mad-1')
  table.apply([{ ...change, row: { ...(change.row as DialerRow), serial: '0B' } }])
  expect(admission.admitConnection(opening(), PROXY)?.reason).toBe('other-certificate')
  expect(admission.admitLocal({ kind: 'session', dialer: 'proxy/mad-1', agent: 'mad' }, PROXY)?.reason).toBe('other-certificate')
  expect(admission.admitConnection(opening(), { kind: 'certificate', identity: 'nearcast://proxy/mad-1', serial: '0B' })).toBeNull()
  expect(whyNotDialer(table, 'proxy/mad-1', null)).toBeNull()
})

test('configured uids may use the socket', () => {
  const { admission, opening } = scene()
  expect(admission.admitConnection(opening(), { kind: 'process', uid: 500, pid: 7 })).toBeNull()
})

test.each([
  ['other-agent', { agent: 'gru' }],
  ['unknown-dialer', { dialer: 'proxy/mad-2' }],
  ['unknown-session', { session: new Uint8Array(16) }],
  ['unknown-service', { service: 'nothing' }],
  ['unknown-service', { service: 'elsewhere' }],
  ['other-generation', { generation: 2 }],
  ['unknown-address', { destination: { ip: parseIpv6('fdaa:0:1:0:1::9'), port: 6379 } }],
  ['other-service', { service: 'copy', generation: 3 }],
] as [string, Partial<HopConnection>][])('%s', (reason, change) => {
  const { admission, opening } = scene()
  const peer: Peer = { kind: 'process', uid: 0, pid: 1 }
  expect(admission.admitConnection(opening(change), peer)?.reason).toBe(reason)
})

test.each([
  [undefined, 0, Infinity],
  ['keep', Infinity, Infinity],
  ['drain:3', 3000, 3000],
  ['cut', 0, 0],
])('policy %s: what becomes of live connections', (live, revokedMs, drainingMs) => {
  const { admission, table, opening } = scene()
  const { connection } = opening()
  const service = table.services.get('db')
  table.apply([{ table: 'services', key: 'db', row: { ...service, ...(live !== undefined && { live }) } }])
  expect(admission.departures(connection)).toEqual([])
  const node = { id: 'mad', region: 'mad', host: 'h', hop: 'signed-v2', endpoint: '[::1]:1', keys: [] }
  table.apply([{ table: 'nodes', key: 'mad', row: { ...node, draining: true } }])
  expect(admission.departures(connection)).toEqual([{ cause: 'draining', afterMs: drainingMs }])
  expect(admission.departures({ ...connection, purpose: 'replication', dialer: 'agent/gru' })).toEqual([])
  table.apply([{ table: 'nodes', key: 'mad', row: node }, addressChange(A, 'db', 4)])
  expect(admission.departures(connection)).toEqual([{ cause: 'other-generation', afterMs: revokedMs }])
  table.apply([{ table: 'addresses', key: A, row: null }])
  expect(admission.departures(connection)).toEqual([{ cause: 'unknown-address', afterMs: revokedMs }])
  table.apply([{ table: 'dialers', key: 'proxy/mad-1', row: null }])
  expect(admission.departures(connection)).toEqual([{ cause: 'unknown-dialer', afterMs: 0 }])
})

test('a bad signature uses no counter up, a good one does', () => {
  const { admission, opening } = scene()
  const good = opening()
  expect(admission.admitConnection({ ...good, mac: new Uint8Array(32) }, PROXY)?.reason).toBe('bad-signature')
  expect(admission.admitConnection(good, PROXY)).toBeNull()
  expect(admission.admitConnection(good, PROXY)?.reason).toBe('replayed')
})

test('any key in force verifies, a withdrawn one does not', () => {
  const { admission, table, opening } = scene()
  const row = table.dialers.get('proxy/mad-1')
  const newer = '77'.repeat(32)
  table.apply([{ table: 'dialers', key: 'proxy/mad-1', row: { ...row, keys: [{ epoch: 2, key: newer }, { epoch: 1, key: KEY }] } }])
  expect(admission.admitConnection(opening(), PROXY)).toBeNull()
  expect(admission.admitConnection(opening({ epoch: 2 }, newer), PROXY)).toBeNull()
  table.apply([{ table: 'dialers', key: 'proxy/mad-1', row: { ...row, keys: [{ epoch: 2, key: newer }] } }])
  expect(admission.admitConnection(opening(), PROXY)?.reason).toBe('bad-signature')
})

test('a closed session lasts a minute', () => {
  const { admission, sessions, session, opening, later } = scene()
  sessions.close(session, 0)
  later(59_000)
  expect(admission.admitConnection(opening(), PROXY)).toBeNull()
  later(2000)
  expect(admission.admitConnection(opening(), PROXY)?.reason).toBe('unknown-session')
})

test('full: told apart from refused', () => {
  const { admission, opening } = scene(true)
  expect(admission.admitConnection(opening(), PROXY)).toEqual({ status: 5, reason: 'overloaded' })
})

test('replication: only from agents that hold a replica, only from the primary', () => {
  const { admission, sessions, opening } = scene()
  const ask = (dialer: string, service: string): string | undefined => {
    const session = sessions.open(dialer, 0)
    const destination = { ip: parseIpv6('::'), port: 0 }
    const wanted = opening({ purpose: 'replication', dialer, service, session, generation: 0, destination })
    return admission.admitConnection(wanted, { kind: 'certificate', identity: `nearcast://${dialer}`, serial: '0A' })?.reason
  }
  expect(ask('agent/gru', 'db')).toBeUndefined()
  expect(ask('agent/ams', 'db')).toBe('no-replica')
  expect(ask('proxy/mad-1', 'db')).toBe('no-replica')
  expect(ask('agent/gru', 'copy')).toBe('no-primary')
  expect(ask('agent/gru', 'elsewhere')).toBe('unknown-service')
})

test('an agent may copy what it holds, and never speak for clients', () => {
  const { admission, sessions, opening } = scene()
  const session = sessions.open('agent/gru', 0)
  const peer: Peer = { kind: 'certificate', identity: 'nearcast://agent/gru', serial: '0A' }
  expect(admission.admitConnection(opening({ dialer: 'agent/gru', session, purpose: 'replication', generation: 0 }), peer)).toBeNull()
  expect(admission.admitConnection(opening({ dialer: 'agent/gru', session }), peer)?.reason).toBe('no-proxy')
})
