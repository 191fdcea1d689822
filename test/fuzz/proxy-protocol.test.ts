/**
 * Hostile bytes for the decoders of PROXY headers and hop openings: sound headers, damaged in the ways that have broken
 * others (cut, flipped, lengths lied about, spliced), and noise behind a sound signature.
 *
 * NEARCAST_SEED repeats a run, NEARCAST_FUZZ_INPUTS makes it longer.
 */
import { expect, test } from 'vitest'
import { ipv6FromBytes } from '../../lib/address.ts'
import { decodeOpening, encodeConnection, encodeProbe, encodeSession } from '../../lib/hop/header.ts'
import { SIGNATURE } from '../../lib/proxy-protocol/constants.ts'
import type { DecodeOptions } from '../../lib/proxy-protocol/decode.ts'
import { decode } from '../../lib/proxy-protocol/decode.ts'
import { encodeV1, encodeV2 } from '../../lib/proxy-protocol/encode.ts'
import { randomAddresses, randomV2 } from '../support/proxy-headers.ts'
import { Random, testSeed } from '../support/random.ts'

const INPUTS = Number(process.env['NEARCAST_FUZZ_INPUTS'] ?? 200_000)
/** Every length up to this one, and then only the whole: long inputs differ from short ones in their TLVs alone. */
const SPLIT_BYTES = 300
const V1_OPENING = Buffer.from('PROXY TCP')

function soundHeader(random: Random): Uint8Array {
  switch (random.below(5)) {
    case 0: {
      const addresses = randomAddresses(random, ['ipv4', 'ipv6', 'unspecified'])
      return encodeV1(addresses.family === 'unspecified' ? addresses : { ...addresses, transport: 'stream' })
    }
    case 1:
      return random.below(2) === 0 ? encodeSession('proxy/mad-1', 'gru-1') : encodeProbe('agent/ams-1', 'mad-1')
    case 2: {
      const end = () => ({ ip: ipv6FromBytes(random.bytes(16)), port: random.below(65536) })
      const names = { dialer: 'proxy/mad-1', agent: 'gru-1', service: 'cache' } as const
      const numbers = { generation: random.below(100), epoch: 1, worker: random.below(4), counter: BigInt(random.below(1000)) }
      const connection = { purpose: 'client', ...names, ...numbers, session: random.bytes(16), source: end(), destination: end() } as const
      return encodeConnection(connection, random.bytes(32))
    }
    default:
      return encodeV2(randomV2(random))
  }
}

function damaged(random: Random): Uint8Array {
  const sound = Buffer.from(soundHeader(random))
  switch (random.below(8)) {
    case 0:
      return sound
    case 1:
      return sound.subarray(0, random.below(sound.length))
    case 2:
      return Buffer.concat([sound, soundHeader(random)])
    case 3: {
      sound[random.below(sound.length)] = random.below(256)
      return sound
    }
    case 4: {
      // Behind the opening, so that most of these reach the deeper checks.
      for (let flips = 1 + random.below(4); flips > 0; flips--) {
        const index = Math.min(sound.length - 1, 12 + random.below(Math.max(1, sound.length - 12)))
        sound[index] = (sound[index] ?? 0) ^ (1 << random.below(8))
      }
      return sound
    }
    case 5: {
      if (sound.length > 16) sound.writeUInt16BE(random.below(3) === 0 ? random.below(65536) : random.below(300), 14)
      return Buffer.concat([sound, random.bytes(random.below(64))])
    }
    case 6: {
      const head = Buffer.concat([SIGNATURE, random.bytes(4)])
      head[12] = 0x20 | random.below(2)
      head[13] = random.pick([0x00, 0x11, 0x21, 0x31, 0x22, 0x41])
      head.writeUInt16BE(random.below(128), 14)
      return Buffer.concat([head, random.bytes(random.below(160))])
    }
    default:
      return random.below(2) === 0 ? random.bytes(random.below(64)) : Buffer.concat([V1_OPENING, random.bytes(random.below(120))])
  }
}

/** In a larger buffer of `fill`, so that a read behind the end shows as a different answer. */
function framed(bytes: Uint8Array, fill: number): Uint8Array {
  const around = new Uint8Array(bytes.length + 128).fill(fill)
  around.set(bytes, 64)
  return around.subarray(64, 64 + bytes.length)
}

