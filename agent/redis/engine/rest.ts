/**
 * The rest of an engine that nobody uses: its process has ended, its database is there, and the first one who asks ends it.
 * A file says so beyond this agent: a restart, or a reboot, starts only what is used.
 */
import { isLongToLoad } from './append-only-files.ts'
import { asNearcastError } from '../../../lib/errors.ts'
import type { Logger } from '../../../lib/log.ts'
import type { EngineDirectories } from './directory.ts'
import { isResting, lockHolder, noteResting } from './directory.ts'

export interface RestOptions {
  readonly service: string
  readonly directories: EngineDirectories
  readonly log: Logger
}

export class Rest {
  readonly #options: RestOptions
  #resting = false
  /** Asked for while it was resting, or about to: it starts without being called unavailable. */
  #roused = false
  #rouse: (() => void) | null = null
  /** When the file was last seen to load fast, or was left as it is. */
  #tidyAtMs = -Infinity
  #tidying = false

  constructor(options: RestOptions) {
    this.#options = options
  }

  get resting(): boolean {
    return this.#resting
  }

  /**
   * Whether its file has been looked after since it was used last; if not, that begins. `rewrite` makes it load faster; when that
   * fails it rests with the file that it has.
   */
  tidy(usedAtMs: number, rewrite: () => Promise<void>): boolean {
    if (this.#tidyAtMs > usedAtMs) return true
    if (!this.#tidying) void this.#tidyUp(rewrite)
    return false
  }

  async #tidyUp(rewrite: () => Promise<void>): Promise<void> {
    const { service, directories } = this.#options
    this.#tidying = true
    const beganMs = performance.now()
    if (await isLongToLoad(directories.dataOf(service))) await rewrite()
    this.#tidyAtMs = beganMs
    this.#tidying = false
  }

  begin(): void {
    this.#resting = true
  }

  /** Idempotent. */
  end(): void {
    if (!this.#resting) return
    this.#resting = false
    this.#roused = true
    this.#rouse?.()
    this.#rouse = null
  }

  /** It rested when the last agent ended, and nobody has started it since. */
  goesOn(): boolean {
    const { service, directories } = this.#options
    try {
      if (!directories.has(service)) return false
      const directory = directories.prepare(service)
      this.#resting = isResting(directory) && lockHolder(directory) === null
    } catch {
      // Its first run says why.
    }
    return this.#resting
  }

  /** Until it is ended; at once when it has been already. `stopping`: it goes on with the next agent. @returns whether somebody asked for the engine */
  async over(stopping: AbortSignal): Promise<boolean> {
    if (this.#resting) {
      this.#note(true)
      await new Promise<void>((resolve) => (this.#rouse = resolve))
      if (!stopping.aborted) this.#note(false)
    }
    const roused = this.#roused
    this.#roused = false
    return roused
  }

  #note(resting: boolean): void {
    const { service, directories, log } = this.#options
    try {
      noteResting(directories.prepare(service), resting)
    } catch (error) {
      log.debug({ service, cause: asNearcastError(error).message }, 'the rest could not be noted')
    }
  }
}
