/**
 * When a peer has to do something by itself (whitepaper, section 6). Pure: what has happened goes in with its time, what
 * is due comes out. Five timers of one peer; each method is an event of the protocol.
 *
 *   retry        an initiation was sent and not answered: send another after 5 s and a bit, for 90 s
 *   keepalive    data came and nothing went since: send an empty packet after 10 s
 *   handshake    data went and nothing came since: make a new session after 15 s and a bit
 *   persistent   nothing came or went: send an empty packet after the interval that the peer was given
 *   forget       the last session is 3 x 180 s old: zero every key
 */
import { FORGET_KEYS_AFTER_MS, KEEPALIVE_TIMEOUT_MS, REKEY_ATTEMPT_MS, REKEY_TIMEOUT_MS } from './constants.ts'

export type Due = 'retry' | 'give-up' | 'keepalive' | 'handshake' | 'forget'

const NEVER = Infinity
const MAX_ATTEMPTS = REKEY_ATTEMPT_MS / REKEY_TIMEOUT_MS

export class PeerTimers {
  readonly #jitterMs: () => number
  #retryMs = NEVER
  #keepaliveMs = NEVER
  #handshakeMs = NEVER
  #persistentMs = NEVER
  #forgetMs = NEVER
  #attempts = 0
  /** Data came while a keepalive was due already: another one follows it. */
  #anotherKeepalive = false
  #persistentIntervalMs = 0

  constructor(jitterMs: () => number) {
    this.#jitterMs = jitterMs
  }

  /** When `due` has something to say next; Infinity for never. */
  get deadlineMs(): number {
    return Math.min(this.#retryMs, this.#keepaliveMs, this.#handshakeMs, this.#persistentMs, this.#forgetMs)
  }

  /** 0 turns it off. */
  setPersistent(intervalMs: number, nowMs: number): void {
    this.#persistentIntervalMs = intervalMs
    this.#persistentMs = intervalMs > 0 ? nowMs + intervalMs : NEVER
  }

  /** Somebody wants a session: trying starts afresh. */
  handshakeWanted(): void {
    this.#attempts = 0
  }

  initiationSent(nowMs: number): void {
    this.#retryMs = nowMs + REKEY_TIMEOUT_MS + this.#jitterMs()
    this.packetSent(nowMs)
  }

  /** Both sides know that the session stands. */
  handshakeComplete(): void {
    this.#retryMs = NEVER
    this.#attempts = 0
  }

  /** The keys of a session were made. */
  sessionMade(nowMs: number): void {
    this.#forgetMs = nowMs + FORGET_KEYS_AFTER_MS
  }

  /** Anything that the peer can authenticate. */
  packetSent(nowMs: number): void {
    this.#keepaliveMs = NEVER
    this.#traversed(nowMs)
  }

  /** A packet with something in it. */
  dataSent(nowMs: number): void {
    if (this.#handshakeMs === NEVER) this.#handshakeMs = nowMs + KEEPALIVE_TIMEOUT_MS + REKEY_TIMEOUT_MS + this.#jitterMs()
  }

  /** Anything authentic. */
  packetReceived(nowMs: number): void {
    this.#handshakeMs = NEVER
    this.#traversed(nowMs)
  }

  dataReceived(nowMs: number): void {
    if (this.#keepaliveMs === NEVER) this.#keepaliveMs = nowMs + KEEPALIVE_TIMEOUT_MS
    else this.#anotherKeepalive = true
  }

  /** What is to be done now, in this order. Persistent keepalives are `keepalive`, too. */
  due(nowMs: number): Due[] {
    const due: Due[] = []
    if (this.#retryMs <= nowMs) due.push(this.#retry(nowMs))
    if (this.#keepaliveMs <= nowMs) {
      this.#keepaliveMs = this.#anotherKeepalive ? nowMs + KEEPALIVE_TIMEOUT_MS : NEVER
      this.#anotherKeepalive = false
      due.push('keepalive')
    }
    if (this.#handshakeMs <= nowMs) {
      this.#handshakeMs = NEVER
      due.push('handshake')
    }
    if (this.#persistentMs <= nowMs) {
      this.#traversed(nowMs)
      if (!due.includes('keepalive')) due.push('keepalive')
    }
    if (this.#forgetMs <= nowMs) {
      this.#forgetMs = NEVER
      due.push('forget')
    }
    return due
  }

  /** Nothing is due any more but the persistent keepalive. */
  reset(): void {
    this.#retryMs = NEVER
    this.#keepaliveMs = NEVER
    this.#handshakeMs = NEVER
    this.#forgetMs = NEVER
    this.#attempts = 0
    this.#anotherKeepalive = false
  }

  #retry(nowMs: number): Due {
    this.#retryMs = NEVER
    this.#attempts++
    if (this.#attempts <= MAX_ATTEMPTS) return 'retry'
    this.#keepaliveMs = NEVER
    if (this.#forgetMs === NEVER) this.#forgetMs = nowMs + FORGET_KEYS_AFTER_MS
    return 'give-up'
  }

  #traversed(nowMs: number): void {
    if (this.#persistentIntervalMs > 0) this.#persistentMs = nowMs + this.#persistentIntervalMs
  }
}
