/**
 * The agent's door, with a real plane and a real redis-server behind it: what comes in, and above all what doesn't.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { encodeProbe, encodeSession } from '../../lib/hop/header.ts'
import { agentFrames, encodeFrame } from '../../lib/hop/frames.ts'
import { STATUS } from '../../lib/hop/protocol.ts'
import { encodeV1, encodeV2 } from '../../lib/proxy-protocol/encode.ts'
import { parseIpv6 } from '../../lib/address.ts'
import { addressChange, databaseRow, DataNode, dialerChange } from '../support/data-node.ts'
import { HopDialer } from '../support/hop-dialer.ts'
import { until } from '../support/until.ts'

const A = 'fdaa:0:1:0:1::2'
const B = 'fdaa:0:2:0:1::2'
let node: DataNode
let proxy: HopDialer

beforeAll(async () => {
  node = await new DataNode({ id: 'mad', hop: { headerTimeoutMs: 300 } }).listen()
  const failed = await node.feed(
    dialerChange('proxy/mad-1'),
    databaseRow('db-a', [{ node: 'mad', role: 'primary' }], 'secret-a'),
    databaseRow('db-b', [{ node: 'mad', role: 'primary' }], 'secret-b'),
    addressChange(A, 'db-a'),
    addressChange(B, 'db-b', 7),
  )
  expect(failed).toEqual([])
  proxy = await new HopDialer({ path: node.socket, agent: 'mad' }).open()
})

afterAll(async () => {
  proxy.close()
  await node.close()
})

const refused = async (reason: string): Promise<number> => (await node.metric(`nearcast_agent_refused_total{reason="${reason}"}`)) ?? 0

/** Opens, expects the status (null: closed without a byte), and that the refusal was counted under `reason`. */
async function expectRefusal(reason: string, status: number | null, send: () => ReturnType<HopDialer['wire']>): Promise<void> {
  const before = await refused(reason)
  const wire = send()
  expect(await wire.status()).toBe(status)
  await until('the end', () => wire.closed)
  expect(wire.received.length).toBe(status === null ? 0 : 1)
  // The agent counts once its own end is closed too.
  await expect.poll(() => refused(reason)).toBe(before + 1)
}

test('a signed header leads to its own database, and two databases never see each other', async () => {
  expect(await proxy.command('db-a', A, 'secret-a', 'SET k of-a')).toBe('+OK\r\n')
  const other = proxy.connect('db-b', B, { generation: 7 })
  expect(await other.status()).toBe(STATUS.ok)
  other.send('AUTH secret-b\r\nGET k\r\nDBSIZE\r\n')
  await until('the replies', () => other.text.endsWith(':0\r\n'))
  expect(other.received.subarray(1).toString()).toBe('+OK\r\n$-1\r\n:0\r\n')
  expect(await proxy.command('db-a', A, 'secret-a', 'GET k')).toBe('$4\r\nof-a\r\n')
})

test('the password of one database is none at the other', async () => {
  const wire = proxy.connect('db-b', B, { generation: 7 })
  wire.send('AUTH secret-a\r\n')
  expect(await wire.reply()).toMatch(/^-WRONGPASS/)
})

test('a header in single bytes is one header; what follows it in the same write reaches the database', async () => {
  const header = proxy.header('db-a', A)
  const wire = proxy.wire()
  for (const byte of header) wire.send(Uint8Array.of(byte))
  expect(await wire.status()).toBe(STATUS.ok)
  const early = proxy.wire()
  early.send(Buffer.concat([proxy.header('db-a', A), Buffer.from('PING\r\n')]))
  expect(await early.reply()).toMatch(/^-NOAUTH/)
})

test('a header behind the header is payload', async () => {
  const wire = proxy.connect('db-a', A)
  await wire.status()
  wire.send('PROXY TCP6 fdaa:0:2::1 fdaa:0:2:0:1::2 1 6379\r\n')
  expect(await wire.reply()).toMatch(/^-(NOAUTH|ERR)/)
})

test('forged: another key, a changed byte, an unknown epoch', async () => {
  await expectRefusal('bad-signature', STATUS.refused, () => proxy.connect('db-a', A, {}, '00'.repeat(32)))
  await expectRefusal('bad-signature', STATUS.refused, () => proxy.connect('db-a', A, { epoch: 2 }))
  await expectRefusal('bad-signature', STATUS.refused, () => {
    const header = proxy.header('db-a', A)
    // The last byte of the source address: a client that claims another network's address.
    header[31] = (header[31] ?? 0) ^ 1
    return proxy.wire().send(header)
  })
})

test('replayed, and an unknown session', async () => {
  const header = proxy.header('db-a', A)
  expect(await proxy.wire().send(header).status()).toBe(STATUS.ok)
  await expectRefusal('replayed', STATUS.refused, () => proxy.wire().send(header))
  await expectRefusal('unknown-session', STATUS.unknownSession, () => proxy.connect('db-a', A, { session: new Uint8Array(16) }))
})

