/**
 * The agent's side of replay protection: sessions and their windows. Pure: time comes in, nothing goes out.
 *
 * A session is a random challenge that the agent made, so no clock is compared and an agent's restart forgets them all.
 * A dialer may hold a few at once (a process that is being replaced, a broken connection that is being reopened): each
 * ends `lingerMs` after its connection closed, or when the same dialer opens more than `maxPerDialer`.
 * All is bounded: sessions by `maxSessions`, windows by `maxWorkers` a session (1 KiB each).
 */
import { randomBytes } from 'node:crypto'
import type { HopConnection } from './header.ts'
import { SESSION_BYTES } from './protocol.ts'
import { ReplayWindow } from './replay-window.ts'

export interface HopSessionsOptions {
  /** Default 4096. */
  readonly maxSessions?: number
  /** Default 4. */
  readonly maxPerDialer?: number
  /** Data workers a dialer may number its headers with. Default 128. */
  readonly maxWorkers?: number
  /** Default 60,000. */
  readonly lingerMs?: number
  readonly random?: (bytes: number) => Uint8Array
}

interface Session {
  readonly dialer: string
  readonly id: Uint8Array
  readonly windows: Map<number, ReplayWindow>
  /** null while its connection is open. */
  closedAtMs: number | null
}

export type SessionVerdict = 'ok' | 'unknown-session' | 'replayed'

export class HopSessions {
  readonly #options: Required<HopSessionsOptions>
  /** By hex id, the oldest first. */
  readonly #sessions = new Map<string, Session>()

  constructor(options: HopSessionsOptions = {}) {
    this.#options = { maxSessions: 4096, maxPerDialer: 4, maxWorkers: 128, lingerMs: 60_000, random: randomBytes, ...options }
  }

  get size(): number {
    return this.#sessions.size
  }

  /** `dialer` must have been authenticated (certificate or peer credentials). @returns the challenge, 16 bytes. */
  open(dialer: string, nowMs: number): Uint8Array {
    this.#expire(nowMs)
    const own = [...this.#sessions.values()].filter((session) => session.dialer === dialer)
    if (own.length >= this.#options.maxPerDialer) this.#drop(own)
    if (this.#sessions.size >= this.#options.maxSessions) this.#drop([...this.#sessions.values()])
    const id = Uint8Array.from(this.#options.random(SESSION_BYTES))
    this.#sessions.set(keyOf(id), { dialer, id, windows: new Map(), closedAtMs: null })
    return id
  }

  /** Its connection has closed: headers under way are still accepted for `lingerMs`. Idempotent. */
  close(session: Uint8Array, nowMs: number): void {
    const found = this.#sessions.get(keyOf(session))
    if (found !== undefined) found.closedAtMs ??= nowMs
  }

  /** Ends all sessions of a dialer that was revoked. */
  revoke(dialer: string): void {
    for (const [key, session] of this.#sessions) if (session.dialer === dialer) this.#sessions.delete(key)
  }

  /** Ask only after verifyConnection: it uses the counter up. `replayed` also when a dialer names too many workers. */
  check(connection: Pick<HopConnection, 'dialer' | 'session' | 'worker' | 'counter'>, nowMs: number): SessionVerdict {
    const key = keyOf(connection.session)
    const session = this.#sessions.get(key)
    if (session === undefined || session.dialer !== connection.dialer) return 'unknown-session'
    if (this.#expired(session, nowMs)) {
      this.#sessions.delete(key)
      return 'unknown-session'
    }
    let window = session.windows.get(connection.worker)
    if (window === undefined) {
      if (session.windows.size >= this.#options.maxWorkers) return 'replayed'
      window = new ReplayWindow()
      session.windows.set(connection.worker, window)
    }
    return window.accept(connection.counter) ? 'ok' : 'replayed'
  }

  /** The one that is missed least: the longest closed, else the oldest. */
  #drop(candidates: readonly Session[]): void {
    const closed = candidates.filter((session) => session.closedAtMs !== null)
    const [victim] = closed.length > 0 ? closed.toSorted((a, b) => (a.closedAtMs ?? 0) - (b.closedAtMs ?? 0)) : candidates
    if (victim !== undefined) this.#sessions.delete(keyOf(victim.id))
  }

  #expire(nowMs: number): void {
    for (const [key, session] of this.#sessions) if (this.#expired(session, nowMs)) this.#sessions.delete(key)
  }

  #expired(session: Session, nowMs: number): boolean {
    return session.closedAtMs !== null && nowMs - session.closedAtMs >= this.#options.lingerMs
  }
}

function keyOf(session: Uint8Array): string {
  return Buffer.from(session).toString('hex')
}
