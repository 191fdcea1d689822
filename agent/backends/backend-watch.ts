/**
 * One service's backend as this agent knows it: where it is, whether it may be dialled, and whether it answered the last
 * check. It checks itself at intervals, and at once when a client's connection failed.
 */
import type { ErrorCode } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { CheckedBackend } from './check.ts'

export interface BackendWatchOptions {
  readonly service: string
  readonly backend: CheckedBackend
  /** null when it is well, else how it failed, in words. Never rejects. */
  readonly check: (backend: CheckedBackend, timeoutMs: number, signal: AbortSignal) => Promise<string | null>
  readonly intervalMs: number
  readonly timeoutMs: number
  readonly log: Logger
  /** `reason` is another one. */
  readonly changed: () => void
}

export class BackendWatch {
  readonly #options: BackendWatchOptions
  readonly #stopped = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #checking: Promise<void> | null = null
  #reason: ErrorCode | null = 'service.backend-unchecked'

  constructor(options: BackendWatchOptions) {
    this.#options = options
  }

  get backend(): CheckedBackend {
    return this.#options.backend
  }

  /** null: available. */
  get reason(): ErrorCode | null {
    return this.#reason
  }

  /** Resolves after a check; one that is under way is joined. The next ones follow by themselves. */
  check(): Promise<void> {
    this.#checking ??= this.#check().finally(() => (this.#checking = null))
    return this.#checking
  }

  /** Ends what is under way. Idempotent. */
  stop(): void {
    this.#stopped.abort()
    clearTimeout(this.#timer)
  }

  async #check(): Promise<void> {
    clearTimeout(this.#timer)
    const { check, backend, timeoutMs, intervalMs } = this.#options
    const failure = await check(backend, timeoutMs, this.#stopped.signal)
    if (this.#stopped.signal.aborted) return
    this.#settle(failure)
    this.#timer = setTimeout(() => void this.check(), intervalMs)
    this.#timer.unref()
  }

  #settle(failure: string | null): void {
    const { service, log, changed } = this.#options
    const before = this.#reason
    this.#reason = failure === null ? null : 'service.backend-down'
    if (this.#reason === before) return
    if (failure !== null) log.warn({ service, code: this.#reason, failure }, 'backend does not answer')
    else log.info({ service }, 'backend answers')
    changed()
  }
}
