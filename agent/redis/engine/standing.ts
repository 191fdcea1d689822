/** What is told of an engine, and who waits for a change of that. */
import type { ErrorCode } from '../../../lib/errors.ts'

export class Standing {
  readonly #changed: () => void
  readonly #waiting = new Set<() => void>()
  #reason: ErrorCode | null = 'redis.starting'
  #answers = false

  constructor(changed: () => void) {
    this.#changed = changed
  }

  /** Why clients aren't sent there; null: they are. */
  get reason(): ErrorCode | null {
    return this.#reason
  }

  /** The process answers PONG, whatever its data. */
  get answers(): boolean {
    return this.#answers
  }

  set(reason: ErrorCode | null, answers: boolean): void {
    if (reason === this.#reason && answers === this.#answers) return
    this.#reason = reason
    this.#answers = answers
    for (const resolve of this.#waiting) resolve()
    this.#changed()
  }

  /** Resolves with the next change, or when the time is over. */
  async change(timeoutMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, timeoutMs)
    this.#waiting.add(resolve)
    await promise
    this.#waiting.delete(resolve)
    clearTimeout(timer)
  }
}
