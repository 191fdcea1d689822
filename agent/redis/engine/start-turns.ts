/**
 * Turns for starting engines: so many at a time, first come first served. Many that start at once would only slow each
 * other and the agent down; in turn the first ones are there long before the last ones, and all no later.
 */
import { availableParallelism } from 'node:os'

/** A start that takes longer gives its turn away and goes on: one that has to load much must not hold up the others. */
const LONGEST_TURN_MS = 500

export class StartTurns {
  readonly #atOnce: number
  readonly #waiting: (() => void)[] = []
  #taken = 0

  constructor(atOnce = 2 * availableParallelism()) {
    this.#atOnce = atOnce
  }

  /** Resolves when it is one's turn. @returns gives it back; idempotent */
  async take(): Promise<() => void> {
    if (this.#taken >= this.#atOnce) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    else this.#taken++
    let over = false
    const done = (): void => {
      if (over) return
      over = true
      clearTimeout(timer)
      const next = this.#waiting.shift()
      if (next) next()
      else this.#taken--
    }
    const timer = setTimeout(done, LONGEST_TURN_MS)
    return done
  }
}
