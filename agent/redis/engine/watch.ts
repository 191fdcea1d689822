/**
 * One run of an engine, watched from its first answer to its end. Once it answers it is equipped: it gets its further users,
 * and one that was left all that has changed since. From then on it is looked at once per interval, more often while
 * something is awaited: whether it is well, holds its copy, keeps to its plan, wants to fork. One that is silent for too
 * long is killed: what it acknowledged is in its file.
 *
 * A replica that once had its data stays available without its primary (stale reads are allowed), after a restart too, and
 * so does a database that can't write for a full disk (reads go on, Redis refuses writes).
 */
import type { Reply } from '../resp/reply-decoder.ts'
import { asNearcastError } from '../../../lib/errors.ts'
import type { ErrorCode } from '../../../lib/errors.ts'
import type { EngineSettings } from './configuration.ts'
import type { EngineDirectory } from './directory.ts'
import { copiedFrom, noteCopied } from './directory.ts'
import type { Eviction } from './eviction.ts'
import type { Forks } from './forks.ts'
import type { EngineHealth, Health } from './health.ts'
import { LeftEngine } from './left-engine.ts'
import { EngineProcess } from './process.ts'
import type { EngineRun } from './run.ts'
import type { ScriptTime } from './script-time.ts'
import type { SupervisorOptions } from './supervision.ts'
import { takeOver } from './take-over.ts'
import { setUsers } from './users.ts'

const FIRST_POLL_MS = 4
const LAST_POLL_MS = 64

export interface WatchOptions {
  readonly engine: EngineRun
  readonly directory: EngineDirectory
  /** The agent's connection for this; closed at the end. */
  readonly health: EngineHealth
  readonly around: Pick<SupervisorOptions, 'times' | 'log' | 'adopted' | 'scriptEnded'>
  /** These outlive the run. */
  readonly forks: Forks
  readonly eviction: Eviction
  readonly scriptTime: ScriptTime
  /** As they are now: the specification changes meanwhile. */
  readonly settings: () => EngineSettings
  /** Why no client is sent here although it is well. */
  readonly occupied: () => ErrorCode | null
  /** After every look. */
  readonly looked: (health: Health) => void
  /** `reason` null: clients may be sent here. `answers`: whatever its data, it answers PONG. */
  readonly found: (reason: ErrorCode | null, answers: boolean) => void
}

export class EngineWatch {
  readonly #options: WatchOptions
  #ending = false
  #equipped = false
  /** A replica has, or once had, what its primary held. */
  #copied: boolean
  #linked: boolean | null = null
  #answers = false
  #hasAnswered = false
  #silentMs = 0
  #wake: (() => void) | null = null
  /** Of a starting engine, since the last look at it. */
  #heard = false

  constructor(options: WatchOptions) {
    const { engine, directory, eviction, settings } = options
    const { primary } = settings().specification
    this.#options = options
    this.#copied = primary !== null && copiedFrom(directory) === primary
    eviction.reset()
    void engine.exited.then(() => this.wake())
    // What a starting engine says comes with its steps: there is no waiting for the next look then.
    if (engine instanceof EngineProcess) engine.heard = () => this.#hear()
  }

  /** A replica follows its primary; null: not asked yet, or no replica. */
  get linked(): boolean | null {
    return this.#linked
  }

  /** Once, in this run; loading is no answer. */
  get hasAnswered(): boolean {
    return this.#hasAnswered
  }

  /** The next look comes at once. */
  wake(): void {
    this.#wake?.()
  }

  /** The engine is being ended on purpose: nothing more is done with it. */
  end(): void {
    this.#ending = true
    this.wake()
  }

  /** On the connection of the looks; null: it didn't answer. */
  ask(commands: readonly (readonly string[])[]): Promise<readonly Reply[] | null> {
    return this.#options.health.ask(commands)
  }

  /** Looks until the process ends or `end`. @returns 'to be replaced': one that was left, and can't be taken over. Never rejects. */
  async over(): Promise<'over' | 'to be replaced'> {
    const { engine, health, forks, around } = this.#options
    let pollMs = FIRST_POLL_MS
    while (!this.#over) {
      const soon = await this.#look(pollMs)
      pollMs = soon ? Math.min(LAST_POLL_MS, pollMs * 2) : around.times.healthIntervalMs
      if (!this.#over && !this.#heard) await this.#pause(pollMs)
      this.#heard = false
    }
    health.close()
    forks.reset()
    this.#linked = null
    // Found while it was ending, or replaced: no failure of this agent's.
    return !this.#equipped && engine instanceof LeftEngine ? 'to be replaced' : 'over'
  }

  get #over(): boolean {
    return this.#ending || this.#options.engine.over
  }

