/**
 * A token bucket: so many per second, at most `capacity` saved up. Taking may go below zero: the debt is paid back before
 * anything else passes, so that the mean holds whatever the size of what was taken. Pure; time is a number.
 */
export class TokenBucket {
  #perSecond: number
  #capacity: number
  #balance: number
  #atMs: number

  constructor(perSecond: number, capacity: number, nowMs: number) {
    this.#perSecond = perSecond
    this.#capacity = capacity
    this.#balance = capacity
    this.#atMs = nowMs
  }

  /** What may be taken now; negative: a debt. */
  balance(nowMs: number): number {
    // A clock that stands still or is read out of order adds nothing.
    const passedMs = Math.max(0, nowMs - this.#atMs)
    this.#balance = Math.min(this.#capacity, this.#balance + (passedMs / 1000) * this.#perSecond)
    this.#atMs = Math.max(this.#atMs, nowMs)
    return this.#balance
  }

  take(amount: number, nowMs: number): void {
    this.#balance = this.balance(nowMs) - amount
  }

  /** Milliseconds until the balance is at least `amount` (0 or more, at most the capacity). */
  msUntil(amount: number, nowMs: number): number {
    return (Math.max(0, amount - this.balance(nowMs)) / this.#perSecond) * 1000
  }

  /** A debt stays; a balance above the new capacity is cut to it. */
  change(perSecond: number, capacity: number, nowMs: number): void {
    this.balance(nowMs)
    this.#perSecond = perSecond
    this.#capacity = capacity
    this.#balance = Math.min(this.#balance, capacity)
  }
}
