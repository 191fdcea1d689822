/**
 * How long a closing endpoint waits for its peer: one that has been flushed may take this long to end too; one that takes
 * nothing of what is queued is given up later.
 */
const LINGER_MS = 5000
/** After so many times LINGER_MS without progress. */
const STALLS = 6

export class Lingering {
  readonly #timer: NodeJS.Timeout

  /** `over` is called at most once, unless `stop`ped. */
  constructor(queuedBytes: () => number, over: (how: 'flushed' | 'stalled') => void) {
    let queued = queuedBytes()
    let stalls = 0
    this.#timer = setInterval(() => {
      const before = queued
      queued = queuedBytes()
      stalls = queued === before ? stalls + 1 : 0
      if (before > 0 && stalls < STALLS) return
      this.stop()
      over(before === 0 ? 'flushed' : 'stalled')
    }, LINGER_MS)
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}
