/** The last samples of something, for percentiles: a ring of fixed size, the oldest goes first. Pure. */
import type { Distribution } from '../../lib/distribution.ts'
import { distribution } from '../../lib/distribution.ts'

/** Some eight minutes of probes; 2 KiB each. */
const DEFAULT_SIZE = 256

export class SampleWindow {
  readonly #ring: Float64Array
  #added = 0

  constructor(size = DEFAULT_SIZE) {
    this.#ring = new Float64Array(size)
  }

  /** Samples that can't be a time (negative, not finite) are ignored. */
  add(sampleMs: number): void {
    if (!Number.isFinite(sampleMs) || sampleMs < 0) return
    this.#ring[this.#added % this.#ring.length] = sampleMs
    this.#added++
  }

  /** The oldest first. */
  get samples(): number[] {
    const size = this.#ring.length
    if (this.#added <= size) return [...this.#ring.subarray(0, this.#added)]
    const oldest = this.#added % size
    return [...this.#ring.subarray(oldest), ...this.#ring.subarray(0, oldest)]
  }

  /** null until there was a sample. */
  get distribution(): Distribution | null {
    return distribution(this.samples)
  }
}
