/**
 * Accounts of addresses and networks that all data threads count in: open connections up to a maximum, and new ones per
 * second. Exact whoever counts when: an account never has more than its maximum, and nobody's coming or going is lost.
 * Without locks. Accounts are opened, limited and closed by the control thread (limit-accounts.ts); routes carry their
 * numbers. Account 0 is nobody's, and without limits.
 *
 * New connections per second are a GCRA (ITU-T I.371): one word holds the moment until which the account has used up its
 * share, and a connection moves it on by its part of a second, in one compare-and-exchange. A second's worth may come at
 * once. Moments wrap (after 68 minutes at the earliest); an account that has rested for so long may, seldom, be taken for
 * one that has just been used: it errs by a second at most, and never lets more in.
 *
 * Pure: time is a number. It must be of one clock for all threads: process.hrtime, not `performance.now`, which begins with its thread.
 */
export interface LimitCountersHandle {
  readonly buffer: SharedArrayBuffer
}

/** Words of an account. */
export const ACCOUNT = { open: 0, maximum: 1, perSecond: 2, usedUntil: 3 } as const
export const ACCOUNT_WORDS = 4
/** Higher rates count as this one. */
export const MAX_PER_SECOND = 2 ** 20

export type EntryRefusal = 'connections' | 'connections-per-second'

export class LimitCounters {
  readonly #words: Int32Array<SharedArrayBuffer>

  constructor(handle: LimitCountersHandle) {
    this.#words = new Int32Array(handle.buffer)
  }

  /** Counts a connection in both accounts, or in none. @returns null when it is in, else the limit that it met. */
  enter(address: number, network: number, nowMs: number): EntryRefusal | null {
    const refusal = this.#enter(address, nowMs)
    if (refusal !== null) return refusal
    const second = this.#enter(network, nowMs)
    if (second === null) return null
    this.#leave(address)
    this.#giveBack(address)
    return second
  }

  /** Its end, in the same accounts. Once for each that is in. */
  leave(address: number, network: number): void {
    this.#leave(address)
    this.#leave(network)
  }

  open(account: number): number {
    return Atomics.load(this.#words, account * ACCOUNT_WORDS + ACCOUNT.open)
  }

  #enter(account: number, nowMs: number): EntryRefusal | null {
    if (account === 0) return null
    const words = this.#words
    const open = account * ACCOUNT_WORDS + ACCOUNT.open
    const maximum = Atomics.load(words, account * ACCOUNT_WORDS + ACCOUNT.maximum)
    for (let count = Atomics.load(words, open); ; ) {
      if (count >= maximum) return 'connections'
      const before = Atomics.compareExchange(words, open, count, count + 1)
      if (before === count) break
      count = before
    }
    if (this.#take(account, nowMs)) return null
    Atomics.sub(words, open, 1)
    return 'connections-per-second'
  }

  #take(account: number, nowMs: number): boolean {
    const words = this.#words
    const perSecond = Atomics.load(words, account * ACCOUNT_WORDS + ACCOUNT.perSecond)
    if (perSecond === 0) return true
    const part = partOf(perSecond)
    const now = momentOf(nowMs, perSecond)
    const at = account * ACCOUNT_WORDS + ACCOUNT.usedUntil
    for (let until = Atomics.load(words, at); ; ) {
      const used = usedOf(until, now, perSecond)
      if (used > perSecond * part - part) return false
      const before = Atomics.compareExchange(words, at, until, (now + used + part) | 0)
      if (before === until) return true
      until = before
    }
  }

  #giveBack(account: number): void {
    const perSecond = account === 0 ? 0 : Atomics.load(this.#words, account * ACCOUNT_WORDS + ACCOUNT.perSecond)
    if (perSecond > 0) Atomics.sub(this.#words, account * ACCOUNT_WORDS + ACCOUNT.usedUntil, partOf(perSecond))
  }

  #leave(account: number): void {
    if (account !== 0) Atomics.sub(this.#words, account * ACCOUNT_WORDS + ACCOUNT.open, 1)
  }
}

/** One connection's part of a second, in units of which a second has at most 2^20, and exactly `perSecond` parts. */
export function partOf(perSecond: number): number {
  return Math.floor(MAX_PER_SECOND / perSecond)
}

/** A moment in those units, modulo 2^32. */
export function momentOf(nowMs: number, perSecond: number): number {
  return Math.floor((nowMs / 1000) * perSecond * partOf(perSecond)) | 0
}

/** How much of a second is used up, in those units; what can't be (older than the clock goes back) is nothing. */
export function usedOf(until: number, now: number, perSecond: number): number {
  const used = (until - now) | 0
  return used < 0 || used > perSecond * partOf(perSecond) ? 0 : used
}
