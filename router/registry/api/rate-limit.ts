/** Token buckets, one per caller. Pure; time is injected. A full bucket is forgotten, so the map holds recent callers only. */
import { NearcastError } from '../../../lib/errors.ts'

export interface Rate {
  readonly perSecond: number
  readonly burst: number
}

const SWEEP_AT = 10_000

export class RateLimit {
  readonly #rate: Rate
  readonly #nowMs: () => number
  readonly #buckets = new Map<string, { tokens: number; atMs: number }>()

  constructor(rate: Rate, nowMs: () => number) {
    this.#rate = rate
    this.#nowMs = nowMs
  }

  /** @throws NearcastError api.rate-limited */
  take(caller: string): void {
    const nowMs = this.#nowMs()
    if (this.#buckets.size >= SWEEP_AT) this.#sweep(nowMs)
    const bucket = this.#buckets.get(caller) ?? { tokens: this.#rate.burst, atMs: nowMs }
    const tokens = this.#filled(bucket, nowMs)
    if (tokens < 1) {
      throw new NearcastError('api.rate-limited', `More than ${this.#rate.perSecond} requests a second; slow down and try again.`, { side: 'client', retryable: true })
    }
    this.#buckets.set(caller, { tokens: tokens - 1, atMs: nowMs })
  }

  #filled(bucket: { tokens: number; atMs: number }, nowMs: number): number {
    return Math.min(this.#rate.burst, bucket.tokens + ((nowMs - bucket.atMs) / 1000) * this.#rate.perSecond)
  }

  #sweep(nowMs: number): void {
    for (const [caller, bucket] of this.#buckets) if (this.#filled(bucket, nowMs) >= this.#rate.burst) this.#buckets.delete(caller)
    // Ten thousand callers with half-empty buckets are an attack: start over rather than grow.
    if (this.#buckets.size >= SWEEP_AT) this.#buckets.clear()
  }
}
