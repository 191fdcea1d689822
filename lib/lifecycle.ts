/**
 * A program's life: starting -> ready -> draining -> stopped. What was started last is stopped first.
 *
 * `stop` is idempotent and ends within twice `stopTimeoutMs` whatever its parts do: one after the other for the first
 * `stopTimeoutMs`, then all that remain at once for as long again, so that a part that hangs costs no other its turn.
 * A part that hangs or throws is reported, not waited for.
 */
import { tellServiceManager } from './kernel/service-manager.ts'

export type LifecycleState = 'starting' | 'ready' | 'draining' | 'stopped'

type Stop = () => void | Promise<void>
interface Part {
  readonly name: string
  readonly stop: Stop
}

export class Lifecycle {
  #state: LifecycleState = 'starting'
  readonly #parts: Part[] = []
  readonly #stopTimeoutMs: number
  #stopping: Promise<string[]> | undefined

  constructor(stopTimeoutMs = 5000) {
    this.#stopTimeoutMs = stopTimeoutMs
  }

  get state(): LifecycleState {
    return this.#state
  }

  /** Registers what has just been started. A start that ends after `stop` has begun is stopped too: nothing outlives its program. */
  started(name: string, stop: Stop): void {
    if (this.#state === 'stopped') void settledInTime(stop, this.#stopTimeoutMs)
    else this.#parts.push({ name, stop })
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
    const stopPart = async ({ name, stop }: Part, timeoutMs: number): Promise<void> => {
      if (!(await settledInTime(stop, timeoutMs))) failed.push(name)
    }
    const deadlineMs = performance.now() + this.#stopTimeoutMs
    // Taken one by one: a part may be registered while another is being stopped.
    while (this.#parts.length > 0) {
      const remainingMs = deadlineMs - performance.now()
      if (remainingMs > 0) {
        const last = this.#parts.pop()
        if (last !== undefined) await stopPart(last, remainingMs)
      } else {
        const rest = this.#parts.splice(0).toReversed()
        await Promise.all(rest.map((part) => stopPart(part, this.#stopTimeoutMs)))
      }
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

/** It serves from now on. The service manager is told, and told again when it begins to stop. */
export function announceReady(lifecycle: Lifecycle): void {
  lifecycle.ready()
  tellServiceManager('READY=1')
  // Started last, so stopped first.
  lifecycle.started('service manager', () => void tellServiceManager('STOPPING=1'))
}

/**
 * Runs `stop` once on SIGTERM or SIGINT and ends the process: 0, or 1 when a part failed to stop.
 * @returns tells which of them came first; null: neither has
 */
export function stopOnSignals(lifecycle: Lifecycle, report: (failed: string[]) => void): () => NodeJS.Signals | null {
  let first: NodeJS.Signals | null = null
  const end = async (): Promise<void> => {
    const failed = await lifecycle.stop()
    if (failed.length > 0) report(failed)
    process.exit(failed.length > 0 ? 1 : 0)
  }
  const onSignal = (signal: NodeJS.Signals): void => {
    first ??= signal
    end().catch(() => process.exit(1))
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  return () => first
}
