/**
 * What one engine takes of the processors, from looks at its clock now and then, and whether it is held back for it: as soon
 * as it has been busy for a moment, until it has been calm for a longer one. Pure, time injected.
 */
export interface Look {
  readonly nowMs: number
  /** Of processors, since the engine began. */
  readonly usedMs: number
}

/** Of one processor, between two looks. */
const BUSY_SHARE = 0.3
const CALM_SHARE = 0.15
/** One busy look is enough, a calm one isn't: whoever asks again and again pauses between. */
const CALM_MS = 1000

export class EngineLoad {
  #last: Look
  #heldSinceMs: number | null = null
  #busyAtMs = 0
  #heldMs = 0

  constructor(first: Look) {
    this.#last = first
  }

  get held(): boolean {
    return this.#heldSinceMs !== null
  }

  /** In all. */
  heldMs(nowMs: number): number {
    return this.#heldMs + (this.#heldSinceMs === null ? 0 : nowMs - this.#heldSinceMs)
  }

  /** @returns what is to be done; null: nothing new. */
  look({ nowMs, usedMs }: Look): 'hold' | 'release' | null {
    const passedMs = nowMs - this.#last.nowMs
    if (passedMs <= 0) return null
    const share = (usedMs - this.#last.usedMs) / passedMs
    this.#last = { nowMs, usedMs }
    if (share > (this.held ? CALM_SHARE : BUSY_SHARE)) this.#busyAtMs = nowMs
    if (!this.held) return share > BUSY_SHARE ? this.#hold(nowMs) : null
    return nowMs - this.#busyAtMs >= CALM_MS ? this.#release(nowMs) : null
  }

  #hold(nowMs: number): 'hold' {
    this.#heldSinceMs = nowMs
    return 'hold'
  }

  #release(nowMs: number): 'release' {
    this.#heldMs = this.heldMs(nowMs)
    this.#heldSinceMs = null
    return 'release'
  }
}
