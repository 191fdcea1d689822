/** The codec against its vectors, against itself, and at its limits. */
import { expect, test } from 'vitest'
import * as constants from '../../lib/proxy-protocol/constants.ts'
import { crc32c } from '../../lib/proxy-protocol/crc32c.ts'
import { decode } from '../../lib/proxy-protocol/decode.ts'
import { encodeV1, encodeV2 } from '../../lib/proxy-protocol/encode.ts'
import { findTlv, unixPath } from '../../lib/proxy-protocol/header.ts'
import { HeaderReader } from '../../lib/proxy-protocol/header-reader.ts'
import type { ReadHeader } from '../../lib/proxy-protocol/header-reader.ts'
import type { ProxyAddresses } from '../../lib/proxy-protocol/header.ts'
import { decodeSsl, encodeSsl } from '../../lib/proxy-protocol/tlv.ts'
import { Random, testSeed } from '../support/random.ts'
import { randomAddresses, randomV2 } from '../support/proxy-headers.ts'
import { proxyProtocolVectors, vectorBytes } from '../vectors/proxy-protocol.ts'

const flycast: ProxyAddresses = {
  family: 'ipv6',
  transport: 'stream',
  source: { ip: Buffer.from('fdaa000047fb00000001000000000019', 'hex'), port: 6379 },
  destination: { ip: Buffer.from('fdaa000047fb00000001000000000016', 'hex'), port: 6379 },
}

/** What a receiver sees that gets the bytes one by one: the first answer that isn't `incomplete`. */
function decodeByteByByte(bytes: Uint8Array): unknown {
  for (let length = 0; length <= bytes.length; length++) {
    const answer = decode(bytes.subarray(0, length))
    if (answer.state !== 'incomplete') return answer
  }
  return { state: 'incomplete' }
}

function encodeTlvsOf(lengths: readonly number[], checksum = false): Uint8Array {
  const tlvs = lengths.map((length) => ({ type: 0xe0, value: new Uint8Array(length) }))
  return encodeV2({ command: 'local', addresses: { family: 'unspecified' }, tlvs, crc32c: checksum })
}

test.each(proxyProtocolVectors.map((vector) => [vector.name, vector] as const))('%s', (_name, vector) => {
  const bytes = vectorBytes(vector)
  const answer = decode(bytes)
  expect(answer.state).toBe(vector.state ?? 'done')
  if (answer.state === 'invalid' && vector.reason) expect(answer.reason).toMatch(vector.reason)
  if (answer.state === 'done') {
    expect(answer.headerBytes).toBe(vector.headerBytes ?? bytes.length)
    if (vector.header !== undefined) expect(answer.header).toEqual(vector.header)
  }
  expect(decodeByteByByte(bytes)).toEqual(answer)
})

test('what is decoded is what was encoded, version 2', () => {
  const random = new Random(testSeed('proxy-protocol v2'))
  for (let round = 0; round < 2000; round++) {
    const header = randomV2(random)
    const bytes = encodeV2(header)
    const answer = decode(Buffer.concat([bytes, random.bytes(random.below(20))]))
    expect(answer).toMatchObject({ state: 'done', headerBytes: bytes.length })
    if (answer.state !== 'done' || answer.header.version !== 2) throw new Error('unreachable')
    const { command, addresses } = answer.header
    expect({ command, addresses }).toEqual({ command: header.command, addresses: header.addresses })
    const tlvs = answer.header.tlvs.filter((tlv) => tlv.type !== constants.TLV.crc32c)
    expect(tlvs.map(({ type, value }) => [type, Buffer.from(value).toString('hex')])).toEqual(
      (header.tlvs ?? []).map(({ type, value }) => [type, Buffer.from(value).toString('hex')]),
    )
    expect(findTlv(answer.header, constants.TLV.crc32c) !== undefined).toBe(header.crc32c)
  }
})

test('what is decoded is what was encoded, version 1', () => {
  const random = new Random(testSeed('proxy-protocol v1'))
  for (let round = 0; round < 2000; round++) {
    const addresses = { ...randomAddresses(random, ['ipv4', 'ipv6', 'unspecified']), transport: 'stream' as const }
    const bytes = encodeV1(addresses)
    expect(bytes.length).toBeLessThanOrEqual(104)
    const { transport, ...bare } = addresses
    const expected = addresses.family === 'unspecified' ? bare : { ...bare, transport }
    expect(decode(bytes)).toEqual({ state: 'done', header: { version: 1, addresses: expected }, headerBytes: bytes.length })
  }
})

test('version 1 text is that of the specification', () => {
  expect(Buffer.from(encodeV1(flycast)).toString()).toBe('PROXY TCP6 fdaa:0:47fb:0:1::19 fdaa:0:47fb:0:1::16 6379 6379\r\n')
  expect(Buffer.from(encodeV1({ family: 'unspecified' })).toString()).toBe('PROXY UNKNOWN\r\n')
})

