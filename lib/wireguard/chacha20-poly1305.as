/**
 * ChaCha20-Poly1305 (RFC 8439) in AssemblyScript: what `npm run build` makes WebAssembly of. Four blocks of the cipher at
 * once, a word of each in one vector; Poly1305 in five limbs of 26 bits. No allocation: everything stands at fixed places.
 *
 *   0    key, 32 bytes      32   nonce, 12 bytes      64   tag, 16 bytes
 *   128  key stream         512  the bytes, sealed or opened in place
 */
const KEY: usize = 0
const NONCE: usize = 32
const TAG: usize = 64
const STREAM: usize = 128
export const DATA: usize = 512

// @ts-ignore: a decorator of AssemblyScript
@inline function rotate16(v: v128): v128 {
  return i8x16.shuffle(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)
}
// @ts-ignore: a decorator of AssemblyScript
@inline function rotate8(v: v128): v128 {
  return i8x16.shuffle(v, v, 3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14)
}
// @ts-ignore: a decorator of AssemblyScript
@inline function rotate12(v: v128): v128 {
  return v128.or(i32x4.shl(v, 12), i32x4.shr_u(v, 20))
}
// @ts-ignore: a decorator of AssemblyScript
@inline function rotate7(v: v128): v128 {
  return v128.or(i32x4.shl(v, 7), i32x4.shr_u(v, 25))
}

/** 256 bytes of key stream, of the blocks `counter` and the three behind it. */
function stream(counter: u32): void {
  const s0 = i32x4.splat(0x61707865), s1 = i32x4.splat(0x3320646e), s2 = i32x4.splat(0x79622d32), s3 = i32x4.splat(0x6b206574)
  const s4 = i32x4.splat(load<i32>(KEY)), s5 = i32x4.splat(load<i32>(KEY + 4)), s6 = i32x4.splat(load<i32>(KEY + 8)), s7 = i32x4.splat(load<i32>(KEY + 12))
  const s8 = i32x4.splat(load<i32>(KEY + 16)), s9 = i32x4.splat(load<i32>(KEY + 20)), s10 = i32x4.splat(load<i32>(KEY + 24)), s11 = i32x4.splat(load<i32>(KEY + 28))
  const s12 = i32x4.add(i32x4.splat(<i32>counter), i32x4(0, 1, 2, 3))
  const s13 = i32x4.splat(load<i32>(NONCE)), s14 = i32x4.splat(load<i32>(NONCE + 4)), s15 = i32x4.splat(load<i32>(NONCE + 8))
  let a0 = s0, a1 = s1, a2 = s2, a3 = s3, b0 = s4, b1 = s5, b2 = s6, b3 = s7
  let c0 = s8, c1 = s9, c2 = s10, c3 = s11, d0 = s12, d1 = s13, d2 = s14, d3 = s15
  for (let round = 0; round < 10; round++) {
    a0 = i32x4.add(a0, b0); d0 = rotate16(v128.xor(d0, a0)); c0 = i32x4.add(c0, d0); b0 = rotate12(v128.xor(b0, c0))
    a1 = i32x4.add(a1, b1); d1 = rotate16(v128.xor(d1, a1)); c1 = i32x4.add(c1, d1); b1 = rotate12(v128.xor(b1, c1))
    a2 = i32x4.add(a2, b2); d2 = rotate16(v128.xor(d2, a2)); c2 = i32x4.add(c2, d2); b2 = rotate12(v128.xor(b2, c2))
    a3 = i32x4.add(a3, b3); d3 = rotate16(v128.xor(d3, a3)); c3 = i32x4.add(c3, d3); b3 = rotate12(v128.xor(b3, c3))
    a0 = i32x4.add(a0, b0); d0 = rotate8(v128.xor(d0, a0)); c0 = i32x4.add(c0, d0); b0 = rotate7(v128.xor(b0, c0))
    a1 = i32x4.add(a1, b1); d1 = rotate8(v128.xor(d1, a1)); c1 = i32x4.add(c1, d1); b1 = rotate7(v128.xor(b1, c1))
    a2 = i32x4.add(a2, b2); d2 = rotate8(v128.xor(d2, a2)); c2 = i32x4.add(c2, d2); b2 = rotate7(v128.xor(b2, c2))
    a3 = i32x4.add(a3, b3); d3 = rotate8(v128.xor(d3, a3)); c3 = i32x4.add(c3, d3); b3 = rotate7(v128.xor(b3, c3))

    a0 = i32x4.add(a0, b1); d3 = rotate16(v128.xor(d3, a0)); c2 = i32x4.add(c2, d3); b1 = rotate12(v128.xor(b1, c2))
    a1 = i32x4.add(a1, b2); d0 = rotate16(v128.xor(d0, a1)); c3 = i32x4.add(c3, d0); b2 = rotate12(v128.xor(b2, c3))
    a2 = i32x4.add(a2, b3); d1 = rotate16(v128.xor(d1, a2)); c0 = i32x4.add(c0, d1); b3 = rotate12(v128.xor(b3, c0))
    a3 = i32x4.add(a3, b0); d2 = rotate16(v128.xor(d2, a3)); c1 = i32x4.add(c1, d2); b0 = rotate12(v128.xor(b0, c1))
    a0 = i32x4.add(a0, b1); d3 = rotate8(v128.xor(d3, a0)); c2 = i32x4.add(c2, d3); b1 = rotate7(v128.xor(b1, c2))
    a1 = i32x4.add(a1, b2); d0 = rotate8(v128.xor(d0, a1)); c3 = i32x4.add(c3, d0); b2 = rotate7(v128.xor(b2, c3))
    a2 = i32x4.add(a2, b3); d1 = rotate8(v128.xor(d1, a2)); c0 = i32x4.add(c0, d1); b3 = rotate7(v128.xor(b3, c0))
    a3 = i32x4.add(a3, b0); d2 = rotate8(v128.xor(d2, a3)); c1 = i32x4.add(c1, d2); b0 = rotate7(v128.xor(b0, c1))
  }
  write(STREAM, i32x4.add(a0, s0), i32x4.add(a1, s1), i32x4.add(a2, s2), i32x4.add(a3, s3))
  write(STREAM + 16, i32x4.add(b0, s4), i32x4.add(b1, s5), i32x4.add(b2, s6), i32x4.add(b3, s7))
  write(STREAM + 32, i32x4.add(c0, s8), i32x4.add(c1, s9), i32x4.add(c2, s10), i32x4.add(c3, s11))
  write(STREAM + 48, i32x4.add(d0, s12), i32x4.add(d1, s13), i32x4.add(d2, s14), i32x4.add(d3, s15))
}

