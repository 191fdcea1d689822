/** The signed header: round trip, forgery, truncation, and what no header may say. */
import * as fc from 'fast-check'
import { createHmac } from 'node:crypto'
import { expect, test } from 'vitest'
import { ipv6FromBytes, parseIpv6 } from '../../lib/address.ts'
import { signingKey, verifyingKeys } from '../../lib/hop/keys.ts'
import type { ConnectionOpening, HopConnection } from '../../lib/hop/header.ts'
import { decodeOpening, encodeConnection, encodeProbe, encodeSession, verifyConnection } from '../../lib/hop/header.ts'
import { HOP_TLV, MAX_HOP_HEADER_BYTES } from '../../lib/hop/protocol.ts'
import { decode } from '../../lib/proxy-protocol/decode.ts'
import { encodeV2 } from '../../lib/proxy-protocol/encode.ts'
import { encodeSsl } from '../../lib/proxy-protocol/tlv.ts'
import { testSeed } from '../support/random.ts'

const key = new Uint8Array(32).fill(0x42)
const keys = new Map([[7, key]])
const sample: HopConnection = {
  purpose: 'client',
  dialer: 'proxy/mad-1',
  agent: 'gru-1',
  service: 'svc_0001',
  generation: 3,
  epoch: 7,
  session: Uint8Array.from({ length: 16 }, (_, index) => index),
  worker: 2,
  counter: 99n,
  source: { ip: parseIpv6('fdaa:0:1:2:3:4:5:6'), port: 40_000 },
  destination: { ip: parseIpv6('fdaa:0:1:0:1::2'), port: 6379 },
}

function open(bytes: Uint8Array): ConnectionOpening {
  const answer = decodeOpening(bytes)
  if (answer.state !== 'done' || answer.opening.kind !== 'connection') throw new Error(`no connection: ${JSON.stringify(answer.state)}`)
  return answer.opening
}

test('its bytes, one by one', () => {
  const header = Buffer.from(encodeConnection(sample, key))
  const hex = [
    '0d0a0d0a000d0a515549540a 21 21 0087',
    'fdaa0000000100020003000400050006 fdaa0000000100000001000000000002 9c40 18eb',
    'e7 0060 01 03 00 00000007 00000003 000102030405060708090a0b0c0d0e0f 0002 0000000000000063',
    `0b ${Buffer.from('proxy/mad-1').toString('hex')} 05 ${Buffer.from('gru-1').toString('hex')} 08 ${Buffer.from('svc_0001').toString('hex')}`,
  ].join('').replaceAll(' ', '')
  const unsigned = Buffer.concat([Buffer.from(hex, 'hex'), Buffer.alloc(32)])
  const mac = createHmac('sha256', key).update(unsigned).digest()
  expect(header.toString('hex')).toBe(hex + mac.toString('hex'))
})

test('session and probe are LOCAL', () => {
  for (const [kind, bytes] of [['session', encodeSession('agent/ams-1', 'mad-1')], ['probe', encodeProbe('agent/ams-1', 'mad-1')]] as const) {
    expect(decode(bytes)).toMatchObject({ state: 'done', header: { command: 'local', addresses: { family: 'unspecified' } } })
    expect(decodeOpening(bytes)).toEqual({ state: 'done', opening: { kind, dialer: 'agent/ams-1', agent: 'mad-1' }, headerBytes: bytes.length })
  }
})

const id = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,39}$/)
const socketAddress = fc.record({ ip: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => ipv6FromBytes(bytes)), port: fc.nat(65535) })
const connections: fc.Arbitrary<HopConnection> = fc.record({
  purpose: fc.constantFrom('client', 'replication'),
  dialer: fc.tuple(fc.constantFrom('proxy', 'agent'), id).map((parts) => parts.join('/')),
  agent: id,
  service: fc.stringMatching(/^[!-~]{1,64}$/),
  generation: fc.nat(0xffff_ffff),
  epoch: fc.nat(0xffff_ffff),
  session: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  worker: fc.nat(0xffff),
  counter: fc.bigInt(0n, 0xffff_ffff_ffff_ffffn),
  source: socketAddress,
  destination: socketAddress,
})

