/**
 * The agent's end of all sessions: challenges, and what is pushed to dialers (availability per database, load).
 * No socket and no clock in here: the brain of a session's connection asks for the next frames and waits.
 *
 * A dialer that reads slowly gets fewer, newer frames: what is pushed is always the present state, never a queue.
 */
import { encodeAvailability, encodeFrame } from '../lib/hop/frames.ts'
import type { HopSessions } from '../lib/hop/sessions.ts'

interface OpenSession {
  readonly dialer: string
  /** Its serial number; null on a Unix socket. */
  readonly certificate: string | null
  readonly session: Uint8Array
  /** What it has been sent, by identity of the state. */
  availability: Readonly<Record<string, string>>
  load: number
  /** Set while its brain waits. */
  resolve: ((frames: Uint8Array | null) => void) | null
}

export class Sessions {
  readonly #hop: HopSessions
  readonly #nowMs: () => number
  readonly #open = new Map<number, OpenSession>()
  #availability: Readonly<Record<string, string>> = {}
  #load = 0

  constructor(hop: HopSessions, nowMs: () => number) {
    this.#hop = hop
    this.#nowMs = nowMs
  }

  get size(): number {
    return this.#open.size
  }

  /** `id`: the plane's connection. @returns its first frames. */
  open(id: number, dialer: string, certificate: string | null): Uint8Array {
    const session = this.#hop.open(dialer, this.#nowMs())
    this.#open.set(id, { dialer, certificate, session, availability: this.#availability, load: this.#load, resolve: null })
    const challenge = encodeFrame({ type: 'challenge', session: Buffer.from(session).toString('hex') })
    return Buffer.concat([challenge, encodeAvailability(this.#availability), encodeFrame({ type: 'load', connections: this.#load })])
  }

  /** Resolves when this session hasn't seen the present state; null once it is closed. */
  next(id: number): Promise<Uint8Array | null> {
    const open = this.#open.get(id)
    if (open === undefined) return Promise.resolve(null)
    return new Promise((resolve) => {
      open.resolve = resolve
      this.#push(open)
    })
  }

  /** Its connection has ended. Headers signed for it are still accepted for a while (HopSessions). */
  closed(id: number): void {
    const open = this.#open.get(id)
    if (open === undefined) return
    this.#open.delete(id)
    this.#hop.close(open.session, this.#nowMs())
    open.resolve?.(null)
  }

  /** Ends the sessions of dialers that the feed no longer names, or that have joined again since. */
  retain(known: (dialer: string, certificate: string | null) => boolean): void {
    for (const open of this.#open.values()) {
      if (known(open.dialer, open.certificate)) continue
      this.#hop.revoke(open.dialer)
      open.resolve?.(null)
    }
  }

  /** `unavailable`: service -> reason, the whole map, not changed afterwards. */
  publishAvailability(unavailable: Readonly<Record<string, string>>): void {
    this.#availability = unavailable
    for (const open of this.#open.values()) this.#push(open)
  }

  publishLoad(connections: number): void {
    this.#load = connections
    for (const open of this.#open.values()) this.#push(open)
  }

  #push(open: OpenSession): void {
    if (open.resolve === null) return
    const parts: Uint8Array[] = []
    if (open.availability !== this.#availability) parts.push(encodeAvailability(this.#availability))
    if (open.load !== this.#load) parts.push(encodeFrame({ type: 'load', connections: this.#load }))
    if (parts.length === 0) return
    open.availability = this.#availability
    open.load = this.#load
    const { resolve } = open
    open.resolve = null
    resolve(Buffer.concat(parts))
  }
}
