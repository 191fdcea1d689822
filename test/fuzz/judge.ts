/**
 * What must hold of a decoder's answer to any bytes: the same wherever they lie and however they were cut, a header that
 * ends where it says, and nothing read behind it.
 */
import { decodeOpening } from '../../lib/hop/header.ts'
import type { DecodeOptions } from '../../lib/proxy-protocol/decode.ts'
import { decode } from '../../lib/proxy-protocol/decode.ts'
import { TLV } from '../../lib/proxy-protocol/constants.ts'
import { encodeV1, encodeV2 } from '../../lib/proxy-protocol/encode.ts'
import type { EncodeV2 } from '../../lib/proxy-protocol/encode.ts'
import type { ProxyAddresses } from '../../lib/proxy-protocol/header.ts'
import { NearcastError } from '../../lib/errors.ts'
import { HeaderReader } from '../../lib/proxy-protocol/header-reader.ts'
import { decodeSsl, encodeSsl } from '../../lib/proxy-protocol/tlv.ts'
import type { SslInfo } from '../../lib/proxy-protocol/tlv.ts'
import type { Random } from '../support/random.ts'
import { damaged, isPastSignature, randomDemand, randomSsl } from './hostile-inputs.ts'

/** Every length up to this one, and then only the whole: long inputs differ from short ones in their TLVs alone. */
const SPLIT_BYTES = 300

/** In a larger buffer of `fill`, so that a read behind the end shows as a different answer. */
function framed(bytes: Uint8Array, fill: number): Uint8Array {
  const around = new Uint8Array(bytes.length + 128).fill(fill)
  around.set(bytes, 64)
  return around.subarray(64, 64 + bytes.length)
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

/** A reader that gets the bytes in chunks of any size must say what the decoder says of the whole. */
function judgeReader(random: Random, bytes: Uint8Array): string | null {
  const answer = decode(bytes)
  const reader = new HeaderReader()
  let payloadBytes = 0
  let state = 'incomplete'
  for (let from = 0; from < bytes.length; ) {
    const to = Math.min(bytes.length, from + 1 + random.below(40))
    const read = reader.push(Uint8Array.from(bytes.subarray(from, to)))
    state = read.state
    if (read.state === 'done') payloadBytes += read.payload.length
    from = to
  }
  if (state !== answer.state) return `in chunks: ${state}, at once: ${answer.state}`
  return answer.state === 'done' && payloadBytes !== bytes.length - answer.headerBytes ? 'in chunks it lost payload' : null
}

/** What is asked of the encoders is said by what they write, or refused with a code of ours. */
function judgeEncoders(random: Random): string | null {
  const demand = randomDemand(random)
  return judgeV1(demand.addresses) ?? judgeV2(demand) ?? judgeSsl(randomSsl(random))
}

/** @returns what was written, or null when it was refused. */
function written(encode: () => Uint8Array): Uint8Array | null {
  try {
    return encode()
  } catch (error) {
    if (error instanceof NearcastError && error.code.startsWith('proxy-header.')) return null
    throw error
  }
}

function judgeV1(addresses: ProxyAddresses): string | null {
  const bytes = written(() => encodeV1(addresses))
  if (bytes === null) return null
  const answer = decode(bytes, { version: 'v1' })
  const same = answer.state === 'done' && answer.headerBytes === bytes.length && structurallySame(answer.header.addresses, addresses)
  return same ? null : `version 1 is written differently: ${Buffer.from(bytes).toString()}`
}

function judgeSsl(ssl: SslInfo): string | null {
  const value = written(() => encodeSsl(ssl))
  return value === null || structurallySame(decodeSsl(value), ssl) ? null : `an SSL TLV is written differently: ${JSON.stringify(ssl).slice(0, 200)}`
}

function judgeV2(demand: EncodeV2): string | null {
  const bytes = written(() => encodeV2(demand))
  if (bytes === null) return null
  const answer = decode(bytes, { maxBytes: 65_551 })
  if (answer.state !== 'done') return `the encoder wrote what the decoder doesn't take: ${Buffer.from(bytes).toString('hex')}`
  const { header } = answer
  if (answer.headerBytes !== bytes.length || header.version !== 2 || header.command !== demand.command) return 'the encoder wrote another header'
  const tlvs = header.tlvs.filter(({ type }) => type !== TLV.crc32c)
  const same = tlvs.every(({ type, value }, index) => type === demand.tlvs?.[index]?.type && Buffer.compare(value, demand.tlvs[index].value) === 0)
  return same && tlvs.length === (demand.tlvs?.length ?? 0) ? null : 'the encoder wrote other TLVs'
}

const printable = (_key: string, value: unknown): unknown => {
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.length).toString('hex')
  return typeof value === 'bigint' ? value.toString() : value
}

export function structurallySame(left: unknown, right: unknown): boolean {
  return JSON.stringify(left, printable) === JSON.stringify(right, printable)
}

const OPTIONS: readonly [DecodeOptions, ...DecodeOptions[]] = [{}, {}, { version: 'v1' }, { version: 'v2' }, { maxBytes: 64 }]

export interface Tally {
  readonly states: { done: number; incomplete: number; invalid: number }
  /** Inputs that got past the signature or the word PROXY. */
  past: number
}

/** Makes and judges input number `input`. @throws Error with the seed and the bytes. */
export function fuzzOnce(random: Random, input: number, tally: Tally): Uint8Array {
  const bytes = damaged(random)
  if (isPastSignature(bytes)) tally.past++
  const chosen = random.pick(OPTIONS)
  const decoder: Decoder = input % 4 === 0 ? decodeOpening : (part) => decode(part, chosen)
  const wrong = judge(decoder, bytes, input % 16 === 0) ?? (input % 8 === 0 ? judgeReader(random, bytes) : null) ?? (input % 8 === 4 ? judgeEncoders(random) : null)
  if (wrong !== null) throw new Error(`${wrong}; input ${input}, seed ${random.seed}: ${Buffer.from(bytes).toString('hex')}`)
  tally.states[decode(bytes).state]++
  return bytes
}
