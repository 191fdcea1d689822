/**
 * What is on its way in one direction of a link: frames with the time at which they arrive, first in, first out. Pure;
 * times are milliseconds of a monotonic clock that the caller reads.
 *
 * Order is kept even when the delay falls. The queue is bounded in bytes: beyond that the newest frame is lost, as at a
 * full port of a real router.
 */
export class DelayQueue {
  readonly #limitBytes: number
  #frames: { readonly frame: Uint8Array; readonly dueMs: number }[] = []
  #head = 0
  #bytes = 0
  #lastDueMs = Number.NEGATIVE_INFINITY
  #dropped = 0

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes
  }

  get dropped(): number {
    return this.#dropped
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Keeps `frame` itself, not a copy. @returns false when it was lost. */
  push(frame: Uint8Array, nowMs: number, delayMs: number): boolean {
    if (this.#bytes + frame.length > this.#limitBytes) {
      this.#dropped++
      return false
    }
    this.#lastDueMs = Math.max(nowMs + delayMs, this.#lastDueMs)
    this.#frames.push({ frame, dueMs: this.#lastDueMs })
    this.#bytes += frame.length
    return true
  }

  /** When the next frame arrives, or null when none is on its way. */
  get nextDueMs(): number | null {
    return this.#frames[this.#head]?.dueMs ?? null
  }

  /** The next frame, once its time has come. */
  take(nowMs: number): Uint8Array | null {
    const next = this.#frames[this.#head]
    if (next === undefined || next.dueMs > nowMs) return null
    this.#head++
    this.#bytes -= next.frame.length
    // Shifting one by one would cost the square of the length.
    if (this.#head > 1024 && this.#head * 2 > this.#frames.length) {
      this.#frames = this.#frames.slice(this.#head)
      this.#head = 0
    }
    if (this.#head === this.#frames.length) {
      this.#frames = []
      this.#head = 0
    }
    return next.frame
  }

  clear(): void {
    this.#frames = []
    this.#head = 0
    this.#bytes = 0
    this.#lastDueMs = Number.NEGATIVE_INFINITY
  }
}
