/** The cipher in WebAssembly, compiled here as `npm run build` does it, against Node's and @noble, and under an engine. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chacha20poly1305 } from '@noble/ciphers/chacha.js'
import { beforeAll, expect, test } from 'vitest'
import { nodeAead } from '../../lib/wireguard/aead.ts'
import type { AeadFactory } from '../../lib/wireguard/aead.ts'
import { builtAead } from '../../lib/wireguard/built-aead.ts'
import { wasmAead } from '../../lib/wireguard/wasm-aead.ts'
import { Random, testSeed } from '../support/random.ts'
import { Network, packetBetween } from '../support/wireguard-network.ts'

const random = new Random(testSeed('wireguard-wasm'))
const hex = (value: Uint8Array): string => Buffer.from(value).toString('hex')
let wasm: AeadFactory

beforeAll(() => {
  const directory = mkdtempSync(join(tmpdir(), 'nearcast-wasm-'))
  try {
    execFileSync(process.execPath, ['scripts/wasm.mjs', directory], { stdio: 'inherit' })
    wasm = wasmAead(new Uint8Array(readFileSync(join(directory, 'lib/wireguard/chacha20-poly1305.wasm'))))
  } finally {
    rmSync(directory, { recursive: true })
  }
}, 60_000)

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

test('engines with either talk with each other', () => {
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
})