function isPastSignature(bytes: Uint8Array): boolean {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  return buffer.subarray(0, 12).equals(SIGNATURE) || buffer.subarray(0, 6).equals(V1_OPENING.subarray(0, 6))
}

type Answer = { readonly state: string; readonly reason?: string; readonly headerBytes?: number }
type Decoder = (bytes: Uint8Array) => Answer

function sameAnswer(left: Answer, right: Answer): boolean {
  return left.state === right.state && left.reason === right.reason && left.headerBytes === right.headerBytes
}

/** @returns what is wrong, or null. */
function judge(decoder: Decoder, bytes: Uint8Array, deep: boolean): string | null {
  const answer = decoder(framed(bytes, 0x00))
  if (!sameAnswer(answer, decoder(framed(bytes, 0xff)))) return 'it read outside of the input'
  let first: Answer = { state: 'incomplete' }
  for (let length = 0; length <= Math.min(bytes.length, SPLIT_BYTES) && first.state === 'incomplete'; length++) {
    first = decoder(bytes.subarray(0, length))
  }
  if (first.state === 'incomplete') first = decoder(bytes)
  if (!sameAnswer(answer, first)) return `bytes one by one: ${JSON.stringify(first.reason ?? first.state)}, at once: ${answer.reason ?? answer.state}`
  if (answer.state !== 'done') return null
  const { headerBytes = -1 } = answer
  if (headerBytes < 15 || headerBytes > Math.min(bytes.length, 2048)) return `the header has ${headerBytes} bytes`
  if (decoder(bytes.subarray(0, headerBytes - 1)).state !== 'incomplete') return 'a byte less is not incomplete'
  if (deep && !structurallySame(decoder(bytes.subarray(0, headerBytes)), answer)) return 'it looked behind the header'
  return null
}

const printable = (_key: string, value: unknown): unknown => (typeof value === 'bigint' ? value.toString() : value)
function structurallySame(left: unknown, right: unknown): boolean {
  return JSON.stringify(left, printable) === JSON.stringify(right, printable)
}

test(`${INPUTS} hostile inputs`, { timeout: 120_000 }, () => {
  const random = new Random(testSeed('fuzz proxy-protocol'))
  const options: readonly [DecodeOptions, ...DecodeOptions[]] = [{}, {}, { version: 'v1' }, { version: 'v2' }, { maxBytes: 64 }]
  const states = { done: 0, incomplete: 0, invalid: 0 }
  let past = 0
  for (let input = 0; input < INPUTS; input++) {
    const bytes = damaged(random)
    if (isPastSignature(bytes)) past++
    const chosen = random.pick(options)
    const decoder: Decoder = input % 4 === 0 ? decodeOpening : (part) => decode(part, chosen)
    const wrong = judge(decoder, bytes, input % 16 === 0)
    if (wrong !== null) throw new Error(`${wrong}; input ${input}, seed ${random.seed}: ${Buffer.from(bytes).toString('hex')}`)
    states[decode(bytes).state]++
  }
  // Noise that fails at its first byte proves nothing: the inputs must reach every answer.
  expect(past / INPUTS).toBeGreaterThan(0.3)
  for (const count of Object.values(states)) expect(count / INPUTS).toBeGreaterThan(0.05)
})

test('what a damaged header still says can be encoded again and says the same', () => {
  const random = new Random(testSeed('fuzz proxy-protocol again'))
  let again = 0
  for (let input = 0; input < 20_000; input++) {
    const answer = decode(damaged(random))
    if (answer.state !== 'done') continue
    again++
    const { header } = answer
    const tlvs = header.version === 2 ? header.tlvs.filter((tlv) => tlv.type !== 0x03) : []
    const bytes = header.version === 1 ? encodeV1(header.addresses) : encodeV2({ command: header.command, addresses: header.addresses, tlvs })
    const second = decode(bytes)
    if (second.state !== 'done') throw new Error(`not sound any more, seed ${random.seed}: ${Buffer.from(bytes).toString('hex')}`)
    expect(structurallySame(second.header.addresses, header.addresses)).toBe(true)
  }
  expect(again).toBeGreaterThan(1000)
})
