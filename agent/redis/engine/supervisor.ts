/**
 * The life of one database's engine: started, watched, started again, stopped.
 *
 *   starting -> up        answers PONG (a replica: and has finished its first copy)
 *   up -> down -> up      crashed or silent: unavailable at once, started again after 100 ms .. 10 s, doubling
 *   up -> resting -> up   ended because nobody used it; started again by the first one who asks
 *   any -> stopped        for good; or left, for the agent after this one
 *
 * Each supervisor minds its own engine: one that crash-loops costs its neighbours nothing. What it publishes is a reason
 * code, or null while clients may be sent here: watch.ts finds it while a process runs. One that an agent before this one
 * has left is taken over as it runs, or replaced where that can't be done.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { CopyContent } from '../copies/copy-source.ts'
import type { Reply } from '../resp/reply-decoder.ts'
import { asNearcastError, NearcastError } from '../../../lib/errors.ts'
import type { ErrorCode } from '../../../lib/errors.ts'
import { REPLICATION_USER } from './acl.ts'
import { changeLimits, limitEngine, limitsOf, removeCgroup, wasEndedForMemory } from './cgroup.ts'
import { engineConfiguration, liveChanges } from './configuration.ts'
import type { EngineSettings } from './configuration.ts'
import type { EngineDirectory } from './directory.ts'
import { Eviction } from './eviction.ts'
import { Forks } from './forks.ts'
import { EngineHealth } from './health.ts'
import type { Health } from './health.ts'
import { LeftEngine } from './left-engine.ts'
import { ownNamespace } from './network-namespace.ts'
import { obtainEngine } from './obtain.ts'
import type { OccupiedEngine } from './occupied.ts'
import { connectAgent } from './occupied.ts'
import { EngineProcess } from './process.ts'
import type { EngineExit, EngineRun } from './run.ts'
import type { EngineSpecification } from './specification.ts'
import { sameSpecification } from './specification.ts'
import { Rest } from './rest.ts'
import { ScriptTime } from './script-time.ts'
import { Standing } from './standing.ts'
import type { OpenBridge, SupervisorOptions } from './supervision.ts'
import { takeCopy } from './take-copy.ts'
import { OldLogins, renewedUsers, setUsers } from './users.ts'
import { EngineWatch } from './watch.ts'

const NO_PORT = 0
/** Checks of health between two looks whether the file should be written anew. */
const FORK_LOOKS = 10
const COPY_READY_MS = 10_000
/** Between the plan that a database had and the one that it has. */
const MOST_MEMORY_TIMES = 1024

export class Supervisor {
  readonly #options: SupervisorOptions
  readonly #stopping = new AbortController()
  readonly #standing: Standing
  #specification: EngineSpecification
  #writesRefused = false
  /** Why no client is sent here although it is well. */
  #occupied: ErrorCode | null = null
  /** Runs that ended since the last long healthy one. */
  #failures = 0
  #socket: string | null = null
  #process: EngineRun | null = null
  #bridge: OpenBridge | null = null
  #watch: EngineWatch | null = null
  #password = ''
  /** An engine of an agent before this one may hold the directory. */
  #mayBeLeft = true
  /** The present run is being ended on purpose. */
  #restarting = false
  #leaving = false
  /** Of the present run, once it has begun. */
  #endTurn: (() => void) | null = null
  #usedAtMs = performance.now()
  /** As much as its plan allows: one that couldn't load with it gets more. */
  #memoryTimes = 1
  /** That wait for it. */
  #clients = 0
  #changing: Promise<void> = Promise.resolve()
  readonly #eviction = new Eviction()
  readonly #scriptTime = new ScriptTime()
  readonly #forks: Forks
  readonly #rest: Rest
  readonly #oldLogins: OldLogins
  #running: Promise<void> | null = null

