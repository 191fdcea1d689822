/**
 * Latencies of the last minute or two: mean and 99th percentile, from counts in buckets that grow by a quarter each, so that
 * a sample costs one addition and no memory. Pure, time injected.
 */
const WINDOW_MS = 60_000
const FIRST_US = 10
const GROWTH = 1.25
const BUCKETS = 72

export interface LatencySummary {
  readonly count: number
  readonly meanMs: number
  /** Within a quarter. */
  readonly p99Ms: number
}

interface Window {
  readonly counts: Uint32Array
  count: number
  sumMs: number
}

export class Latencies {
  readonly #nowMs: () => number
  #present = emptyWindow()
  #before = emptyWindow()
  #beganMs: number

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
    this.#beganMs = nowMs()
  }

  add(ms: number): void {
    this.#turn()
    const bucket = Math.min(BUCKETS - 1, Math.max(0, Math.ceil(Math.log((ms * 1000) / FIRST_US) / Math.log(GROWTH))))
    this.#present.counts[bucket] = (this.#present.counts[bucket] ?? 0) + 1
    this.#present.count++
    this.#present.sumMs += ms
  }

  /** null: there was none. */
  get summary(): LatencySummary | null {
    this.#turn()
    const count = this.#present.count + this.#before.count
    if (count === 0) return null
    let left = Math.ceil(count * 0.99)
    let bucket = 0
    for (; bucket < BUCKETS - 1; bucket++) {
      left -= (this.#present.counts[bucket] ?? 0) + (this.#before.counts[bucket] ?? 0)
      if (left <= 0) break
    }
    return { count, meanMs: (this.#present.sumMs + this.#before.sumMs) / count, p99Ms: (FIRST_US * GROWTH ** bucket) / 1000 }
  }

  #turn(): void {
    const passedMs = this.#nowMs() - this.#beganMs
    if (passedMs < WINDOW_MS) return
    this.#before = passedMs < 2 * WINDOW_MS ? this.#present : emptyWindow()
    this.#present = emptyWindow()
    this.#beganMs = this.#nowMs()
  }
}

function emptyWindow(): Window {
  return { counts: new Uint32Array(BUCKETS), count: 0, sumMs: 0 }
}