test('wrong agent, unknown dialer, old generation, foreign address, unknown service', async () => {
  await expectRefusal('other-agent', STATUS.refused, () => proxy.connect('db-a', A, { agent: 'gru' }))
  await expectRefusal('unknown-dialer', STATUS.refused, () => proxy.connect('db-a', A, { dialer: 'proxy/evil' }))
  await expectRefusal('other-generation', STATUS.refused, () => proxy.connect('db-b', B, { generation: 6 }))
  await expectRefusal('other-service', STATUS.refused, () => proxy.connect('db-b', A))
  await expectRefusal('unknown-address', STATUS.refused, () => proxy.connect('db-a', 'fdaa:0:1:0:1::9'))
  await expectRefusal('unknown-service', STATUS.unknownService, () => proxy.connect('db-c', A))
  await expectRefusal('no-replica', STATUS.refused, () => proxy.connect('db-a', '::', { purpose: 'replication', generation: 0 }))
})

test('unsigned: PROXY v1, PROXY v2, plain Redis, TLS, too long', async () => {
  const source = { ip: parseIpv6('fdaa:0:1:2::5'), port: 40_000 }
  const destination = { ip: parseIpv6(A), port: 6379 }
  const addresses = { family: 'ipv6', transport: 'stream', source, destination } as const
  await expectRefusal('malformed', null, () => proxy.wire().send(encodeV1(addresses)))
  await expectRefusal('malformed', null, () => proxy.wire().send(encodeV2({ command: 'proxy', addresses, tlvs: [] })))
  await expectRefusal('malformed', null, () => proxy.wire().send(encodeV2({ command: 'local', addresses: { family: 'unspecified' }, tlvs: [] })))
  await expectRefusal('malformed', null, () => proxy.wire().send('*1\r\n$4\r\nPING\r\n'))
  await expectRefusal('malformed', null, () => proxy.wire().send(Buffer.from('1603010200010001fc0303', 'hex')))
  await expectRefusal('malformed', null, () => proxy.wire().send(encodeV2({ command: 'proxy', addresses, tlvs: [{ type: 0x04, value: new Uint8Array(4000) }] })))
})

test('slow and half headers end', async () => {
  const header = proxy.header('db-a', A)
  await expectRefusal('slow-header', null, () => proxy.wire().send(header.subarray(0, 40)))
  await expectRefusal('half-header', null, () => {
    const wire = proxy.wire().send(header.subarray(0, 40))
    wire.socket.end()
    return wire
  })
})

test('a session hears of states and answers pings; malformed frames end it', async () => {
  const own = await new HopDialer({ path: node.socket, agent: 'mad' }).open()
  expect(own.frames.map(({ type }) => type)).toEqual(['challenge', 'availability', 'load'])
  own.sessionWire?.send(encodeFrame({ type: 'ping', n: 5 }))
  await until('the pong', () => own.frames.some((frame) => frame.type === 'pong' && frame.n === 5))
  const carried = own.connect('db-a', A)
  expect(await carried.status()).toBe(STATUS.ok)
  await until('the load', () => own.frames.some((frame) => frame.type === 'load' && frame.connections > 0))
  own.sessionWire?.send(Uint8Array.of(0xff, 0xff, 0xff, 0xff))
  await until('the end', () => own.sessionWire?.closed === true)
  // Headers under way are still good after that.
  expect(await own.connect('db-a', A).status()).toBe(STATUS.ok)
  own.close()
})

test('a probe is answered; sessions and probes of strangers are not', async () => {
  const probe = proxy.wire().send(encodeProbe('proxy/mad-1', 'mad'))
  await until('the end', () => probe.closed)
  expect(agentFrames().push(probe.received).frames).toEqual([{ type: 'pong', n: 0 }])
  await expectRefusal('unknown-dialer', null, () => proxy.wire().send(encodeProbe('proxy/evil', 'mad')))
  await expectRefusal('other-agent', null, () => proxy.wire().send(encodeSession('proxy/mad-1', 'gru')))
})

test('a removed address cuts its live connections, a revoked dialer all of its own', async () => {
  await node.feed(addressChange('fdaa:0:1:0:1::3', 'db-a'))
  const wire = proxy.connect('db-a', 'fdaa:0:1:0:1::3')
  const stays = proxy.connect('db-a', A)
  expect([await wire.status(), await stays.status()]).toEqual([0, 0])
  await node.feed({ table: 'addresses', key: 'fdaa:0:1:0:1::3', row: null })
  await until('the cut', () => wire.closed)
  expect(stays.closed).toBe(false)
  await node.feed(dialerChange('proxy/gone'))
  const gone = await new HopDialer({ path: node.socket, agent: 'mad', dialer: 'proxy/gone' }).open()
  const carried = gone.connect('db-a', A)
  expect(await carried.status()).toBe(STATUS.ok)
  await node.feed({ table: 'dialers', key: 'proxy/gone', row: null })
  await until('both are cut', () => carried.closed && gone.sessionWire?.closed === true)
  expect(stays.closed).toBe(false)
})

test('no line of the log holds a secret', () => {
  const text = JSON.stringify(node.log)
  expect(text).toContain('connection refused')
  for (const secret of ['secret-a', 'secret-b', 'replication of', '5a5a5a5a']) expect(text).not.toContain(secret)
})
