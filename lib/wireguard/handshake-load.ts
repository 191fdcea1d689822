/**
 * When handshakes are too many (whitepaper, section 5.3). Under load an initiation costs its sender a cookie first, and
 * then counts for the address that the cookie proved. Pure.
 */
import { HANDSHAKES_PER_SECOND, LOAD_LASTS_MS, MAX_SOURCES, SOURCE_HANDSHAKE_BURST, SOURCE_HANDSHAKES_PER_SECOND } from './constants.ts'

interface Bucket {
  tokens: number
  atMs: number
}

const TOKEN_MS = 1000 / SOURCE_HANDSHAKES_PER_SECOND

export class HandshakeLoad {
  readonly #perSecond: number
  readonly #sources = new Map<string, Bucket>()
  #windowMs = -Infinity
  #inWindow = 0
  #untilMs = -Infinity

  constructor(perSecond = HANDSHAKES_PER_SECOND) {
    this.#perSecond = perSecond
  }

  /** Counts one message. @returns whether we are under load. */
  isUnder(nowMs: number): boolean {
    if (nowMs - this.#windowMs >= 1000) {
      this.#windowMs = nowMs
      this.#inWindow = 0
    }
    this.#inWindow++
    if (this.#inWindow > this.#perSecond) this.#untilMs = nowMs + LOAD_LASTS_MS
    return nowMs < this.#untilMs
  }

  /** Whether one more from this address may be answered. Only for addresses that are proven: others would fill the table. */
  mayCome(host: string, nowMs: number): boolean {
    const bucket = this.#sources.get(host) ?? { tokens: SOURCE_HANDSHAKE_BURST, atMs: nowMs }
    bucket.tokens = Math.min(SOURCE_HANDSHAKE_BURST, bucket.tokens + (nowMs - bucket.atMs) / TOKEN_MS)
    bucket.atMs = nowMs
    // Behind the others: the first one is the one that was silent for the longest time.
    this.#sources.delete(host)
    this.#sources.set(host, bucket)
    if (this.#sources.size > MAX_SOURCES) {
      const [oldest] = this.#sources.keys()
      if (oldest !== undefined) this.#sources.delete(oldest)
    }
    if (bucket.tokens < 1) return false
    bucket.tokens--
    return true
  }
}
