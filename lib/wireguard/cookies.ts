/**
 * mac1, mac2 and cookies (whitepaper, sections 5.3, 5.4.4 and 5.4.7). Pure: time and randomness are given.
 *
 * `CookieIssuer` is the side that is asked: it checks mac1 always, and under load wants a mac2, which proves that the
 * sender receives at the address it sends from. `CookieJar` is the side that asks, one for each peer.
 */
import { blake2s } from './blake2s.ts'
import { COOKIE_LIFE_MS, KEY_BYTES, MAC_BYTES } from './constants.ts'
import type { Endpoint } from './bind.ts'
import { equalSecret } from './keys.ts'
import type { PublicKey } from './keys.ts'
import { encodeCookieReply, macsOf } from './messages.ts'
import { xOpen, XNONCE_BYTES, xSeal } from './xchacha.ts'

export type RandomBytes = (count: number) => Uint8Array

const LABEL_MAC1 = Buffer.from('mac1----')
const LABEL_COOKIE = Buffer.from('cookie--')

function labelled(label: Uint8Array, key: PublicKey): Uint8Array {
  return blake2s(KEY_BYTES, null, label, key.bytes)
}

export class CookieIssuer {
  readonly #mac1Key: Uint8Array
  readonly #replyKey: Uint8Array
  readonly #random: RandomBytes
  #secret: Uint8Array | null = null
  #secretSinceMs = 0

  constructor(own: PublicKey, random: RandomBytes) {
    this.#mac1Key = labelled(LABEL_MAC1, own)
    this.#replyKey = labelled(LABEL_COOKIE, own)
    this.#random = random
  }

  /** Whether the sender knows our public key. */
  hasMac1(message: Uint8Array): boolean {
    const { body, mac1 } = macsOf(message)
    return equalSecret(blake2s(MAC_BYTES, this.#mac1Key, body), mac1)
  }

  /** Whether the sender has a cookie that we made for this address and port. */
  hasMac2(message: Uint8Array, from: Endpoint, nowMs: number): boolean {
    if (this.#secret === null || nowMs - this.#secretSinceMs >= COOKIE_LIFE_MS) return false
    const { withMac1, mac2 } = macsOf(message)
    return equalSecret(blake2s(MAC_BYTES, this.#cookie(this.#secret, from), withMac1), mac2)
  }

  /** `receiver`: the index that the message's sender chose. */
  reply(message: Uint8Array, receiver: number, from: Endpoint, nowMs: number): Uint8Array {
    if (this.#secret === null || nowMs - this.#secretSinceMs >= COOKIE_LIFE_MS) {
      this.#secret?.fill(0)
      this.#secret = this.#random(KEY_BYTES)
      this.#secretSinceMs = nowMs
    }
    const nonce = this.#random(XNONCE_BYTES)
    return encodeCookieReply(receiver, nonce, xSeal(this.#replyKey, nonce, this.#cookie(this.#secret, from), macsOf(message).mac1))
  }

  close(): void {
    this.#secret?.fill(0)
    this.#secret = null
  }

  #cookie(secret: Uint8Array, from: Endpoint): Uint8Array {
    return blake2s(MAC_BYTES, secret, Buffer.from(`${from.host} ${from.port}`))
  }
}

export class CookieJar {
  readonly #peer: PublicKey
  /** Made when it is needed: most peers of a gateway are silent. */
  #mac1Key: Uint8Array | null = null
  #cookie: Uint8Array | null = null
  #cookieSinceMs = 0
  #lastMac1: Uint8Array | null = null

  constructor(peer: PublicKey) {
    this.#peer = peer
  }

  /** Fills in both macs of an initiation or response. */
  sign(message: Uint8Array, nowMs: number): void {
    const { body, mac1, withMac1, mac2 } = macsOf(message)
    this.#mac1Key ??= labelled(LABEL_MAC1, this.#peer)
    mac1.set(blake2s(MAC_BYTES, this.#mac1Key, body))
    this.#lastMac1 = Uint8Array.from(mac1)
    if (this.#cookie !== null && nowMs - this.#cookieSinceMs < COOKIE_LIFE_MS) mac2.set(blake2s(MAC_BYTES, this.#cookie, withMac1))
  }

  /** @returns false for a reply to nothing that we sent last, or a forged one. */
  accept(nonce: Uint8Array, sealedCookie: Uint8Array, nowMs: number): boolean {
    if (this.#lastMac1 === null) return false
    const cookie = xOpen(labelled(LABEL_COOKIE, this.#peer), nonce, sealedCookie, this.#lastMac1)
    if (cookie === null) return false
    this.#cookie = cookie
    this.#cookieSinceMs = nowMs
    // One answer for one question.
    this.#lastMac1 = null
    return true
  }

  forget(): void {
    this.#cookie?.fill(0)
    this.#cookie = null
    this.#lastMac1 = null
    this.#mac1Key = null
  }
}