test('what is opened is what was encoded, and it verifies', () => {
  const check = fc.property(connections, fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.uint8Array({ maxLength: 9 }), (connection, own, payload) => {
    const header = encodeConnection(connection, own)
    expect(header.length).toBeLessThanOrEqual(MAX_HOP_HEADER_BYTES)
    const answer = decodeOpening(Buffer.concat([header, payload]))
    expect(answer).toMatchObject({ state: 'done', headerBytes: header.length, opening: { kind: 'connection' } })
    const opening = open(header)
    expect(opening.connection).toEqual(connection)
    expect(verifyConnection(opening, new Map([[connection.epoch, own]]))).toBe(true)
  })
  fc.assert(check, { seed: testSeed('hop header'), numRuns: 300 })
})

test('no single flipped bit verifies, wherever it is', () => {
  const header = encodeConnection(sample, key)
  for (let bit = 0; bit < header.length * 8; bit++) {
    const forged = Uint8Array.from(header, (byte, index) => (index === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte))
    const answer = decodeOpening(forged)
    if (answer.state === 'done' && answer.opening.kind === 'connection') {
      const epochs = new Map([[answer.opening.connection.epoch, key]])
      expect(verifyConnection(answer.opening, epochs), `bit ${bit}`).toBe(false)
    }
  }
})

test('another key, another epoch, no key', () => {
  const opening = open(encodeConnection(sample, key))
  expect(verifyConnection(opening, keys)).toBe(true)
  expect(verifyConnection(opening, new Map([[7, new Uint8Array(32)]]))).toBe(false)
  expect(verifyConnection(opening, new Map([[8, key]]))).toBe(false)
  expect(verifyConnection(opening, new Map())).toBe(false)
})

test('the mac must be the last thing: TLVs before and after ours are signed as well', () => {
  const header = encodeConnection(sample, key)
  const decoded = decode(header, { version: 'v2' })
  if (decoded.state !== 'done') throw new Error('unreachable')
  const added = encodeV2({
    command: 'proxy',
    addresses: decoded.header.addresses,
    tlvs: [...decoded.header.tlvs, { type: 0xe0, value: Buffer.from('x') }],
  })
  expect(open(added).connection).toEqual({ ...sample, tlvs: [{ type: 0xe0, value: Uint8Array.from(Buffer.from('x')) }] })
  expect(verifyConnection(open(added), keys)).toBe(false)
})

test('the answer does not depend on how the bytes arrive, and outlives their buffer', () => {
  const header = encodeConnection(sample, key)
  for (let length = 0; length < header.length; length++) expect(decodeOpening(header.subarray(0, length))).toEqual({ state: 'incomplete' })
  const buffer = Buffer.concat([header, Buffer.from('PING\r\n')])
  const opening = open(buffer)
  buffer.fill(0)
  expect(opening.connection).toEqual(sample)
  expect(verifyConnection(opening, keys)).toBe(true)
})

const ours = (hex: string) => ({ type: HOP_TLV, value: Buffer.from(hex.replaceAll(' ', ''), 'hex') })
const local = (...tlvs: { type: number; value: Uint8Array }[]) => encodeV2({ command: 'local', addresses: { family: 'unspecified' }, tlvs })
const names = '03 612f62 01 61'
const goodNames = `07 ${Buffer.from('proxy/a').toString('hex')} 01 62`
const flycast = { family: 'ipv6', transport: 'stream', source: sample.source, destination: sample.destination } as const

