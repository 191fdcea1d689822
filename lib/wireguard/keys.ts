/**
 * Curve25519 keys (RFC 7748): pairs, other people's public keys, and what two of them agree on. Text is base64, as every
 * WireGuard tool prints it.
 *
 * The raw bytes of a private key are zeroed as soon as Node has it; the copy inside of Node goes when nobody refers to it
 * any more, and OpenSSL cleanses it then.
 */
import { createPrivateKey, createPublicKey, diffieHellman, timingSafeEqual } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { NearcastError } from '../errors.ts'
import { KEY_BYTES } from './constants.ts'

/** DER: what stands before the 32 bytes (RFC 8410). */
const PRIVATE_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex')

/** @throws NearcastError wireguard.key-invalid */
export function decodeKey(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(Buffer.from(text, 'base64'))
  if (bytes.length !== KEY_BYTES || encodeKey(bytes) !== text) throw invalid()
  return bytes
}

export function encodeKey(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

function invalid(): NearcastError {
  return new NearcastError('wireguard.key-invalid', 'A WireGuard key is 32 bytes, written as 44 characters of base64 ("wg genkey" makes one).', { side: 'client' })
}

/** Somebody's public key, in the forms that were used: a gateway has many keys, most of them only as text. */
export class PublicKey {
  #text: string | null = null
  #bytes: Uint8Array | null = null
  #object: KeyObject | null = null

  /** 32 bytes, or base64. @throws NearcastError wireguard.key-invalid */
  constructor(key: Uint8Array | string) {
    if (typeof key === 'string') {
      decodeKey(key)
      this.#text = key
    } else {
      if (key.length !== KEY_BYTES) throw invalid()
      this.#bytes = Uint8Array.from(key)
    }
  }

  /** Base64. */
  get text(): string {
    this.#text ??= encodeKey(this.bytes)
    return this.#text
  }

  /** Treat as immutable. */
  get bytes(): Uint8Array {
    this.#bytes ??= decodeKey(this.#text ?? '')
    return this.#bytes
  }

  get object(): KeyObject {
    this.#object ??= publicObject(this.bytes)
    return this.#object
  }

  /** Gives memory back; the next use takes it again. */
  rest(): void {
    this.#text ??= encodeKey(this.bytes)
    this.#bytes = null
    this.#object = null
  }
}

function publicObject(bytes: Uint8Array): KeyObject {
  // The quickest of the forms that every Node takes; there is nothing secret in it.
  return createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x: Buffer.from(bytes.buffer, bytes.byteOffset, KEY_BYTES).toString('base64url') }, format: 'jwk' })
}

export class KeyPair {
  readonly publicKey: PublicKey
  readonly #object: KeyObject

  private constructor(object: KeyObject) {
    this.#object = object
    const { x = '' } = createPublicKey(object).export({ format: 'jwk' })
    this.publicKey = new PublicKey(Buffer.from(x, 'base64url'))
  }

  /** `bytes` is zeroed: it belongs to the pair from here on. @throws NearcastError wireguard.key-invalid */
  static fromPrivate(bytes: Uint8Array): KeyPair {
    if (bytes.length !== KEY_BYTES) throw invalid()
    const der = Buffer.concat([PRIVATE_PREFIX, bytes])
    try {
      return new KeyPair(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }))
    } finally {
      der.fill(0)
      bytes.fill(0)
    }
  }

  /** @returns what both sides know, or null for a key that isn't one (low order): nothing may be built on that. */
  agree(other: PublicKey): Uint8Array<ArrayBuffer> | null {
    try {
      const shared = diffieHellman({ privateKey: this.#object, publicKey: other.object })
      const copy = new Uint8Array(shared)
      shared.fill(0)
      return copy.some((byte) => byte !== 0) ? copy : null
    } catch {
      return null
    }
  }
}

/** A new private key: 32 random bytes, clamped as "wg genkey" does. */
export function clampPrivate(random: Uint8Array): Uint8Array {
  random[0] = (random[0] ?? 0) & 248
  random[31] = ((random[31] ?? 0) & 127) | 64
  return random
}

/** In constant time for equal lengths. */
export function equalSecret(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && timingSafeEqual(left, right)
}
