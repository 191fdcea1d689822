/**
 * SHA-256 of the OpenSSL that Node carries, state by state: what node:crypto can't do is go on from a state that is kept,
 * which makes an HMAC of a few hundred bytes cost a quarter. See SHA256(3).
 *
 * Node's own builds and those linked against a system's OpenSSL export these functions; where they don't, or don't do
 * what they should, there is none.
 */
import { createHash } from 'node:crypto'
import { probeSha256Functions } from './ffi.ts'
import type { Sha256Functions } from './ffi.ts'

/** SHA256_CTX: eight words, a length, a block and two counters. */
export const STATE_BYTES = 112

let found: Sha256Functions | null | undefined

/** null where there is none. */
export function sha256Functions(): Sha256Functions | null {
  if (found === undefined) found = proven(probeSha256Functions())
  return found
}

/** Believed after it has hashed as node:crypto does. */
function proven(functions: Sha256Functions | null): Sha256Functions | null {
  if (functions === null) return null
  const text = Buffer.from('a state that is kept, and more than one block of sixty-four bytes behind it')
  const [state, digest] = [Buffer.alloc(STATE_BYTES), Buffer.alloc(32)]
  functions.init(state)
  functions.update(state, text, text.length)
  functions.final(digest, state)
  return digest.equals(createHash('sha256').update(text).digest()) ? functions : null
}
