/**
 * HMAC-SHA256 (RFC 2104) of hop headers. Each connection is signed once and verified once, so what depends on the key
 * alone, the two padded blocks, is hashed once per key and kept. Without OpenSSL's own functions node:crypto does it.
 */
import { createHmac } from 'node:crypto'
import { STATE_BYTES, sha256Functions } from '../kernel/sha256.ts'

const BLOCK_BYTES = 64
const DIGEST_BYTES = 32
const [INNER, OUTER] = [0x36, 0x5c]

interface PaddedKey {
  readonly inner: Uint8Array
  readonly outer: Uint8Array
}

/** A key is kept as long as its row is. */
const padded = new WeakMap<Uint8Array, PaddedKey>()
const state = new Uint8Array(STATE_BYTES)

/** `key`: at most 64 bytes, never changed afterwards. @returns 32 bytes of its own. */
export function hmacSha256(key: Uint8Array, bytes: Uint8Array): Uint8Array {
  const functions = sha256Functions()
  if (functions === null || key.length > BLOCK_BYTES) return createHmac('sha256', key).update(bytes).digest()
  let known = padded.get(key)
  if (known === undefined) padded.set(key, (known = { inner: hashed(key, INNER), outer: hashed(key, OUTER) }))
  const digest = new Uint8Array(DIGEST_BYTES)
  state.set(known.inner)
  functions.update(state, bytes, bytes.length)
  functions.final(digest, state)
  state.set(known.outer)
  functions.update(state, digest, DIGEST_BYTES)
  functions.final(digest, state)
  return digest

  function hashed(secret: Uint8Array, pad: number): Uint8Array {
    const block = new Uint8Array(BLOCK_BYTES).fill(pad)
    for (const [index, byte] of secret.entries()) block[index] = byte ^ pad
    const after = new Uint8Array(STATE_BYTES)
    functions?.init(after)
    functions?.update(after, block, BLOCK_BYTES)
    block.fill(0)
    return after
  }
}
