/**
 * ChaCha20-Poly1305 by WebAssembly (chacha20-poly1305.as): the same seam as Node's, at about a third of its cost for large
 * packets and an eighth for small ones, because no object is made for each. One instance serves all keys of a thread; keys
 * are in its memory during a call only.
 */
import type { Aead, AeadFactory } from './aead.ts'
import { KEY_BYTES, MAX_PACKET_BYTES, TAG_BYTES } from './constants.ts'
import { instantiate } from './wasm-module.ts'

const KEY = 0
const NONCE = 32
const DATA = 512

interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer }
  seal(length: number): void
  open(length: number): number
}

/** `binary`: what `npm run build` makes. @throws where there is no WebAssembly, or none with SIMD */
export function wasmAead(binary: Uint8Array<ArrayBuffer>): AeadFactory {
  const instance = instantiate(binary) as Exports
  const memory = new Uint8Array(instance.memory.buffer)
  const nonce = new DataView(instance.memory.buffer, NONCE, 12)
  return (key) => new WasmAead(key, instance, memory, nonce)
}

class WasmAead implements Aead {
  readonly #key: Uint8Array
  readonly #instance: Exports
  readonly #memory: Uint8Array
  readonly #nonce: DataView
  #isOpen = true

  constructor(key: Uint8Array, instance: Exports, memory: Uint8Array, nonce: DataView) {
    if (key.length !== KEY_BYTES) throw new RangeError('A ChaCha20 key has 32 bytes.')
    this.#key = Uint8Array.from(key)
    this.#instance = instance
    this.#memory = memory
    this.#nonce = nonce
  }

  seal(counter: number, plain: Uint8Array, target: Uint8Array): void {
    const { length } = plain
    this.#put(counter, plain, length)
    this.#instance.seal(length)
    target.set(this.#memory.subarray(DATA, DATA + length + TAG_BYTES))
  }

  open(counter: number, sealed: Uint8Array, target: Uint8Array): boolean {
    const length = sealed.length - TAG_BYTES
    if (length < 0) return false
    this.#put(counter, sealed, length)
    if (this.#instance.open(length) !== 1) return false
    target.set(this.#memory.subarray(DATA, DATA + length))
    return true
  }

  close(): void {
    this.#key.fill(0)
    this.#isOpen = false
  }

  #put(counter: number, bytes: Uint8Array, length: number): void {
    if (!this.#isOpen) throw new Error('This key has been zeroed.')
    if (length > MAX_PACKET_BYTES) throw new RangeError(`A packet has ${MAX_PACKET_BYTES} bytes at most.`)
    this.#memory.set(this.#key, KEY)
    this.#nonce.setUint32(0, 0)
    this.#nonce.setUint32(4, counter % 0x1_0000_0000, true)
    this.#nonce.setUint32(8, Math.floor(counter / 0x1_0000_0000), true)
    this.#memory.set(bytes, DATA)
  }
}
