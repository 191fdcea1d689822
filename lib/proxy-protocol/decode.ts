/**
 * Reads a PROXY header from the start of a connection, incrementally: call it with everything read so far until it
 * answers `done` or `invalid`. It never waits, never throws, and never looks behind the header.
 *
 * A port either requires a header or has none: presence is never guessed (section 2: "The receiver MUST be configured
 * to only receive the protocol described in this specification and MUST not try to guess"). Of the two versions a
 * receiver may accept both; they can't be mistaken for each other.
 * The answer depends only on the bytes, not on how they were cut: `invalid` on a prefix is `invalid` on the whole.
 *
 * What it doesn't do: time limits (constants.ts has the defaults), trust. Believe a header only from an authenticated hop.
 */
import { DEFAULT_MAX_HEADER_BYTES, SIGNATURE } from './constants.ts'
import { decodeV1 } from './decode-v1.ts'
import { decodeV2 } from './decode-v2.ts'
import type { Decoded, ProxyHeaderV1, ProxyHeaderV2 } from './header.ts'

export interface DecodeOptions {
  /** Default `either`. */
  readonly version?: 'v1' | 'v2' | 'either'
  /** Refuses longer version 2 headers as soon as their length is known. 16 .. 65551, default 2048. A version 1 line has its own limit. */
  readonly maxBytes?: number
}

export function decode(bytes: Uint8Array, options: DecodeOptions & { version: 'v1' }): Decoded<ProxyHeaderV1>
export function decode(bytes: Uint8Array, options: DecodeOptions & { version: 'v2' }): Decoded<ProxyHeaderV2>
export function decode(bytes: Uint8Array, options?: DecodeOptions): Decoded
export function decode(bytes: Uint8Array, options: DecodeOptions = {}): Decoded {
  const { version = 'either', maxBytes = DEFAULT_MAX_HEADER_BYTES } = options
  if (version === 'v1') return decodeV1(bytes)
  if (version === 'v2') return decodeV2(bytes, maxBytes)
  if (bytes.length === 0) return { state: 'incomplete' }
  return bytes[0] === SIGNATURE[0] ? decodeV2(bytes, maxBytes) : decodeV1(bytes)
}
