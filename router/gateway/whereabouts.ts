/**
 * At which gateway each peer is, as the gateways tell each other: it is at the one that had its last new session. Pure.
 *
 * A gateway that a peer comes to claims it, under a number that is larger than any it has heard for that peer, and at least
 * its clock. Who hears a larger number believes it; so everybody agrees without a clock that is right, and without an order of
 * messages. A claim is repeated until its hearer says that it heard, and all of them are made again for a gateway that comes
 * back. Who has a peer doesn't say when it leaves: where else it is, only the next one knows.
 */
export interface Claim {
  /** Of the peer, base64. */
  readonly publicKey: string
  /** 48 bits. */
  readonly number: number
}

interface Place {
  /** The gateway's public key; null: here. */
  readonly gateway: string | null
  readonly number: number
}

interface Listener {
  /** Peers that are here, and whose claims it hasn't heard. */
  readonly untold: Set<string>
  nextMs: number
  waitMs: number
}

const MAX_NUMBER = 2 ** 48 - 1
const FIRST_WAIT_MS = 250
const LONGEST_WAIT_MS = 10_000
/** At once: what a socket's buffer takes. */
const CLAIMS_PER_ROUND = 1000

export class Whereabouts {
  readonly #self: string
  readonly #wallMs: () => number
  readonly #places = new Map<string, Place>()
  readonly #listeners = new Map<string, Listener>()

  /** `self`: our own public key. `wallMs`: since 1970. */
  constructor(self: string, wallMs: () => number) {
    this.#self = self
    this.#wallMs = wallMs
  }

  /** A peer has a session here. @returns whether it was elsewhere, or nowhere, before */
  arrive(publicKey: string): boolean {
    const before = this.#places.get(publicKey)
    if (before?.gateway === null) return false
    this.#places.set(publicKey, { gateway: null, number: Math.min(MAX_NUMBER, Math.max(this.#wallMs(), (before?.number ?? 0) + 1)) })
    for (const listener of this.#listeners.values()) {
      listener.untold.add(publicKey)
      soon(listener)
    }
    return true
  }

  /** It isn't here any more, or it is no peer any more. */
  forget(publicKey: string): void {
    this.#places.delete(publicKey)
    for (const { untold } of this.#listeners.values()) untold.delete(publicKey)
  }

  /** The gateway where it is; null: here, or nobody knows. */
  gatewayOf(publicKey: string): string | null {
    return this.#places.get(publicKey)?.gateway ?? null
  }

  /** How many are at other gateways. */
  get elsewhere(): number {
    return [...this.#places.values()].filter(({ gateway }) => gateway !== null).length
  }

  /** A gateway is there, perhaps again: it is told everything. */
  meet(gateway: string): void {
    const untold = new Set([...this.#places].flatMap(([publicKey, place]) => (place.gateway === null ? [publicKey] : [])))
    this.#listeners.set(gateway, { untold, nextMs: 0, waitMs: FIRST_WAIT_MS })
  }

  /** A gateway is none any more. */
  part(gateway: string): void {
    this.#listeners.delete(gateway)
    for (const [publicKey, place] of this.#places) if (place.gateway === gateway) this.#places.delete(publicKey)
  }

  /** A gateway claims a peer. @returns whether it is there now, and was elsewhere before */
  hear(gateway: string, { publicKey, number }: Claim): boolean {
    const place = this.#places.get(publicKey)
    const isNewer = place === undefined || number > place.number || (number === place.number && gateway > (place.gateway ?? this.#self))
    if (isNewer) {
      this.forget(publicKey)
      this.#places.set(publicKey, { gateway, number })
      return place?.gateway !== gateway
    }
    const listener = this.#listeners.get(gateway)
    if (place.gateway === null && listener !== undefined) {
      // It doesn't know that the peer has moved on to us.
      listener.untold.add(publicKey)
      soon(listener)
    }
    return false
  }

  /** A gateway has heard these. */
  heard(gateway: string, claims: Iterable<Claim>): void {
    const listener = this.#listeners.get(gateway)
    if (listener === undefined) return
    for (const { publicKey, number } of claims) if (this.#places.get(publicKey)?.number === number) listener.untold.delete(publicKey)
    // Who hears is told the rest without waiting for long.
    listener.waitMs = FIRST_WAIT_MS
  }

  /** What a gateway is to be told at this moment. `nowMs`: monotonic. */
  due(gateway: string, nowMs: number): Claim[] {
    const listener = this.#listeners.get(gateway)
    if (listener === undefined || listener.untold.size === 0 || nowMs < listener.nextMs) return []
    listener.nextMs = nowMs + listener.waitMs
    listener.waitMs = Math.min(LONGEST_WAIT_MS, 2 * listener.waitMs)
    const claims: Claim[] = []
    for (const publicKey of listener.untold) {
      if (claims.length === CLAIMS_PER_ROUND) break
      claims.push({ publicKey, number: this.#places.get(publicKey)?.number ?? 0 })
    }
    return claims
  }
}

function soon(listener: Listener): void {
  listener.nextMs = 0
  listener.waitMs = FIRST_WAIT_MS
}