  /** @returns whether something is awaited */
  async #look(pollMs: number): Promise<boolean> {
    const { health, forks, around, settings, occupied, looked, found } = this.#options
    const replica = settings().specification.primary !== null
    const beganMs = performance.now()
    const seen = await health.check(replica)
    const usable = seen.state === 'well' && !seen.busy
    if (!this.#equipped && (usable || health.refused)) this.#equipped = await this.#equip()
    if (this.#over) return false
    if (seen.linked !== null) this.#linked = seen.linked
    looked(seen)
    await this.#keepPlan(seen)
    this.#noteCopy(seen)
    // This process may have stood still itself: a check counts for no more than it may take.
    this.#silentMs = seen.state === 'not-answering' ? this.#silentMs + pollMs + Math.min(performance.now() - beganMs, 2 * around.times.healthIntervalMs) : 0
    if (this.#silentMs > around.times.silentTimeoutMs) this.#killSilent()
    this.#copied ||= seen.linked === true
    const reason = this.#equipped ? (occupied() ?? reasonOf(seen, !replica || this.#copied)) : 'redis.starting'
    // An engine that has never answered since it started keeps the reason for which it was started.
    const silent = reason === 'redis.not-answering' && !this.#answers
    this.#answers = seen.state === 'well'
    this.#hasAnswered ||= this.#answers
    if (!silent) found(reason, this.#answers)
    // Clients that wait for it are on their way by now.
    if (this.#equipped && usable) await forks.look(health)
    return reason !== null || forks.soon
  }

  /** @returns false: not yet */
  async #equip(): Promise<boolean> {
    const { engine, health, around, settings } = this.#options
    const { times, log, adopted } = around
    const { specification } = settings()
    if (!(engine instanceof LeftEngine)) return setUsers(health, specification, [], log)
    const { service } = specification
    const taken = await takeOver(health, settings())
    if (typeof taken === 'string') {
      if (this.#over) return false
      log.info({ service, pid: engine.pid, why: taken }, 'an engine that was left is replaced')
      this.#ending = true
      void engine.stop(times.stopTimeoutMs)
      return false
    }
    if (!(await setUsers(health, settings().specification, taken.users, log))) return false
    log.info({ service, pid: engine.pid }, 'an engine that was left goes on')
    adopted(service)
    return true
  }

  /** Written when it changes; what couldn't be written is tried with the next check. */
  #noteCopy({ kept }: Health): void {
    const { directory, around, settings } = this.#options
    const { service, primary } = settings().specification
    if (primary !== null && !kept) return
    try {
      if (copiedFrom(directory) !== primary) noteCopied(directory, primary)
    } catch (error) {
      around.log.debug({ service, cause: asNearcastError(error).message }, 'the copy could not be noted')
    }
  }

  async #keepPlan({ busy }: Health): Promise<void> {
    const { engine, health, eviction, scriptTime, around, settings } = this.#options
    const { service, limits, eviction: evicts } = settings().specification
    if (evicts) await eviction.look(health)
    if (limits.scriptMs === undefined) return
    const ended = await scriptTime.end(health, busy, () => engine.kill())
    if (ended === null) return
    around.log.warn({ service, scriptMs: limits.scriptMs, ended }, 'a script ran for longer than the plan of its database allows')
    around.scriptEnded(service)
  }

  #killSilent(): void {
    const { engine, around, settings } = this.#options
    const { service } = settings().specification
    around.log.error({ service, code: 'redis.not-answering', silentMs: Math.round(this.#silentMs) }, 'the engine is silent and is killed')
    engine.kill()
  }

  #hear(): void {
    if (this.#answers) return
    this.#heard = true
    this.wake()
  }

  async #pause(timeoutMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, timeoutMs)
    this.#wake = resolve
    await promise
    this.#wake = null
    clearTimeout(timer)
  }
}

function reasonOf({ state }: Health, copied: boolean): ErrorCode | null {
  if (state === 'loading') return 'redis.loading'
  if (state === 'not-answering') return 'redis.not-answering'
  return copied ? null : 'replica.syncing'
}
