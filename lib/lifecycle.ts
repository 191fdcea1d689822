/**
 * A program's life: starting -> ready -> draining -> stopped. What was started last is stopped first.
 *
 * `stop` is idempotent and ends within `stopTimeoutMs` whatever its parts do: a part that hangs is reported, not waited for.
 */
export type LifecycleState = 'starting' | 'ready' | 'draining' | 'stopped'

type Stop = () => void | Promise<void>

export class Lifecycle {
  #state: LifecycleState = 'starting'
  readonly #parts: { name: string; stop: Stop }[] = []
  readonly #stopTimeoutMs: number
  #stopping: Promise<string[]> | undefined

  constructor(stopTimeoutMs = 5000) {
    this.#stopTimeoutMs = stopTimeoutMs
  }

  get state(): LifecycleState {
    return this.#state
  }

  /** Registers what has just been started. */
  started(name: string, stop: Stop): void {
    this.#parts.push({ name, stop })
  }

  ready(): void {
    if (this.#state === 'starting') this.#state = 'ready'
  }

  /** @returns the names of the parts that failed to stop in time or threw. */
  stop(): Promise<string[]> {
    this.#stopping ??= this.#stopAll()
    return this.#stopping
  }

  async #stopAll(): Promise<string[]> {
    this.#state = 'draining'
    const failed: string[] = []
    for (const part of this.#parts.toReversed()) {
      if (!(await settledInTime(part.stop, this.#stopTimeoutMs))) failed.push(part.name)
    }
    this.#state = 'stopped'
    return failed
  }
}

async function settledInTime(stop: Stop, timeoutMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), timeoutMs)
  })
  try {
    return await Promise.race([Promise.resolve(stop()).then(() => true), late])
  } catch {
    return false
  } finally {
    clearTimeout(timer)
  }
}

/** Runs `stop` once on SIGTERM or SIGINT and ends the process: 0, or 1 when a part failed to stop. */
export function stopOnSignals(lifecycle: Lifecycle, report: (failed: string[]) => void): void {
  const onSignal = (): void => {
    lifecycle.stop().then(
      (failed) => {
        if (failed.length > 0) report(failed)
        process.exit(failed.length > 0 ? 1 : 0)
      },
      () => process.exit(1),
    )
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
}
