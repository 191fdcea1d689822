/** Cipher and hash in WebAssembly, compiled here as `npm run build` does it, against Node's and @noble's, and under an engine. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chacha20poly1305 } from '@noble/ciphers/chacha.js'
import { blake2s as nobleBlake2s } from '@noble/hashes/blake2.js'
import { afterEach, beforeAll, expect, test } from 'vitest'
import { nodeAead } from '../../lib/wireguard/aead.ts'
import type { AeadFactory } from '../../lib/wireguard/aead.ts'
import { blake2s, preferBlake2s } from '../../lib/wireguard/blake2s.ts'
import type { Blake2s } from '../../lib/wireguard/blake2s.ts'
import { builtAead } from '../../lib/wireguard/built-aead.ts'
import { useBuiltBlake2s } from '../../lib/wireguard/built-blake2s.ts'
import { wasmAead } from '../../lib/wireguard/wasm-aead.ts'
import { MAX_WASM_BLAKE2S_BYTES, wasmBlake2s } from '../../lib/wireguard/wasm-blake2s.ts'
import { Random, testSeed } from '../support/random.ts'
import { Network, packetBetween } from '../support/wireguard-network.ts'

const random = new Random(testSeed('wireguard-wasm'))
const hex = (value: Uint8Array): string => Buffer.from(value).toString('hex')
let wasm: AeadFactory
let hash: Blake2s

beforeAll(() => {
  const directory = mkdtempSync(join(tmpdir(), 'nearcast-wasm-'))
  try {
    execFileSync(process.execPath, ['scripts/wasm.mjs', directory], { stdio: 'inherit' })
    const binary = (name: string): Uint8Array<ArrayBuffer> => new Uint8Array(readFileSync(join(directory, `lib/wireguard/${name}.wasm`)))
    wasm = wasmAead(binary('chacha20-poly1305'))
    hash = wasmBlake2s(binary('blake2s'))
  } finally {
    rmSync(directory, { recursive: true })
  }
}, 60_000)

afterEach(() => preferBlake2s(null))

/** Every length around the blocks of both algorithms, then some of any. */
const lengths = [...Array.from({ length: 530 }, (_, index) => index), ...Array.from({ length: 150 }, () => random.below(2_000)), 9_000, 65_519, 65_535]

test('it seals as Node and @noble do, opens what they sealed, and finds every changed bit', () => {
  for (const length of lengths) {
    const [key, plain] = [random.bytes(32), random.bytes(length)]
    const counter = random.pick([0, 1, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, random.below(2 ** 31)])
    const [ours, theirs] = [wasm(key), nodeAead(key)]
    const [sealed, expected] = [new Uint8Array(length + 16), new Uint8Array(length + 16)]
    ours.seal(counter, plain, sealed)
    theirs.seal(counter, plain, expected)
    expect(Buffer.compare(sealed, expected), `${length} bytes`).toBe(0)
    if (length < 300) {
      const nonce = new Uint8Array(12)
      new DataView(nonce.buffer).setBigUint64(4, BigInt(counter), true)
      expect(hex(sealed)).toBe(hex(chacha20poly1305(key, nonce).encrypt(plain)))
    }
    const target = new Uint8Array(length)
    expect(ours.open(counter, expected, target)).toBe(true)
    expect(Buffer.compare(target, plain)).toBe(0)
    const bit = random.below(sealed.length * 8)
    sealed[bit >> 3] = (sealed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    const untouched = new Uint8Array(length).fill(7)
    expect(ours.open(counter, sealed, untouched)).toBe(false)
    expect(untouched.every((byte) => byte === 7)).toBe(true)
    ours.close()
    expect(() => ours.seal(0, plain, sealed)).toThrow('zeroed')
  }
  expect(() => wasm(new Uint8Array(31))).toThrow(RangeError)
  expect(() => wasm(new Uint8Array(32)).seal(0, new Uint8Array(65_536), new Uint8Array(65_552))).toThrow(RangeError)
  expect(wasm(new Uint8Array(32)).open(0, new Uint8Array(15), new Uint8Array(0))).toBe(false)
})

test('numbers at the edges of Poly1305: bytes of all ones, keys of all ones and none', () => {
  for (const keyByte of [0, 1, 0x7f, 0x80, 0xff]) {
    for (const byte of [0, 0xff]) {
      for (const length of [1, 15, 16, 17, 64, 255, 256, 4096]) {
        const [key, plain] = [new Uint8Array(32).fill(keyByte), new Uint8Array(length).fill(byte)]
        const [sealed, expected] = [new Uint8Array(length + 16), new Uint8Array(length + 16)]
        wasm(key).seal(0, plain, sealed)
        nodeAead(key).seal(0, plain, expected)
        // Sealed bytes of all ones, too: what Poly1305 sees is the cipher text.
        const ones = new Uint8Array(length)
        wasm(key).open(0, sealed, ones)
        expect(hex(sealed)).toBe(hex(expected))
        const inverse = sealed.subarray(0, length).map((each, index) => each ^ (plain[index] ?? 0) ^ 0xff)
        wasm(key).seal(0, inverse, sealed)
        nodeAead(key).seal(0, inverse, expected)
        expect(hex(sealed)).toBe(hex(expected))
      }
    }
  }
})

test('BLAKE2s: the vectors of RFC 7693, and what ours in TypeScript and @noble give, with and without a key', () => {
  const abc = Buffer.from('abc')
  expect(hex(hash(32, null, [abc]) ?? abc)).toBe('508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982')
  expect(hex(hash(32, null, []) ?? abc)).toBe('69217a3079908094e11121d042354a7c1f55b6482ca1a51e1b250dfd1ed0eef9')
  for (const length of [...Array.from({ length: 330 }, (_, index) => index), 1000, MAX_WASM_BLAKE2S_BYTES - 128]) {
    const input = random.bytes(length)
    const cut = random.below(length + 1)
    const outputBytes = 1 + random.below(32)
    for (const key of [null, random.bytes(1 + random.below(32))]) {
      const ours = hash(outputBytes, key, [input.subarray(0, cut), input.subarray(cut)])
      expect(ours, `${length} bytes`).toEqual(blake2s(outputBytes, key, input))
      expect(ours).toEqual(nobleBlake2s(input, { dkLen: outputBytes, ...(key !== null && { key }) }))
    }
  }
  // Longer than it takes: the one in TypeScript does it, whole.
  const long = random.bytes(MAX_WASM_BLAKE2S_BYTES + 1)
  expect(hash(32, null, [long])).toBeNull()
  preferBlake2s(hash)
  expect(blake2s(32, null, long)).toEqual(nobleBlake2s(long))
  expect(() => blake2s(33, null, abc)).toThrow(RangeError)
  expect(() => blake2s(16, new Uint8Array(0), abc)).toThrow(RangeError)
})

test('engines with either talk with each other', () => {
  preferBlake2s(hash)
  const network = new Network(random)
  const [a, b] = [network.add('a', { aead: wasm }), network.add('b', { aead: nodeAead })]
  network.introduce(a, b)
  for (let count = 0; count < 300; count++) {
    a.engine.send(packetBetween(a, b, random.bytes(random.below(1380))))
    b.engine.send(packetBetween(b, a, random.bytes(random.below(1380))))
    network.run(1_000)
  }
  expect([a.delivered.length, b.delivered.length]).toEqual([300, 300])
})

test('sources that weren’t built use Node’s', () => {
  expect(builtAead()).toEqual({ kind: 'node', aead: nodeAead })
  expect(builtAead()).toBe(builtAead())
  expect(useBuiltBlake2s()).toBe('typescript')
})