  constructor(specification: EngineSpecification, options: SupervisorOptions) {
    this.#specification = specification
    this.#options = options
    this.#standing = new Standing(options.changed)
    this.#rest = new Rest({ service: specification.service, directories: options.directories, log: options.log })
    this.#forks = new Forks({ turns: options.forkTurns, lookMs: FORK_LOOKS * options.times.healthIntervalMs, wake: () => this.#watch?.wake() })
    this.#oldLogins = new OldLogins({
      ask: async (commands) => {
        const connection = this.#connection()
        const replies = await connection.ask(commands)
        connection.close()
        return replies
      },
      ended: (connections) => options.loginsEnded(this.#specification.service, connections),
    })
  }

  /** Why clients aren't sent here; null: they are. */
  get reason(): ErrorCode | null {
    return this.#standing.reason
  }

  /** The process answers PONG, whatever its data: replicas and this agent may talk to it. */
  get answers(): boolean {
    return this.#standing.answers
  }

  get specification(): EngineSpecification {
    return this.#specification
  }

  /** Redis refuses writes because its file can't be written. */
  get writesRefused(): boolean {
    return this.#writesRefused
  }

  /** A replica's link to its primary; null for primaries. */
  get linked(): boolean | null {
    return this.#specification.primary === null ? null : this.#watch?.linked === true
  }

  /** Ended because nobody used it. Clients are still sent here: the first one starts it. */
  get resting(): boolean {
    return this.#rest.resting
  }

  /** When somebody asked for it last, by performance.now(). */
  get usedAtMs(): number {
    return this.#usedAtMs
  }

  /** Connections to it are open. */
  touch(): void {
    this.#usedAtMs = performance.now()
  }

  /** Before it rests: whether its file loads fast. If not, that is seen to, and it should be asked again. */
  tidy(): boolean {
    return this.#rest.tidy(this.#usedAtMs, async () => {
      const connection = this.#connection()
      await this.#forks.rewrite(connection)
      connection.close()
    })
  }

  /**
   * Ends the engine of a primary that nobody uses. Everything that it has acknowledged is in its file.
   * @returns false when it isn't well and available, or is a replica.
   */
  rest(): boolean {
    const engine = this.#process
    if (this.#rest.resting || !this.#standing.answers || this.#standing.reason !== null || engine === null || engine.over || this.#specification.primary !== null) return false
    this.#rest.begin()
    this.#restarting = true
    this.#set(null, false)
    this.#watch?.end()
    void engine.stop(this.#options.times.stopTimeoutMs)
    this.#options.log.debug({ service: this.#specification.service }, 'the engine rests: nobody used it')
    return true
  }

  /** The present run was started by an agent before this one. */
  get adopted(): boolean {
    return this.#process instanceof LeftEngine
  }

  get pid(): number | null {
    return this.#process === null || this.#process.over ? null : this.#process.pid
  }

  start(): void {
    this.#running ??= this.#run()
  }

  /** Brings the running engine to another specification; restarts it when it won't take it. */
  change(specification: EngineSpecification): void {
    if (sameSpecification(this.#specification, specification)) return
    const before = this.#specification
    this.#specification = specification
    this.#changing = this.#changing.then(() => this.#applyChange(before)).catch(() => this.#process?.kill())
  }

  /** The path of its socket once clients (or, with `answering`, anybody) may use it; null when that isn't soon. */
  async ready(timeoutMs: number, need: 'available' | 'answering' = 'available'): Promise<string | null> {
    const fine = (): boolean => this.#standing.answers && (need === 'answering' || this.#standing.reason === null)
    this.touch()
    this.#rest.end()
    const deadlineMs = performance.now() + timeoutMs
    this.#clients++
    while (!fine() && this.#failures <= 1 && !this.#stopping.signal.aborted) {
      const leftMs = deadlineMs - performance.now()
      if (leftMs <= 0) break
      await this.#standing.change(leftMs)
    }
    this.#clients--
    return fine() ? this.#socket : null
  }

  /** Waits until the engine answers or its first run has failed. */
  async settled(timeoutMs: number): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs
    while (!this.#standing.answers && !this.#rest.resting && this.#failures === 0 && performance.now() < deadlineMs) await this.#standing.change(deadlineMs - performance.now())
  }

  /** Idempotent. Resolves when the process is gone. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#rest.end()
    this.#set('redis.stopped', false)
    this.#watch?.end()
    if (!this.#leaving) await this.#process?.stop(this.#options.times.stopTimeoutMs)
    await this.#running
  }

  /** As `stop`, but the engine goes on for the next agent. */
  async leave(): Promise<void> {
    this.#leaving = true
    await this.stop()
  }

  /** Among those that wait to be started: whom clients wait for, then the larger plans. */
  get #rank(): number {
    return (this.#clients > 0 ? Number.MAX_SAFE_INTEGER / 2 : 0) + this.#specification.maxMemoryBytes
  }

  async #run(): Promise<void> {
    const { times, log, restarted } = this.#options
    const { service } = this.#specification
    if (this.#specification.primary === null && this.#rest.goesOn()) {
      this.#set(null, false)
      this.#mayBeLeft = false
      await this.#rest.over(this.#stopping.signal)
    }
    while (!this.#stopping.signal.aborted) {
      const startedMs = performance.now()
      const exit = await this.#runOnce()
      if (this.#stopping.signal.aborted) return
      if (this.#restarting) {
        this.#restarting = false
        const available = this.#rest.resting
        const roused = await this.#rest.over(this.#stopping.signal)
        if (!available && !roused) this.#set('redis.starting', false)
        continue
      }
      this.#failures = performance.now() - startedMs > times.backoffMaxMs ? 1 : this.#failures + 1
      this.#set(exit.reason, false)
      const pauseMs = Math.min(times.backoffMaxMs, times.backoffMinMs * 2 ** Math.min(this.#failures - 1, 20))
      log.error({ service, code: exit.reason, failures: this.#failures, pauseMs }, `the engine ended: ${exit.detail}`)
      restarted(service)
      await delay(pauseMs, undefined, { signal: this.#stopping.signal }).catch(() => {})
    }
  }

  /** One process, from its directory to its end. */
  async #runOnce(): Promise<EngineExit> {
    const { directories, times, turns, walls } = this.#options
    const endTurn = await turns.take(() => this.#rank)
    this.#endTurn = endTurn
    try {
      if (this.#stopping.signal.aborted) return { reason: 'redis.stopped', detail: 'it was not started any more' }
      const directory = directories.prepare(this.#specification.service)
      const { engine, password } = await obtainEngine(this.#specification.service, directory, this.#options, this.#mayBeLeft)
      this.#process = engine
      this.#password = password
      try {
        await this.#configure(engine)
        this.#socket = directory.socket
        if (!(await this.#watched(engine, directory))) this.#lookForMemory()
      } catch (error) {
        // One that ended says itself why.
        if (!engine.over) throw error
      } finally {
        if (this.#leaving) engine.leave()
        else {
          await engine.stop(times.stopTimeoutMs)
          if (walls.cgroup !== null) removeCgroup(walls.cgroup, this.#specification.service)
        }
        await this.#closeBridge()
      }
      if (this.#leaving) return { reason: 'redis.stopped', detail: 'it was left running' }
      const exit = await engine.exited
      // Its whole group ended with it, unless somebody else holds its directory.
      this.#mayBeLeft = !(engine instanceof EngineProcess) || exit.reason === 'redis.locked'
      return exit
    } catch (error) {
      const { code, message } = asNearcastError(error)
      const full = error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT')
      return { reason: full ? 'redis.disk-full' : code === 'internal' ? 'redis.crashed' : code, detail: message }
    } finally {
      endTurn()
    }
  }

  /** All that has to be true before it serves; a new one has waited for that. */
  async #configure(engine: EngineRun): Promise<void> {
    const { walls, openBridge } = this.#options
    const specification = this.#specification
    const namespace = walls.network ? await ownNamespace(engine) : null
    if (walls.cgroup !== null) {
      const { memoryBytes, weight } = limitsOf(specification)
      limitEngine(walls.cgroup, specification.service, engine.pid, { weight, memoryBytes: memoryBytes * this.#memoryTimes })
    }
    if (specification.primary !== null) this.#bridge = await openBridge(specification.service, namespace)
    if (engine instanceof EngineProcess) engine.configure(engineConfiguration(this.#settings))
  }

  get #settings(): EngineSettings {
    return { specification: this.#specification, agentPassword: this.#password, primaryPort: this.#bridge?.port ?? NO_PORT }
  }

  /** Until it ends, or is to be ended. @returns whether it has ever answered */
  async #watched(engine: EngineRun, directory: EngineDirectory): Promise<boolean> {
    const watch = new EngineWatch({
      engine,
      directory,
      health: this.#connection(),
      around: this.#options,
      forks: this.#forks,
      eviction: this.#eviction,
      scriptTime: this.#scriptTime,
      settings: () => this.#settings,
      occupied: () => this.#occupied,
      looked: (found) => this.#note(found),
      found: (reason, answers) => this.#set(reason, answers),
    })
    this.#watch = watch
    if (this.#restarting || this.#stopping.signal.aborted) watch.end()
    if ((await watch.over()) === 'to be replaced') this.#restarting = true
    this.#watch = null
    this.#oldLogins.stop()
    return watch.hasAnswered
  }

  /** A smaller plan may leave more than its memory holds. It has to load all the same; its clients can't bring it here. */
  #lookForMemory(): void {
    const { walls, log } = this.#options
    const { service } = this.#specification
    // The kernel counts those that it ends for the whole machine's memory, too: more of it doesn't help them.
    if (walls.cgroup === null || this.#memoryTimes >= MOST_MEMORY_TIMES || !wasEndedForMemory(walls.cgroup, service)) return
    this.#memoryTimes *= 2
    log.warn({ service, times: this.#memoryTimes }, 'the engine needs more memory to load than its plan allows, and gets twice as much')
  }

  /** Of a database with eviction: a write was refused, because no key that expires is left. */
  async makeRoom(): Promise<void> {
    const connection = this.#connection()
    await this.#eviction.takeAny(connection)
    connection.close()
  }

  #note({ writesRefused }: Health): void {
    const { log } = this.#options
    const { service } = this.#specification
    if (writesRefused === null || writesRefused === this.#writesRefused) return
    this.#writesRefused = writesRefused
    if (writesRefused) log.error({ service, code: 'redis.disk-full' }, 'Redis refuses writes: its append-only file cannot be written')
    else log.info({ service }, 'Redis writes again')
  }

  async #applyChange(before: EngineSpecification): Promise<void> {
    const { log } = this.#options
    const { primary, service } = this.#specification
    const engine = this.#process
    // Not configured yet, or between two runs: the next one starts with the new specification.
    if (engine === null || engine.over || this.#watch === null) return
    // One that becomes a replica has to copy first, so it starts anew; a promotion happens under its open connections.
    const live = (before.primary === null) === (primary === null) || primary === null
    const applied = live && (await this.#applyLive(before))
    if (!applied) {
      this.#restarting = true
      this.#watch.end()
      await engine.stop(this.#options.times.stopTimeoutMs)
    } else if (primary === null) await this.#closeBridge()
    log.info({ service, live: applied }, 'the database was changed')
  }

  /** On a connection of its own: the checks go on meanwhile. */
  async #applyLive(before: EngineSpecification): Promise<boolean> {
    const now = this.#specification
    const { cgroup } = this.#options.walls
    if (cgroup !== null) changeLimits(cgroup, now.service, limitsOf(now))
    const connection = this.#connection()
    const applied = (await connection.apply(liveChanges(this.#settings))) && (await setUsers(connection, now, before.users, this.#options.log))
    this.#eviction.reset()
    connection.close()
    if (applied) await this.#oldLogins.leave(renewedUsers(before, now), now.live)
    return applied
  }

  /** Of the agent's own, once the engine answers; null: it didn't, or the database isn't available. */
  async ask(commands: readonly (readonly string[])[], timeoutMs: number): Promise<readonly Reply[] | null> {
    if ((await this.ready(timeoutMs, 'answering')) === null) return null
    const connection = this.#connection()
    const replies = await connection.ask(commands)
    connection.close()
    return replies
  }

  /** As `ask`, but it neither wakes it nor counts as use. */
  async look(commands: readonly (readonly string[])[]): Promise<readonly Reply[] | null> {
    return (await this.#watch?.ask(commands)) ?? null
  }

  /** A replica has connected, and may need a whole copy. */
  expectReplica(): void {
    this.#forks.expectCopy()
  }

  /** A copy of its own: begins when the engine may fork, and keeps it from resting meanwhile. @throws NearcastError redis.copy-failed */
  async *copying<Item>(items: AsyncIterable<Item>): AsyncGenerator<Item> {
    const connection = this.#connection()
    try {
      for await (const item of this.#forks.copying(connection, items)) {
        this.touch()
        yield item
      }
    } finally {
      connection.close()
    }
  }

  /** Replaces all that it holds. @throws NearcastError redis.copy-failed, and what the content's reader throws */
  takeCopy(content: CopyContent): Promise<void> {
    return this.occupy('redis.restoring', (engine) => takeCopy(engine, content))
  }

  /**
   * The running engine for one that fills it, while clients are sent away; they come again when `work` is over. Changes of
   * the specification wait for that. @throws NearcastError redis.not-answering, and what `work` throws
   */
  occupy(reason: ErrorCode, work: (engine: OccupiedEngine) => Promise<void>): Promise<void> {
    const done = this.#changing.then(() => this.#occupy(reason, work))
    this.#changing = done.catch(() => {})
    return done
  }

  async #occupy(reason: ErrorCode, work: (engine: OccupiedEngine) => Promise<void>): Promise<void> {
    const { walls, log } = this.#options
    const { service, primary, replicationSecret } = this.#specification
    const ready = await this.ready(COPY_READY_MS)
    const engine = this.#process
    if (ready === null || engine === null || primary !== null) {
      throw new NearcastError('redis.not-answering', 'The database does not answer now; try again in a moment.', { retryable: true })
    }
    const health = this.#connection()
    this.#occupied = reason
    this.#set(reason, this.#standing.answers)
    log.info({ service, reason }, 'the database is being filled')
    try {
      // Clients would see their writes refused, and others' data appear: they come again when it is done.
      await health.ask([['CLIENT', 'KILL', 'TYPE', 'normal'], ['CLIENT', 'KILL', 'TYPE', 'pubsub']])
      await work({
        health,
        connect: (options) => connectAgent(ready, this.#password, options),
        over: () => engine.over || this.#restarting,
        kill: () => engine.kill(),
        namespace: walls.network ? `/proc/${engine.pid}/ns/net` : null,
        replication: { user: REPLICATION_USER, password: replicationSecret },
      })
    } finally {
      health.close()
      this.#occupied = null
      this.#watch?.wake()
      log.info({ service, reason }, 'the database is no longer being filled')
    }
  }

  #connection(): EngineHealth {
    return new EngineHealth(this.#socket ?? '', this.#password, this.#options.times.healthIntervalMs)
  }

  async #closeBridge(): Promise<void> {
    const bridge = this.#bridge
    this.#bridge = null
    await bridge?.close()
  }

  #set(reason: ErrorCode | null, answers: boolean): void {
    if (answers) this.#endTurn?.()
    this.#standing.set(reason, answers)
  }
}