test('one version can be required', () => {
  const v1 = encodeV1(flycast)
  const v2 = encodeV2({ command: 'proxy', addresses: flycast })
  expect(decode(v1, { version: 'v2' }).state).toBe('invalid')
  expect(decode(v2, { version: 'v1' }).state).toBe('invalid')
  expect(decode(v1, { version: 'v1' }).state).toBe('done')
  expect(decode(v2, { version: 'v2' }).state).toBe('done')
})

test('the limit is on the whole header and can be set', () => {
  const tlvs = [{ type: 0xea, value: new Uint8Array(2048 - 16 - 36 - 3) }]
  const longest = encodeV2({ command: 'proxy', addresses: flycast, tlvs })
  expect(longest.length).toBe(2048)
  expect(decode(longest).state).toBe('done')
  expect(decode(longest, { maxBytes: 2047 }).state).toBe('invalid')
  expect(decode(longest.subarray(0, 16), { maxBytes: 2047 }).state).toBe('invalid')
  const most = encodeV2({ command: 'local', addresses: { family: 'unspecified' }, tlvs: [{ type: 0xea, value: new Uint8Array(65532) }] })
  expect(decode(most, { maxBytes: 65551 })).toMatchObject({ state: 'done', headerBytes: 65551 })
})

test('the encoder refuses more than 65535 bytes and never wraps (CVE-2026-47692)', () => {
  expect(encodeTlvsOf([65532]).length).toBe(65551)
  for (const lengths of [[65533], [65535], [65536], [32000, 33600], [65532, 0]]) {
    expect(() => encodeTlvsOf(lengths)).toThrow(expect.objectContaining({ code: 'proxy-header.too-long' }))
  }
  expect(() => encodeTlvsOf([65532], true)).toThrow(expect.objectContaining({ code: 'proxy-header.too-long' }))
})

test.each<[string, () => unknown]>([
  ['a mapped address in TCP6', () => encodeV1({ ...flycast, source: { ip: Buffer.from('00000000000000000000ffff01020304', 'hex'), port: 1 } })],
  ['datagrams in version 1', () => encodeV1({ ...flycast, transport: 'datagram' })],
  ['Unix sockets in version 1', () => encodeV1({ family: 'unix', transport: 'stream', source: new Uint8Array(1), destination: new Uint8Array(1) })],
  ['port 65536', () => encodeV1({ ...flycast, source: { ...flycast.source, port: 65536 } })],
  ['port 1.5', () => encodeV2({ command: 'proxy', addresses: { ...flycast, source: { ...flycast.source, port: 1.5 } } })],
  ['4 bytes as IPv6', () => encodeV2({ command: 'proxy', addresses: { ...flycast, source: { ip: new Uint8Array(4), port: 1 } } })],
  ['a path of 109 bytes', () => encodeV2({ command: 'proxy', addresses: { family: 'unix', transport: 'stream', source: new Uint8Array(109), destination: new Uint8Array(1) } })],
  ['LOCAL with addresses', () => encodeV2({ command: 'local', addresses: flycast })],
  ['a checksum of the caller', () => encodeV2({ command: 'proxy', addresses: flycast, tlvs: [{ type: 3, value: new Uint8Array(4) }] })],
  ['an SSL TLV of 4 bytes', () => encodeV2({ command: 'proxy', addresses: flycast, tlvs: [{ type: 0x20, value: new Uint8Array(4) }] })],
  ['client bits of 9 bits', () => encodeSsl({ client: 256, verify: 0, tlvs: [] })],
  ['a verification below zero', () => encodeSsl({ client: 1, verify: -1, tlvs: [] })],
  ['a sub-TLV of type 256', () => encodeSsl({ client: 1, verify: 0, tlvs: [{ type: 256, value: new Uint8Array(0) }] })],
  ['TLV type 256', () => encodeV2({ command: 'proxy', addresses: flycast, tlvs: [{ type: 256, value: new Uint8Array(0) }] })],
  ['a unique id of 129 bytes', () => encodeV2({ command: 'proxy', addresses: flycast, tlvs: [{ type: 5, value: new Uint8Array(129) }] })],
  ['a checksum beside the checksum', () => encodeV2({ command: 'proxy', addresses: flycast, tlvs: [{ type: 3, value: new Uint8Array(4) }], crc32c: true })],
])('the encoder refuses %s', (_name, encode) => {
  expect(encode).toThrow(expect.objectContaining({ code: 'proxy-header.invalid' }))
})

test('CRC-32C, the vectors of RFC 3720 B.4', () => {
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa)
  expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43)
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, index) => index))).toBe(0x46dd794e)
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283)
})

test('a checksum covers every byte of the header', () => {
  const sound = encodeV2({ command: 'proxy', addresses: flycast, tlvs: [{ type: 0xea, value: Buffer.from('abc') }], crc32c: true })
  expect(decode(sound).state).toBe('done')
  for (let index = 16; index < sound.length; index++) {
    const flipped = Uint8Array.from(sound, (byte, at) => (at === index ? byte ^ 1 : byte))
    // Flipping a TLV's head may tear the TLVs, or turn the checksum into something else: never into a sound one.
    const answer = decode(flipped)
    if (answer.state === 'done') expect(findTlv(answer.header, constants.TLV.crc32c)).toBeUndefined()
  }
})

