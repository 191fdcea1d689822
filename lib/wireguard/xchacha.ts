/**
 * XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03): a 24-byte nonce, so that it may be random. Only cookie replies use it.
 * HChaCha20 turns key and the nonce's first 16 bytes into the key of an ordinary ChaCha20-Poly1305.
 */
import { openOnce, sealOnce } from './aead.ts'

export const XNONCE_BYTES = 24
const SIGMA = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574] as const

export function xSeal(key: Uint8Array, nonce: Uint8Array, plain: Uint8Array, beside: Uint8Array): Uint8Array<ArrayBuffer> {
  return withDerived(key, nonce, (derived, rest) => sealOnce(derived, rest, plain, beside))
}

/** @returns null when it is forged. */
export function xOpen(key: Uint8Array, nonce: Uint8Array, sealed: Uint8Array, beside: Uint8Array): Uint8Array<ArrayBuffer> | null {
  return withDerived(key, nonce, (derived, rest) => openOnce(derived, rest, sealed, beside))
}

function withDerived<Result>(key: Uint8Array, nonce: Uint8Array, use: (key: Uint8Array, nonce: Uint8Array) => Result): Result {
  const derived = hChaCha20(key, nonce)
  const rest = new Uint8Array(12)
  rest.set(nonce.subarray(16, XNONCE_BYTES), 4)
  try {
    return use(derived, rest)
  } finally {
    derived.fill(0)
  }
}

/** `nonce`: its first 16 bytes count. */
export function hChaCha20(key: Uint8Array, nonce: Uint8Array): Uint8Array<ArrayBuffer> {
  const keys = new DataView(key.buffer, key.byteOffset, 32)
  const nonces = new DataView(nonce.buffer, nonce.byteOffset, 16)
  const s = new Uint32Array(16)
  s.set(SIGMA)
  for (let index = 0; index < 8; index++) s[4 + index] = keys.getUint32(4 * index, true)
  for (let index = 0; index < 4; index++) s[12 + index] = nonces.getUint32(4 * index, true)
  for (let round = 0; round < 10; round++) {
    for (let column = 0; column < 4; column++) quarter(s, column, 4 + column, 8 + column, 12 + column)
    for (let column = 0; column < 4; column++) quarter(s, column, 4 + ((column + 1) & 3), 8 + ((column + 2) & 3), 12 + ((column + 3) & 3))
  }
  const output = new Uint8Array(32)
  const view = new DataView(output.buffer)
  for (let index = 0; index < 4; index++) {
    view.setUint32(4 * index, s[index] ?? 0, true)
    view.setUint32(16 + 4 * index, s[12 + index] ?? 0, true)
  }
  s.fill(0)
  return output
}

function quarter(s: Uint32Array, ia: number, ib: number, ic: number, id: number): void {
  let a = s[ia] ?? 0
  let b = s[ib] ?? 0
  let c = s[ic] ?? 0
  let d = s[id] ?? 0
  a = (a + b) | 0
  d = rotate(d ^ a, 16)
  c = (c + d) | 0
  b = rotate(b ^ c, 12)
  a = (a + b) | 0
  d = rotate(d ^ a, 8)
  c = (c + d) | 0
  b = rotate(b ^ c, 7)
  s[ia] = a
  s[ib] = b
  s[ic] = c
  s[id] = d
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits))
}
