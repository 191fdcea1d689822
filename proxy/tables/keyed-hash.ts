/**
 * HalfSipHash-1-3 of three words, in 32-bit arithmetic: a keyed hash, so that nobody who can have addresses minted can
 * choose ones that collide. Pure. Jean-Philippe Aumasson and Daniel J. Bernstein, "SipHash: a fast short-input PRF"; the
 * variant for 32-bit words.
 */
const FINALISATION = 4

/** @returns 32 bits, signed. The words count as little-endian, 12 bytes in all. */
export function keyedHash(key0: number, key1: number, first: number, second: number, third: number): number {
  let v0 = key0
  let v1 = key1
  let v2 = 0x6c79_6765 ^ key0
  let v3 = 0x7465_6462 ^ key1
  for (let round = 0; round < 7; round++) {
    const word = round === 0 ? first : round === 1 ? second : round === 2 ? third : round === 3 ? 12 << 24 : 0
    if (round === FINALISATION) v2 ^= 0xff
    v3 ^= word
    v0 = (v0 + v1) | 0
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
    v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
    v2 = (v2 << 16) | (v2 >>> 16)
    v0 ^= word
  }
  return v1 ^ v3
}