test('an SSL TLV round trip', () => {
  const ssl = { client: 5, verify: 0xffff_fffe, tlvs: [{ type: 0x21, value: Buffer.from('TLSv1.3') }, { type: 0x23, value: new Uint8Array(0) }] }
  const decoded = decodeSsl(encodeSsl(ssl))
  expect(decoded).toMatchObject({ client: 5, verify: 0xffff_fffe })
  expect(decoded?.tlvs.map(({ type, value }) => [type, Buffer.from(value).toString()])).toEqual([[0x21, 'TLSv1.3'], [0x23, '']])
})

function encodeSslOf(...lengths: readonly number[]): Uint8Array {
  return encodeSsl({ client: 1, verify: 0, tlvs: lengths.map((length) => ({ type: 0x22, value: new Uint8Array(length) })) })
}

/** Out of a field of 108 bytes. */
function path(text: string): string {
  return Buffer.from(unixPath(Buffer.concat([Buffer.from(text, 'latin1')], 108))).toString('latin1')
}

test('an SSL TLV never wraps either', () => {
  expect(encodeSslOf(65_527).length).toBe(65_535)
  for (const lengths of [[65_528], [65_536], [40_000, 40_000]]) {
    expect(() => encodeSslOf(...lengths)).toThrow(expect.objectContaining({ code: 'proxy-header.too-long' }))
  }
})

test("a Unix socket's path without its padding", () => {
  expect(path('/run/redis.sock')).toBe('/run/redis.sock')
  expect(path('/run/a\0b')).toBe('/run/a')
  expect(path('')).toBe('')
  expect(path('\0abstract\0name')).toBe('\0abstract\0name')
  expect(unixPath(Buffer.alloc(108, 0x61)).length).toBe(108)
})

/** Pushes `bytes` cut at `cuts`, each chunk in a buffer that is overwritten right after. */
function pushAll(reader: HeaderReader, bytes: Uint8Array, cuts: readonly number[]): { last: ReadHeader; payload: string } {
  const payload: Buffer[] = []
  let last: ReadHeader = { state: 'incomplete' }
  for (const [index, from] of [0, ...cuts].entries()) {
    const chunk = Uint8Array.from(bytes.subarray(from, cuts[index] ?? bytes.length))
    last = reader.push(chunk)
    if (last.state === 'done') payload.push(Buffer.from(last.payload))
    chunk.fill(0xee)
  }
  return { last, payload: Buffer.concat(payload).toString('hex') }
}

test('a reader answers as the decoder does, wherever the bytes are cut', () => {
  for (const vector of proxyProtocolVectors) {
    const bytes = Uint8Array.from([...vectorBytes(vector), ...(vector.state === undefined ? encodeV1({ family: 'unspecified' }) : [])])
    const answer = decode(bytes)
    const everywhere = Array.from({ length: bytes.length }, (_, index) => index + 1)
    for (const cuts of [[], everywhere, ...everywhere.map((cut) => [cut])]) {
      const { last, payload } = pushAll(new HeaderReader(), bytes, cuts)
      expect(last.state).toBe(answer.state)
      if (last.state === 'invalid' && answer.state === 'invalid') expect(last.reason).toBe(answer.reason)
      if (last.state !== 'done' || answer.state !== 'done') continue
      expect(last.header).toEqual(answer.header)
      expect(payload).toBe(Buffer.from(bytes.subarray(answer.headerBytes)).toString('hex'))
    }
  }
})

test('a reader holds no more than its limit, and takes the longest header byte by byte', () => {
  const most = encodeV2({ command: 'local', addresses: { family: 'unspecified' }, tlvs: [{ type: 0xea, value: new Uint8Array(65_532) }] })
  const single = Array.from({ length: most.length - 1 }, (_, index) => index + 1)
  expect(pushAll(new HeaderReader({ maxBytes: 65_551 }), most, single).last.state).toBe('done')
  expect(pushAll(new HeaderReader(), most, single).last.state).toBe('invalid')
  // A limit that is no number lets nothing in.
  expect(decode(most, { maxBytes: Number.NaN }).state).toBe('invalid')
})

test('addresses and the payload survive the reuse of the read buffer', () => {
  const bytes = Buffer.from(encodeV2({ command: 'proxy', addresses: flycast }))
  const answer = decode(bytes)
  bytes.fill(0)
  expect(answer).toMatchObject({ header: { addresses: { source: { ip: Uint8Array.from(flycast.source.ip) } } } })
})

test('receivers wait at least 3 s for a header (CVE-2021-23409, go-proxyproto #84)', () => {
  expect(constants.MIN_HEADER_TIMEOUT_MS).toBe(3000)
  expect(constants.DEFAULT_HEADER_TIMEOUT_MS).toBeGreaterThanOrEqual(constants.MIN_HEADER_TIMEOUT_MS)
})
