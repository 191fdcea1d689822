/**
 * What is known of one peer: its keys, where it is, its sessions, what waits for one. State and its small moves; the
 * protocol is in handshakes.ts and engine.ts.
 */
import type { Endpoint } from './bind.ts'
import { MIN_INITIATION_GAP_MS } from './constants.ts'
import { CookieJar } from './cookies.ts'
import type { KeyPair, PublicKey } from './keys.ts'
import { NO_PRESHARED_KEY } from './noise.ts'
import type { NoiseState } from './noise.ts'
import type { Session } from './session.ts'
import { isLater } from './tai64n.ts'
import type { Timestamp } from './tai64n.ts'
import { PeerTimers } from './timers.ts'

/** What an operator says of a peer. A member that is left out stays as it is. */
export interface PeerOptions {
  /** 32 bytes; null for none. Counts from the next handshake on. */
  readonly presharedKey?: Uint8Array | null
  /** Where it is until it is heard from elsewhere. */
  readonly endpoint?: Endpoint
  /** `fdaa:0:1::/48`, `192.0.2.1`: where packets to these go, and the only sources it may use. Replaces those before. */
  readonly allowedIps?: readonly string[]
  /** Seconds, 0 for none: keeps the way through a NAT open. */
  readonly persistentKeepaliveSeconds?: number
}

/** An initiation of ours that is under way. */
export interface PendingHandshake {
  readonly localIndex: number
  readonly state: NoiseState
  readonly ephemeral: KeyPair
}

export class Peer {
  readonly publicKey: PublicKey
  presharedKey: Uint8Array = NO_PRESHARED_KEY
  endpoint: Endpoint | null = null
  /** What both static keys agree on, once it was needed. */
  shared: Uint8Array | null = null
  pending: PendingHandshake | null = null
  current: Session | null = null
  previous: Session | null = null
  next: Session | null = null
  waiting: Uint8Array[] = []
  lastInitiationSentMs = -Infinity
  lastTimestampSent: Timestamp | null = null
  /** A session was renewed late, because only the other side sends. Once is enough. */
  isRenewedLate = false
  receivedBytes = 0
  sentBytes = 0
  lastHandshakeWallMs: number | null = null
  readonly #jitterMs: () => number
  #cookies: CookieJar | null = null
  #timers: PeerTimers | null = null
  #lastTimestampSeen: Timestamp | null = null
  #lastInitiationSeenMs = -Infinity

  constructor(publicKey: PublicKey, jitterMs: () => number) {
    this.publicKey = publicKey
    this.#jitterMs = jitterMs
  }

  /** Made when something happens: most peers of a gateway are silent. */
  get timers(): PeerTimers {
    this.#timers ??= new PeerTimers(this.#jitterMs)
    return this.#timers
  }

  /** Likewise. */
  get cookies(): CookieJar {
    this.#cookies ??= new CookieJar(this.publicKey)
    return this.#cookies
  }

  forgetCookies(): void {
    this.#cookies?.forget()
    this.#cookies = null
  }

  get deadlineMs(): number {
    return this.#timers?.deadlineMs ?? Infinity
  }

  /** @returns null when the keys agree on nothing: this peer can't be talked to. */
  agree(local: KeyPair): Uint8Array | null {
    this.shared ??= local.agree(this.publicKey)
    return this.shared
  }

  /** An authentic initiation came: @returns whether it is a new one, and not too soon. */
  acceptTimestamp(timestamp: Timestamp, nowMs: number): boolean {
    if (this.#lastTimestampSeen !== null && !isLater(timestamp, this.#lastTimestampSeen)) return false
    if (nowMs - this.#lastInitiationSeenMs < MIN_INITIATION_GAP_MS) return false
    this.#lastTimestampSeen = Uint8Array.from(timestamp)
    this.#lastInitiationSeenMs = nowMs
    return true
  }

  /** The other side answered us: the session may be used at once. @returns the sessions that are over */
  beginAsInitiator(session: Session): (Session | null)[] {
    const over = this.next === null ? [this.previous] : [this.previous, this.current]
    this.previous = this.next ?? this.current
    this.next = null
    this.current = session
    return over
  }

  /**
   * We answered the other side: the session is used once the other side has used it. Until then it may use any that it has,
   * so none but an earlier answer ends. @returns the session that is over
   */
  beginAsResponder(session: Session): Session | null {
    const over = this.next
    this.next = session
    return over
  }

  /** The other side used the session that it made. @returns the session that is over */
  confirm(session: Session): Session | null {
    const over = this.previous
    this.previous = this.current
    this.current = session
    this.next = null
    return over
  }
}

export interface PeerContact {
  /** Sealed, of authentic datagrams. */
  readonly receivedBytes: number
  readonly hasSession: boolean
}

export interface PeerStatus extends PeerContact {
  readonly publicKey: string
  readonly endpoint: Endpoint | null
  readonly allowedIps: readonly string[]
  readonly sentBytes: number
  /** Milliseconds since 1970, null for none yet. */
  readonly lastHandshakeMs: number | null
}