test.each<[string, RegExp, Uint8Array]>([
  ['no TLV of ours (a foreign load balancer)', /no hop TLV/, local()],
  ['two of them', /two hop TLVs/, local(ours(`01 01 ${goodNames}`), ours(`01 01 ${goodNames}`))],
  ['an empty one', /version/, local(ours(''))],
  ['a later version', /version/, local(ours(`02 01 ${goodNames}`))],
  ['an unknown kind', /kind/, local(ours(`01 09 ${goodNames}`))],
  ['a name that is cut', /malformed/, local(ours('01 01 07 7072'))],
  ['bytes behind the names', /malformed/, local(ours(`01 01 ${goodNames} 00`))],
  ['a dialer that is no identity', /identity/, local(ours(`01 01 ${names}`))],
  ['upper case', /identity/, local(ours(`01 01 07 ${Buffer.from('proxy/A').toString('hex')} 01 62`))],
  ['a line feed in a name (log forging)', /identity/, local(ours(`01 01 08 ${Buffer.from('proxy/a\n').toString('hex')} 01 62`))],
  ['a session that is PROXY', /LOCAL/, encodeV2({ command: 'proxy', addresses: flycast, tlvs: [ours(`01 01 ${goodNames}`)] })],
  ['a connection that is LOCAL', /PROXY TCP6/, local(ours(`01 03 00 ${'00'.repeat(80)}`))],
  ['a connection that is cut', /malformed/, encodeV2({ command: 'proxy', addresses: flycast, tlvs: [ours('01 03 00 00000007')] })],
  ['a connection of datagrams', /TCP6/, encodeV2({ command: 'proxy', addresses: { ...flycast, transport: 'datagram' }, tlvs: [ours(`01 03 00`)] })],
  ['version 1', /signature/, Buffer.from('PROXY UNKNOWN\r\n')],
  ['a Redis command', /signature/, Buffer.from('*1\r\n$4\r\nPING\r\n')],
])('refuses %s', (_name, reason, bytes) => {
  const answer = decodeOpening(bytes)
  expect(answer.state).toBe('invalid')
  if (answer.state === 'invalid') expect(answer.reason).toMatch(reason)
})

test.each<[string, Partial<HopConnection>]>([
  ['a dialer without a kind', { dialer: 'mad-1' }],
  ['an id of 41 characters', { agent: 'a'.repeat(41) }],
  ['a service with a space', { service: 'a b' }],
  ['an empty service', { service: '' }],
  ['a service of 65 characters', { service: 'x'.repeat(65) }],
  ['a negative generation', { generation: -1 }],
  ['a fraction', { epoch: 1.5 }],
  ['worker 65536', { worker: 65_536 }],
  ['counter 2^64', { counter: 1n << 64n }],
  ['a session of 15 bytes', { session: new Uint8Array(15) }],
])('does not encode %s', (_name, wrong) => {
  expect(() => encodeConnection({ ...sample, ...wrong }, key)).toThrow(expect.objectContaining({ code: 'hop.protocol' }))
})

test('keys of the feed: the newest signs, all verify', () => {
  const rows = [
    { epoch: 8, key: '11'.repeat(32) },
    { epoch: 7, key: '42'.repeat(32) },
  ]
  expect(signingKey(rows)).toEqual({ epoch: 8, key: Buffer.alloc(32, 0x11) })
  expect(signingKey([])).toBeNull()
  expect(verifyConnection(open(encodeConnection(sample, key)), verifyingKeys(rows))).toBe(true)
})

test('what else a header says is signed, passed on, and stands before ours', () => {
  const tlvs = [
    { type: 0x02, value: Buffer.from('cache.flycast') },
    { type: 0x20, value: encodeSsl({ client: 1, verify: 1, tlvs: [{ type: 0x21, value: Buffer.from('TLSv1.3') }] }) },
  ]
  const bytes = encodeConnection({ ...sample, tlvs }, key)
  const opening = open(bytes)
  expect(opening.connection.tlvs?.map(({ type, value }) => [type, Buffer.from(value).toString('hex')])).toEqual(
    tlvs.map(({ type, value }) => [type, Buffer.from(value).toString('hex')]),
  )
  expect(verifyConnection(opening, keys)).toBe(true)
  const forged = Buffer.from(bytes)
  forged[forged.indexOf('cache.flycast')] = 'd'.charCodeAt(0)
  expect(verifyConnection(open(forged), keys)).toBe(false)
})
