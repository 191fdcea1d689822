/**
 * The control thread's side of the limit counters: opens accounts, changes their limits and closes them. A closed account
 * is given out again only once nobody is in it.
 */
import { NearcastError } from '../../lib/errors.ts'
import { ACCOUNT, ACCOUNT_WORDS, MAX_PER_SECOND, momentOf, partOf, usedOf } from './limit-counters.ts'
import type { LimitCountersHandle } from './limit-counters.ts'

/** A member that isn't there is without limit. */
export interface AccountLimits {
  readonly maxConnections?: number | undefined
  readonly connectionsPerSecond?: number | undefined
}

const UNLIMITED = 0x7fff_ffff
const DEFAULT_ACCOUNTS = 2 ** 20

export class LimitAccounts {
  readonly handle: LimitCountersHandle
  readonly #words: Int32Array<SharedArrayBuffer>
  readonly #accounts: number
  /** Closed, the oldest first; some may still have connections. */
  #closed: number[] = []
  #next = 1

  /** Address space for `accounts`; memory for those that are used. */
  constructor(accounts: number = DEFAULT_ACCOUNTS) {
    this.handle = { buffer: new SharedArrayBuffer((accounts + 1) * ACCOUNT_WORDS * 4) }
    this.#words = new Int32Array(this.handle.buffer)
    this.#accounts = accounts
  }

  /** @returns its number. @throws NearcastError table.full */
  open(limits: AccountLimits, nowMs: number): number {
    const empty = this.#closed.findIndex((account) => Atomics.load(this.#words, account * ACCOUNT_WORDS + ACCOUNT.open) === 0)
    const account = empty < 0 ? this.#next : (this.#closed.splice(empty, 1)[0] ?? this.#next)
    if (account > this.#accounts) throw new NearcastError('table.full', `The table of limits has no room for more than ${this.#accounts} accounts; give limits to networks instead of addresses.`)
    if (account === this.#next) this.#next++
    Atomics.store(this.#words, account * ACCOUNT_WORDS + ACCOUNT.perSecond, 0)
    this.change(account, limits, nowMs)
    return account
  }

  /** Whoever is in stays in. What is used up of a second stays used up. */
  change(account: number, { maxConnections = UNLIMITED, connectionsPerSecond = 0 }: AccountLimits, nowMs: number): void {
    const words = this.#words
    const at = account * ACCOUNT_WORDS
    const before = Atomics.load(words, at + ACCOUNT.perSecond)
    const perSecond = Math.min(connectionsPerSecond, MAX_PER_SECOND)
    Atomics.store(words, at + ACCOUNT.maximum, Math.min(maxConnections, UNLIMITED))
    if (perSecond === before) return
    const used = before === 0 ? 0 : usedOf(Atomics.load(words, at + ACCOUNT.usedUntil), momentOf(nowMs, before), before) / (before * partOf(before))
    Atomics.store(words, at + ACCOUNT.perSecond, perSecond)
    if (perSecond > 0) Atomics.store(words, at + ACCOUNT.usedUntil, (momentOf(nowMs, perSecond) + Math.floor(used * perSecond * partOf(perSecond))) | 0)
  }

  /** No route may carry it any longer. */
  close(account: number): void {
    this.#closed.push(account)
  }
}
