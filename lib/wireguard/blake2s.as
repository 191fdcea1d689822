/**
 * BLAKE2s (RFC 7693) in AssemblyScript: what `npm run build` makes WebAssembly of. The four rows of the state are a vector
 * each; the words of the message are taken where they stand. No allocation, no table: everything stands at fixed places.
 *
 *   0    the state, 32 bytes, and in the end the hash      64   what is hashed, a block for the key first
 */
const STATE: usize = 0
const DATA: usize = 64

// @ts-ignore: a decorator of AssemblyScript
@inline function rotate16(v: v128): v128 {
  return i8x16.shuffle(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)
}
// @ts-ignore: a decorator of AssemblyScript
@inline function rotate12(v: v128): v128 {
  return v128.or(i32x4.shr_u(v, 12), i32x4.shl(v, 20))
}
// @ts-ignore: a decorator of AssemblyScript
@inline function rotate8(v: v128): v128 {
  return i8x16.shuffle(v, v, 1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12)
}
// @ts-ignore: a decorator of AssemblyScript
@inline function rotate7(v: v128): v128 {
  return v128.or(i32x4.shr_u(v, 7), i32x4.shl(v, 25))
}

/** Four words of the block, by their numbers. */
// @ts-ignore: a decorator of AssemblyScript
@inline function words(at: usize, w0: usize, w1: usize, w2: usize, w3: usize): v128 {
  let v = v128.load32_zero(at + (w0 << 2))
  v = i32x4.replace_lane(v, 1, load<i32>(at + (w1 << 2)))
  v = i32x4.replace_lane(v, 2, load<i32>(at + (w2 << 2)))
  return i32x4.replace_lane(v, 3, load<i32>(at + (w3 << 2)))
}

let a: v128 = i32x4.splat(0), b: v128 = i32x4.splat(0), c: v128 = i32x4.splat(0), d: v128 = i32x4.splat(0)

// @ts-ignore: a decorator of AssemblyScript
@inline function half(x: v128, y: v128): void {
  a = i32x4.add(i32x4.add(a, b), x)
  d = rotate16(v128.xor(d, a))
  c = i32x4.add(c, d)
  b = rotate12(v128.xor(b, c))
  a = i32x4.add(i32x4.add(a, b), y)
  d = rotate8(v128.xor(d, a))
  c = i32x4.add(c, d)
  b = rotate7(v128.xor(b, c))
}

/** Columns, then diagonals: the same with three rows turned. */
// @ts-ignore: a decorator of AssemblyScript
@inline function round(m: usize, s0: usize, s1: usize, s2: usize, s3: usize, s4: usize, s5: usize, s6: usize, s7: usize, s8: usize, s9: usize, s10: usize, s11: usize, s12: usize, s13: usize, s14: usize, s15: usize): void {
  half(words(m, s0, s2, s4, s6), words(m, s1, s3, s5, s7))
  b = i8x16.shuffle(b, b, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3)
  c = i8x16.shuffle(c, c, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)
  d = i8x16.shuffle(d, d, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
  half(words(m, s8, s10, s12, s14), words(m, s9, s11, s13, s15))
  b = i8x16.shuffle(b, b, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
  c = i8x16.shuffle(c, c, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)
  d = i8x16.shuffle(d, d, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3)
}

function compress(m: usize, count: u32, last: i32): void {
  const low = v128.load(STATE), high = v128.load(STATE + 16)
  a = low
  b = high
  c = i32x4(0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a)
  d = v128.xor(i32x4(0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19), i32x4.replace_lane(i32x4.replace_lane(i32x4.splat(0), 0, <i32>count), 2, last))
  round(m, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
  round(m, 14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3)
  round(m, 11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4)
  round(m, 7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8)
  round(m, 9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13)
  round(m, 2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9)
  round(m, 12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11)
  round(m, 13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10)
  round(m, 6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5)
  round(m, 10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0)
  v128.store(STATE, v128.xor(low, v128.xor(a, c)))
  v128.store(STATE + 16, v128.xor(high, v128.xor(b, d)))
}

/** Hashes `length` bytes at DATA, of which the first 64 are the key and zeros when it has `keyBytes` above 0. */
export function hash(outputBytes: u32, keyBytes: u32, length: u32): void {
  v128.store(STATE, i32x4(0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a))
  v128.store(STATE + 16, i32x4(0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19))
  store<u32>(STATE, load<u32>(STATE) ^ 0x01010000 ^ (keyBytes << 8) ^ outputBytes)
  let at = DATA
  let done: u32 = 0
  // A full block is not the last one as long as more follows.
  while (length - done > 64) {
    done += 64
    compress(at, done, 0)
    at += 64
  }
  memory.fill(DATA + <usize>length, 0, 64 - <usize>(length - done))
  compress(at, length, -1)
  a = b = c = d = i32x4.splat(0)
}
