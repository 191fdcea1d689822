/**
 * ChaCha20-Poly1305 (RFC 8439) as WireGuard uses it: a key for one direction, a counter as nonce, nothing beside the
 * packet authenticated on transport. The seam behind which implementations may change; this one is Node's own.
 * XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha), which cookie replies need, is made from it with HChaCha20.
 *
 * Tags are compared by OpenSSL, in constant time. The key is a copy, zeroed by `close`.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { KEY_BYTES, TAG_BYTES } from './constants.ts'

export interface Aead {
  /** Writes the sealed bytes and their tag: `target` has at least 16 bytes more than `plain`. May be the same memory. */
  seal(counter: number, plain: Uint8Array, target: Uint8Array): void
  /** `target` has at least 16 bytes less than `sealed`. @returns false, and nothing of use written, when it is forged */
  open(counter: number, sealed: Uint8Array, target: Uint8Array): boolean
  /** Zeroes the key. Idempotent; nothing is sealed or opened afterwards. */
  close(): void
}

export type AeadFactory = (key: Uint8Array) => Aead

const NAME = 'chacha20-poly1305'
const OPTIONS = { authTagLength: TAG_BYTES }
const NONCE_BYTES = 12

export function sealOnce(key: Uint8Array, nonce: Uint8Array, plain: Uint8Array, beside: Uint8Array): Uint8Array<ArrayBuffer> {
  const cipher = createCipheriv(NAME, key, nonce, OPTIONS)
  cipher.setAAD(beside, { plaintextLength: plain.length })
  const sealed = new Uint8Array(plain.length + TAG_BYTES)
  sealed.set(cipher.update(plain))
  cipher.final()
  sealed.set(cipher.getAuthTag(), plain.length)
  return sealed
}

/** @returns null when it is forged or too short. */
export function openOnce(key: Uint8Array, nonce: Uint8Array, sealed: Uint8Array, beside: Uint8Array): Uint8Array<ArrayBuffer> | null {
  const plainBytes = sealed.length - TAG_BYTES
  if (plainBytes < 0) return null
  const decipher = createDecipheriv(NAME, key, nonce, OPTIONS)
  decipher.setAAD(beside, { plaintextLength: plainBytes })
  decipher.setAuthTag(sealed.subarray(plainBytes))
  const plain = decipher.update(sealed.subarray(0, plainBytes))
  return isAuthentic(decipher) ? new Uint8Array(plain) : null
}

export const ZERO_NONCE = new Uint8Array(NONCE_BYTES)

class NodeAead implements Aead {
  readonly #key: Uint8Array
  readonly #nonce = Buffer.alloc(NONCE_BYTES)
  #isOpen = true

  constructor(key: Uint8Array) {
    if (key.length !== KEY_BYTES) throw new RangeError('A ChaCha20 key has 32 bytes.')
    this.#key = Uint8Array.from(key)
  }

  seal(counter: number, plain: Uint8Array, target: Uint8Array): void {
    const cipher = createCipheriv(NAME, this.#key, this.#nonceOf(counter), OPTIONS)
    const { length } = plain
    target.set(cipher.update(plain))
    cipher.final()
    target.set(cipher.getAuthTag(), length)
  }

  open(counter: number, sealed: Uint8Array, target: Uint8Array): boolean {
    const plainBytes = sealed.length - TAG_BYTES
    if (plainBytes < 0) return false
    const decipher = createDecipheriv(NAME, this.#key, this.#nonceOf(counter), OPTIONS)
    decipher.setAuthTag(sealed.subarray(plainBytes))
    const plain = decipher.update(sealed.subarray(0, plainBytes))
    if (!isAuthentic(decipher)) return false
    target.set(plain)
    return true
  }

  close(): void {
    this.#key.fill(0)
    this.#isOpen = false
  }

  #nonceOf(counter: number): Buffer {
    if (!this.#isOpen) throw new Error('This key has been zeroed.')
    this.#nonce.writeUInt32LE(counter % 0x1_0000_0000, 4)
    this.#nonce.writeUInt32LE(Math.floor(counter / 0x1_0000_0000), 8)
    return this.#nonce
  }
}

/** Behind Node's `final`, which throws for a wrong tag. */
function isAuthentic(decipher: { final(): Buffer }): boolean {
  try {
    decipher.final()
    return true
  } catch {
    return false
  }
}

export const nodeAead: AeadFactory = (key) => new NodeAead(key)
