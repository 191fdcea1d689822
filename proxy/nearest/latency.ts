/** A round-trip time, smoothed: an exponentially weighted mean, begun by the first sample. Pure. */

/** Weight of a new sample: a changed link is believed to 76 % after four probes. */
const NEW_SAMPLE_WEIGHT = 0.3

export class Latency {
  #smoothedMs: number | null = null

  /** null until there was a sample. */
  get smoothedMs(): number | null {
    return this.#smoothedMs
  }

  /** Samples that can't be a time (negative, not finite) are ignored. */
  add(sampleMs: number): void {
    if (!Number.isFinite(sampleMs) || sampleMs < 0) return
    this.#smoothedMs = this.#smoothedMs === null ? sampleMs : this.#smoothedMs + (sampleMs - this.#smoothedMs) * NEW_SAMPLE_WEIGHT
  }
}
