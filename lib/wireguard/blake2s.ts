/**
 * BLAKE2s, plain and keyed, with 1 to 32 bytes of output (RFC 7693). Node's own has no keyed mode, which mac1, mac2 and
 * cookies are made of; for short inputs this one is also faster than a call into OpenSSL.
 *
 * Whole inputs only, given in parts. Its scratch memory is wiped after each use. Where the package has been built another
 * implementation is put in its place (built-blake2s.ts), which this one still serves for what that one doesn't take.
 */
import { BLAKE2S_BLOCK_BYTES, BLAKE2S_BYTES } from './constants.ts'

/** `key`: null or 1 to 32 bytes; `parts` in their order. @returns null for what it doesn't take */
export type Blake2s = (outputBytes: number, key: Uint8Array | null, parts: readonly Uint8Array[]) => Uint8Array<ArrayBuffer> | null

const IV = Uint32Array.of(0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19)
const SIGMA = Uint8Array.from(
  [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
    [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
    [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
    [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
    [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
  ].flat(),
)
const ROUNDS = 10

const state = new Uint32Array(8)
const work = new Uint32Array(16)
const words = new Uint32Array(16)
const block = new Uint8Array(BLAKE2S_BLOCK_BYTES)

let preferred: Blake2s | null = null

/** From here on, of this thread. null: none but this one. */
export function preferBlake2s(implementation: Blake2s | null): void {
  preferred = implementation
}

/** `key`: null or 1 to 32 bytes. @throws RangeError */
export function blake2s(outputBytes: number, key: Uint8Array | null, ...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const keyBytes = key?.length ?? 0
  if (outputBytes < 1 || outputBytes > BLAKE2S_BYTES || keyBytes > 32 || key?.length === 0) throw new RangeError('BLAKE2s: 1 to 32 bytes of output and of key.')
  const output = preferred?.(outputBytes, key, parts) ?? null
  return output ?? plainBlake2s(outputBytes, key, parts)
}

function plainBlake2s(outputBytes: number, key: Uint8Array | null, parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const keyBytes = key?.length ?? 0
  state.set(IV)
  state[0] = at(state, 0) ^ 0x0101_0000 ^ (keyBytes << 8) ^ outputBytes
  let filled = 0
  let counted = 0
  if (key !== null) {
    block.set(key)
    filled = BLAKE2S_BLOCK_BYTES
  }
  for (const part of parts) {
    let offset = 0
    while (offset < part.length) {
      // A full block is compressed only once more follows: the last one is marked.
      if (filled === BLAKE2S_BLOCK_BYTES) {
        counted += BLAKE2S_BLOCK_BYTES
        compress(counted, false)
        filled = 0
      }
      const taken = Math.min(BLAKE2S_BLOCK_BYTES - filled, part.length - offset)
      for (let index = 0; index < taken; index++) block[filled + index] = part[offset + index] ?? 0
      filled += taken
      offset += taken
    }
  }
  block.fill(0, filled)
  compress(counted + filled, true)
  const output = new Uint8Array(outputBytes)
  for (let index = 0; index < outputBytes; index++) output[index] = at(state, index >> 2) >>> (8 * (index & 3))
  state.fill(0)
  work.fill(0)
  words.fill(0)
  block.fill(0)
  return output
}

function at(array: Uint32Array, index: number): number {
  return array[index] ?? 0
}

function compress(count: number, last: boolean): void {
  for (let index = 0; index < 16; index++) {
    const offset = 4 * index
    words[index] = (block[offset] ?? 0) | ((block[offset + 1] ?? 0) << 8) | ((block[offset + 2] ?? 0) << 16) | ((block[offset + 3] ?? 0) << 24)
  }
  work.set(state)
  work.set(IV, 8)
  work[12] = at(work, 12) ^ (count >>> 0)
  work[13] = at(work, 13) ^ Math.floor(count / 0x1_0000_0000)
  if (last) work[14] = ~at(work, 14)
  for (let round = 0; round < ROUNDS; round++) {
    const row = 16 * round
    mix(0, 4, 8, 12, row)
    mix(1, 5, 9, 13, row + 2)
    mix(2, 6, 10, 14, row + 4)
    mix(3, 7, 11, 15, row + 6)
    mix(0, 5, 10, 15, row + 8)
    mix(1, 6, 11, 12, row + 10)
    mix(2, 7, 8, 13, row + 12)
    mix(3, 4, 9, 14, row + 14)
  }
  for (let index = 0; index < 8; index++) state[index] = at(state, index) ^ at(work, index) ^ at(work, index + 8)
}

function mix(ia: number, ib: number, ic: number, id: number, sigma: number): void {
  let a = at(work, ia)
  let b = at(work, ib)
  let c = at(work, ic)
  let d = at(work, id)
  a = (a + b + at(words, SIGMA[sigma] ?? 0)) | 0
  d = rotate(d ^ a, 16)
  c = (c + d) | 0
  b = rotate(b ^ c, 12)
  a = (a + b + at(words, SIGMA[sigma + 1] ?? 0)) | 0
  d = rotate(d ^ a, 8)
  c = (c + d) | 0
  b = rotate(b ^ c, 7)
  work[ia] = a
  work[ib] = b
  work[ic] = c
  work[id] = d
}

function rotate(value: number, bits: number): number {
  return (value >>> bits) | (value << (32 - bits))
}
