/**
 * Reads a PROXY header from chunks as they come, for receivers that would else keep the bytes themselves: what stands
 * behind the header is payload, of this chunk and of every later one.
 *
 * Holds at most the limit (`maxBytes`, or 107 for version 1), in memory of its own: chunks may be used again, and the
 * header may be kept. Opens no socket and knows no time: whoever owns the connection gives it DEFAULT_HEADER_TIMEOUT_MS,
 * and takes that back once the header is in.
 */
import { DEFAULT_MAX_HEADER_BYTES, MAX_V1_LINE_BYTES } from './constants.ts'
import type { DecodeOptions } from './decode.ts'
import { decode } from './decode.ts'
import type { ProxyHeader } from './header.ts'

export type ReadHeader =
  | { readonly state: 'incomplete' }
  /** `payload`: a view of the chunk, from where the header ended. May be empty. */
  | { readonly state: 'done'; readonly header: ProxyHeader; readonly payload: Uint8Array }
  | { readonly state: 'invalid'; readonly reason: string }

const FIRST_BYTES = 256

export class HeaderReader {
  readonly #options: DecodeOptions
  readonly #limitBytes: number
  #held = new Uint8Array(FIRST_BYTES)
  #heldBytes = 0
  #header: ProxyHeader | null = null
  #reason: string | null = null

  constructor(options: DecodeOptions = {}) {
    this.#options = options
    this.#limitBytes = Math.max(MAX_V1_LINE_BYTES, options.maxBytes ?? DEFAULT_MAX_HEADER_BYTES)
  }

  /** Once `invalid`, always `invalid`; once `done`, every chunk is payload, whatever it looks like. */
  push(chunk: Uint8Array): ReadHeader {
    if (this.#header !== null) return { state: 'done', header: this.#header, payload: chunk }
    if (this.#reason !== null) return { state: 'invalid', reason: this.#reason }
    const before = this.#heldBytes
    this.#hold(chunk.subarray(0, this.#limitBytes - before))
    const decoded = decode(this.#held.subarray(0, this.#heldBytes), this.#options)
    if (decoded.state === 'incomplete') return decoded
    if (decoded.state === 'invalid') {
      this.#reason = decoded.reason
      this.#held = new Uint8Array(0)
      return decoded
    }
    this.#header = decoded.header
    return { state: 'done', header: decoded.header, payload: chunk.subarray(decoded.headerBytes - before) }
  }

  /** Grows by doubling, so that single bytes cost no more than their number. */
  #hold(bytes: Uint8Array): void {
    const needed = this.#heldBytes + bytes.length
    if (needed > this.#held.length) {
      const grown = new Uint8Array(Math.min(this.#limitBytes, Math.max(needed, 2 * this.#held.length)))
      grown.set(this.#held.subarray(0, this.#heldBytes))
      this.#held = grown
    }
    this.#held.set(bytes, this.#heldBytes)
    this.#heldBytes = needed
  }
}