/** Four words of four blocks, from a word in each vector to a block in each row. */
// @ts-ignore: a decorator of AssemblyScript
@inline function write(at: usize, w0: v128, w1: v128, w2: v128, w3: v128): void {
  const low01 = i8x16.shuffle(w0, w1, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23)
  const high01 = i8x16.shuffle(w0, w1, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31)
  const low23 = i8x16.shuffle(w2, w3, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23)
  const high23 = i8x16.shuffle(w2, w3, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31)
  v128.store(at, i8x16.shuffle(low01, low23, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23))
  v128.store(at + 64, i8x16.shuffle(low01, low23, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
  v128.store(at + 128, i8x16.shuffle(high01, high23, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23))
  v128.store(at + 192, i8x16.shuffle(high01, high23, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
}

/** The bytes with the key stream; block 0 is in STREAM already, and its first 32 bytes are the key of Poly1305. */
function cipher(length: u32): void {
  let at: usize = DATA
  let left = length
  let from: usize = STREAM + 64
  let ready: u32 = 192
  let counter: u32 = 4
  while (left > 0) {
    if (ready == 0) {
      stream(counter)
      counter += 4
      from = STREAM
      ready = 256
    }
    if (left >= 16) {
      v128.store(at, v128.xor(v128.load(at), v128.load(from)))
      at += 16
      from += 16
      left -= 16
      ready -= 16
    } else {
      for (let index: u32 = 0; index < left; index++) store<u8>(at + index, load<u8>(at + index) ^ load<u8>(from + index))
      left = 0
    }
  }
}

let h0: u64 = 0, h1: u64 = 0, h2: u64 = 0, h3: u64 = 0, h4: u64 = 0

/** Poly1305 over the sealed bytes, padded, and the lengths (section 2.8, with nothing beside). Writes the tag. */
function authenticate(length: u32, r0: u64, r1: u64, r2: u64, r3: u64, r4: u64, padLow: u64, padHigh: u64): void {
  h0 = 0; h1 = 0; h2 = 0; h3 = 0; h4 = 0
  const end: usize = DATA + <usize>length
  const padded: usize = DATA + <usize>((length + 15) & ~15)
  // What stands behind the bytes is of an earlier packet.
  for (let at = end; at < padded; at++) store<u8>(at, 0)
  blocks(DATA, padded, r0, r1, r2, r3, r4)
  // The lengths: nothing beside, and the bytes.
  store<u64>(TAG, 0)
  store<u64>(TAG + 8, <u64>length)
  blocks(TAG, TAG + 16, r0, r1, r2, r3, r4)

  let c: u64 = h1 >> 26; h1 &= 0x3ffffff
  h2 += c; c = h2 >> 26; h2 &= 0x3ffffff
  h3 += c; c = h3 >> 26; h3 &= 0x3ffffff
  h4 += c; c = h4 >> 26; h4 &= 0x3ffffff
  h0 += c * 5; c = h0 >> 26; h0 &= 0x3ffffff
  h1 += c
  // h - p, taken when it isn't negative, without a branch.
  let g0 = h0 + 5; c = g0 >> 26; g0 &= 0x3ffffff
  let g1 = h1 + c; c = g1 >> 26; g1 &= 0x3ffffff
  let g2 = h2 + c; c = g2 >> 26; g2 &= 0x3ffffff
  let g3 = h3 + c; c = g3 >> 26; g3 &= 0x3ffffff
  const g4 = h4 + c - (1 << 26)
  const keep: u64 = <u64>(<i64>g4 >> 63)
  const take: u64 = ~keep
  h0 = (h0 & keep) | (g0 & take)
  h1 = (h1 & keep) | (g1 & take)
  h2 = (h2 & keep) | (g2 & take)
  h3 = (h3 & keep) | (g3 & take)
  h4 = (h4 & keep) | (g4 & take)
  const low = h0 | (h1 << 26) | (h2 << 52)
  const high = (h2 >> 12) | (h3 << 14) | (h4 << 40)
  const sum = low + padLow
  store<u64>(TAG, sum)
  store<u64>(TAG + 8, high + padHigh + <u64>(sum < low))
  h0 = 0; h1 = 0; h2 = 0; h3 = 0; h4 = 0
}

function blocks(from: usize, to: usize, r0: u64, r1: u64, r2: u64, r3: u64, r4: u64): void {
  const s1 = r1 * 5, s2 = r2 * 5, s3 = r3 * 5, s4 = r4 * 5
  let a0 = h0, a1 = h1, a2 = h2, a3 = h3, a4 = h4
  for (let at = from; at < to; at += 16) {
    const low = load<u64>(at), high = load<u64>(at + 8)
    a0 += low & 0x3ffffff
    a1 += (low >> 26) & 0x3ffffff
    a2 += ((low >> 52) | (high << 12)) & 0x3ffffff
    a3 += (high >> 14) & 0x3ffffff
    a4 += (high >> 40) | (1 << 24)
    const d0 = a0 * r0 + a1 * s4 + a2 * s3 + a3 * s2 + a4 * s1
    let d1 = a0 * r1 + a1 * r0 + a2 * s4 + a3 * s3 + a4 * s2
    let d2 = a0 * r2 + a1 * r1 + a2 * r0 + a3 * s4 + a4 * s3
    let d3 = a0 * r3 + a1 * r2 + a2 * r1 + a3 * r0 + a4 * s4
    let d4 = a0 * r4 + a1 * r3 + a2 * r2 + a3 * r1 + a4 * r0
    d1 += d0 >> 26; a0 = d0 & 0x3ffffff
    d2 += d1 >> 26; a1 = d1 & 0x3ffffff
    d3 += d2 >> 26; a2 = d2 & 0x3ffffff
    d4 += d3 >> 26; a3 = d3 & 0x3ffffff
    a0 += (d4 >> 26) * 5; a4 = d4 & 0x3ffffff
    a1 += a0 >> 26; a0 &= 0x3ffffff
  }
  h0 = a0; h1 = a1; h2 = a2; h3 = a3; h4 = a4
}

function tagOf(length: u32): void {
  const low = load<u64>(STREAM) & 0x0ffffffc0fffffff
  const high = load<u64>(STREAM + 8) & 0x0ffffffc0ffffffc
  authenticate(length, low & 0x3ffffff, (low >> 26) & 0x3ffffff, ((low >> 52) | (high << 12)) & 0x3ffffff, (high >> 14) & 0x3ffffff, high >> 40, load<u64>(STREAM + 16), load<u64>(STREAM + 24))
}

function wipe(): void {
  memory.fill(KEY, 0, DATA)
}

/** Seals the bytes at DATA in place; their tag stands behind them. */
export function seal(length: u32): void {
  stream(0)
  store<u64>(TAG, 0)
  // The key of Poly1305 is at the begin of block 0, which later blocks overwrite.
  const k0 = load<u64>(STREAM), k1 = load<u64>(STREAM + 8), k2 = load<u64>(STREAM + 16), k3 = load<u64>(STREAM + 24)
  cipher(length)
  store<u64>(STREAM, k0); store<u64>(STREAM + 8, k1); store<u64>(STREAM + 16, k2); store<u64>(STREAM + 24, k3)
  const behind = DATA + <usize>length
  tagOf(length)
  v128.store(behind, v128.load(TAG))
  wipe()
}

/** Opens the bytes at DATA in place, whose tag stands behind them; tags are compared without a branch. @returns 1, or 0 for a forged one, of which nothing is opened */
export function open(length: u32): u32 {
  const behind = DATA + <usize>length
  const expectedLow = load<u64>(behind), expectedHigh = load<u64>(behind + 8)
  stream(0)
  const k0 = load<u64>(STREAM), k1 = load<u64>(STREAM + 8), k2 = load<u64>(STREAM + 16), k3 = load<u64>(STREAM + 24)
  tagOf(length)
  const different = (load<u64>(TAG) ^ expectedLow) | (load<u64>(TAG + 8) ^ expectedHigh)
  if (different != 0) {
    wipe()
    return 0
  }
  store<u64>(STREAM, k0); store<u64>(STREAM + 8, k1); store<u64>(STREAM + 16, k2); store<u64>(STREAM + 24, k3)
  cipher(length)
  wipe()
  return 1
}
