/**
 * Frames of a session: u32 big-endian length, JSON. Pure: chunks in, checked frames out. Used by both ends.
 *
 * A length above MAX_FRAME_BYTES is refused before a byte is kept for it; at most one frame is held. Whole frames with
 * a type that this version doesn't know are skipped; a known type with a malformed body is an error.
 */
import type { z } from 'zod'
import { NearcastError } from '../errors.ts'
import type { FromAgent, FromDialer } from './protocol.ts'
import { MAX_FRAME_BYTES, fromAgent, fromDialer } from './protocol.ts'

const HEAD_BYTES = 4

export interface FrameBatch<Frame> {
  readonly frames: readonly Frame[]
  /** Not null: the stream is broken behind `frames`, close the connection. Stays so on later calls. */
  readonly invalid: string | null
}

export class FrameReader<Frame> {
  readonly #schema: z.ZodType<Frame>
  readonly #types: ReadonlySet<string>
  #part: Uint8Array = new Uint8Array(HEAD_BYTES)
  #filled = 0
  #inBody = false
  #invalid: string | null = null

  constructor(schema: z.ZodType<Frame>, types: Iterable<string>) {
    this.#schema = schema
    this.#types = new Set(types)
  }

  /** Never throws for anything that a peer can send. */
  push(chunk: Uint8Array): FrameBatch<Frame> {
    const frames: Frame[] = []
    let offset = 0
    while (offset < chunk.length && this.#invalid === null) {
      const taken = Math.min(this.#part.length - this.#filled, chunk.length - offset)
      this.#part.set(chunk.subarray(offset, offset + taken), this.#filled)
      this.#filled += taken
      offset += taken
      if (this.#filled === this.#part.length) this.#complete(frames)
    }
    return { frames, invalid: this.#invalid }
  }

  #complete(frames: Frame[]): void {
    const part = this.#part
    if (this.#inBody) {
      this.#expect(HEAD_BYTES, false)
      this.#parse(part, frames)
      return
    }
    const length = new DataView(part.buffer, part.byteOffset).getUint32(0)
    if (length === 0 || length > MAX_FRAME_BYTES) this.#invalid = `a frame has 1 to ${MAX_FRAME_BYTES} bytes, not ${length}`
    else this.#expect(length, true)
  }

  #expect(bytes: number, inBody: boolean): void {
    this.#part = new Uint8Array(bytes)
    this.#filled = 0
    this.#inBody = inBody
  }

  #parse(body: Uint8Array, frames: Frame[]): void {
    let value: unknown
    try {
      value = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.length).toString('utf8'))
    } catch {
      this.#invalid = 'a frame is not JSON'
      return
    }
    const result = this.#schema.safeParse(value)
    if (result.success) frames.push(result.data)
    else if (typeOf(value) === null) this.#invalid = 'a frame has no type'
    else if (this.#types.has(typeOf(value) ?? '')) this.#invalid = `a frame of type ${typeOf(value)} is malformed`
  }
}

function typeOf(value: unknown): string | null {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string' ? value.type : null
}

/** What an agent reads from a session. */
export function dialerFrames(): FrameReader<FromDialer> {
  return new FrameReader(fromDialer, ['ping'])
}

/** What a dialer reads from a session or a probe. */
export function agentFrames(): FrameReader<FromAgent> {
  return new FrameReader(fromAgent, ['challenge', 'availability', 'load', 'pong'])
}

/** @throws NearcastError hop.protocol when the frame would be too long. */
export function encodeFrame(frame: FromAgent | FromDialer): Uint8Array {
  const body = Buffer.from(JSON.stringify(frame), 'utf8')
  if (body.length > MAX_FRAME_BYTES) {
    throw new NearcastError('hop.protocol', `A frame holds ${MAX_FRAME_BYTES} bytes, not ${body.length}; send it in parts.`)
  }
  const bytes = new Uint8Array(HEAD_BYTES + body.length)
  new DataView(bytes.buffer).setUint32(0, body.length)
  bytes.set(body, HEAD_BYTES)
  return bytes
}

/** Entries per part: 64 + 128 characters, each at most 6 bytes of JSON, stay below MAX_FRAME_BYTES. */
const ENTRIES_PER_PART = 50

/** The whole map as one or more frames, in one buffer. */
export function encodeAvailability(unavailable: Readonly<Record<string, string>>): Uint8Array {
  const entries = Object.entries(unavailable)
  const parts: Uint8Array[] = []
  for (let start = 0; start === 0 || start < entries.length; start += ENTRIES_PER_PART) {
    const more = start + ENTRIES_PER_PART < entries.length
    const part = Object.fromEntries(entries.slice(start, start + ENTRIES_PER_PART))
    parts.push(encodeFrame({ type: 'availability', unavailable: part, ...(more && { more }) }))
  }
  return Buffer.concat(parts)
}
