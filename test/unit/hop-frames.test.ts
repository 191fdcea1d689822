/** Frames of a session: cut anywhere, skipped when unknown, refused when malformed or long. */
import { expect, test } from 'vitest'
import { agentFrames, dialerFrames, encodeAvailability, encodeFrame } from '../../lib/hop/frames.ts'
import type { FromAgent } from '../../lib/hop/protocol.ts'
import { MAX_FRAME_BYTES, STATUS, statusName } from '../../lib/hop/protocol.ts'

const frames: readonly FromAgent[] = [
  { type: 'challenge', session: '0123456789abcdef'.repeat(2) },
  { type: 'availability', unavailable: { db1: 'starting', 'db-ü': 'crashed — 3 times' } },
  { type: 'load', connections: 12 },
  { type: 'pong', n: 3 },
]

function framed(text: string): Buffer {
  const body = Buffer.from(text)
  const head = Buffer.alloc(4)
  head.writeUInt32BE(body.length)
  return Buffer.concat([head, body])
}

test('a stream gives the same frames however it is cut', () => {
  const stream = Buffer.concat(frames.map((frame) => encodeFrame(frame)))
  for (let step = 1; step <= stream.length; step++) {
    const reader = agentFrames()
    const got: FromAgent[] = []
    for (let offset = 0; offset < stream.length; offset += step) {
      const batch = reader.push(stream.subarray(offset, offset + step))
      expect(batch.invalid).toBeNull()
      got.push(...batch.frames)
    }
    expect(got).toEqual(frames)
  }
})

test('frames of a newer version are skipped, and so are new members of known ones', () => {
  const batch = agentFrames().push(Buffer.concat([framed('{"type":"later","x":[1,2]}'), framed('{"type":"pong","n":1,"later":true}')]))
  expect(batch).toEqual({ frames: [{ type: 'pong', n: 1 }], invalid: null })
})

test.each([
  ['a length of 0', Buffer.alloc(4), /1 to 65536 bytes/],
  ['a length above the limit, before its bytes', Buffer.from('00010001', 'hex'), /not 65537/],
  ['the opening of a TLS record', Buffer.from('16030100', 'hex'), /bytes/],
  ['no JSON', framed('{'), /not JSON/],
  ['no object', framed('7'), /no type/],
  ['null', framed('null'), /no type/],
  ['no type', framed('{"n":1}'), /no type/],
  ['a known type, malformed', framed('{"type":"pong","n":-1}'), /pong is malformed/],
  ['a short session', framed('{"type":"challenge","session":"00"}'), /challenge is malformed/],
])('%s breaks the stream for good', (_name, bytes, reason) => {
  const reader = agentFrames()
  const good = encodeFrame({ type: 'pong', n: 1 })
  const batch = reader.push(Buffer.concat([good, bytes, good]))
  expect(batch.frames).toEqual([{ type: 'pong', n: 1 }])
  expect(batch.invalid).toMatch(reason)
  expect(reader.push(good)).toEqual({ frames: [], invalid: batch.invalid })
})

test('the longest frame passes, a longer one is not sent', () => {
  const longest = framed(JSON.stringify({ type: 'ping', n: 1, pad: 'x'.repeat(MAX_FRAME_BYTES - 30) }))
  expect(longest.length).toBe(MAX_FRAME_BYTES + 4)
  expect(dialerFrames().push(longest)).toEqual({ frames: [{ type: 'ping', n: 1 }], invalid: null })
  const unavailable = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`db${index}`, 'x'.repeat(100)]))
  expect(() => encodeFrame({ type: 'availability', unavailable })).toThrow(expect.objectContaining({ code: 'hop.protocol' }))
})

test('availability of any size goes in parts that fit, even at its worst', () => {
  const worst = Object.fromEntries(Array.from({ length: 501 }, (_, index) => [`${index}${'\u0001'.repeat(60)}`, '\u0001'.repeat(128)]))
  for (const unavailable of [{}, { db1: 'down' }, worst]) {
    const { frames: parts, invalid } = agentFrames().push(encodeAvailability(unavailable))
    expect(invalid).toBeNull()
    const together = {}
    for (const [index, part] of parts.entries()) {
      if (part.type !== 'availability') throw new Error('unreachable')
      expect(part.more === true).toBe(index < parts.length - 1)
      Object.assign(together, part.unavailable)
    }
    expect(parts.length).toBeGreaterThan(0)
    expect(together).toEqual(unavailable)
  }
})

test('status bytes have names, others have none', () => {
  for (const [name, byte] of Object.entries(STATUS)) expect(statusName(byte)).toBe(name)
  expect(statusName(6)).toBeNull()
  expect(statusName(43)).toBeNull()
})
