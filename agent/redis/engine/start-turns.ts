/**
 * Turns for starting engines: so many at a time. Many that start at once (after a reboot, all of them) would only slow each
 * other and the agent down; in turn the first ones are there long before the last ones, and all no later. Next is who ranks
 * highest when a turn is free, among equals who came first.
 */
import { availableParallelism } from 'node:os'

/** A start that takes longer gives its turn away and goes on: one that has to load much must not hold up the others. */
const LONGEST_TURN_MS = 500

interface Waiting {
  readonly rank: () => number
  readonly go: () => void
}

export class StartTurns {
  readonly #atOnce: number
  readonly #waiting = new Set<Waiting>()
  #taken = 0

  constructor(atOnce = 2 * availableParallelism()) {
    this.#atOnce = atOnce
  }

  /** Resolves when it is one's turn. `rank` is asked each time that a turn is free. @returns gives it back; idempotent */
  async take(rank: () => number): Promise<() => void> {
    if (this.#taken >= this.#atOnce) await new Promise<void>((go) => this.#waiting.add({ rank, go }))
    else this.#taken++
    let over = false
    const done = (): void => {
      if (over) return
      over = true
      clearTimeout(timer)
      this.#next()
    }
    const timer = setTimeout(done, LONGEST_TURN_MS)
    return done
  }

  #next(): void {
    let [first, highest] = [null as Waiting | null, -Infinity]
    for (const waiting of this.#waiting) {
      const rank = waiting.rank()
      if (rank > highest) [first, highest] = [waiting, rank]
    }
    if (first === null) {
      this.#taken--
      return
    }
    this.#waiting.delete(first)
    first.go()
  }
}
