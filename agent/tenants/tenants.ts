/**
 * The databases of this node: one supervisor per service that the feed places here. Room between the feed and the
 * engines; it makes, changes and ends supervisors and knows which service is available.
 *
 * Where redis-server is missing the agent runs all the same and says so for each service.
 */
import { asNearcastError } from '../../lib/errors.ts'
import type { NearcastError } from '../../lib/errors.ts'
import type { FailedService } from '../../lib/feed/reader.ts'
import type { FeedTable } from '../../lib/feed/table.ts'
import type { HopConnection } from '../../lib/hop/header.ts'
import type { Logger } from '../../lib/log.ts'
import type { EngineAnswer } from '../connection.ts'
import type { EngineDirectories } from '../redis/engine/directory.ts'
import { LeftEngine } from '../redis/engine/left-engine.ts'
import { idleEngines } from '../redis/engine/idle-engines.ts'
import type { RestSettings } from '../redis/engine/idle-engines.ts'
import { engineSpecification } from '../redis/engine/specification.ts'
import type { EngineSpecification } from '../redis/engine/specification.ts'
import type { Supervisor } from '../redis/engine/supervisor.ts'

export interface TenantsOptions {
  /** This data node's id. */
  readonly node: string
  /** The one in force. */
  readonly table: () => Pick<FeedTable, 'services'>
  readonly directories: EngineDirectories
  /** Or the reason why no engine can run on this machine. */
  readonly engine: ((specification: EngineSpecification) => Supervisor) | NearcastError
  readonly log: Logger
  /** In an acknowledgement of the feed, how long a new database may take to answer. */
  readonly startTimeoutMs: number
  /** From SIGTERM to SIGKILL, of an engine that nobody supervises. */
  readonly stopTimeoutMs: number
  /** service -> reason code, whole, on every change. */
  readonly publish: (unavailable: Readonly<Record<string, string>>) => void
  readonly removed: (service: string) => void
  /** Its data was put away: the feed has said that it is gone. */
  readonly retired: (service: string) => void
}

export class Tenants {
  readonly #options: TenantsOptions
  readonly #supervisors = new Map<string, Supervisor>()
  /** Rows that can't be served, with their reason. */
  readonly #unserved = new Map<string, NearcastError>()
  readonly #retiring = new Map<string, Promise<void>>()
  #published = ''
  #stopped = false

  constructor(options: TenantsOptions) {
    this.#options = options
  }

  get supervisors(): ReadonlyMap<string, Supervisor> {
    return this.#supervisors
  }

  /** Nodes that hold the primaries of our replicas. */
  get primaries(): ReadonlySet<string> {
    return new Set([...this.#supervisors.values()].flatMap(({ specification }) => specification.primary ?? []))
  }

  /**
   * Takes the table as it is now. Resolves when the databases of `changed` (all, of a snapshot) answer, or have failed, or
   * are late. Data of databases that aren't in a `partial` table stays where it is: they may exist.
   */
  async apply(changed: ReadonlySet<string> | 'snapshot' | 'partial'): Promise<FailedService[]> {
    const { table } = this.#options
    for (const service of [...this.#supervisors.keys(), ...this.#unserved.keys()]) if (!table().services.has(service)) this.#remove(service)
    if (changed === 'snapshot') this.#retireStrangers()
    const concerned = [...table().services.keys()].filter((service) => typeof changed === 'string' || changed.has(service))
    for (const service of concerned) this.#put(service)
    this.changed()
    const failed = await Promise.all(concerned.map((service) => this.#settled(service)))
    return failed.flatMap((failure) => failure ?? [])
  }

  /** Some supervisor's state is another one. */
  changed(): void {
    if (this.#stopped) return
    const unavailable: Record<string, string> = {}
    for (const [service, { reason }] of this.#supervisors) if (reason !== null) unavailable[service] = reason
    for (const [service, { code }] of this.#unserved) unavailable[service] = code
    const text = JSON.stringify(unavailable)
    if (text === this.#published) return
    this.#published = text
    this.#options.publish(unavailable)
  }

  /** Waits at most `timeoutMs` for an engine that is about to be ready. A replica's link needs it to answer, no more. */
  async engine({ service, purpose }: Pick<HopConnection, 'service' | 'purpose'>, timeoutMs: number): Promise<EngineAnswer> {
    const supervisor = this.#supervisors.get(service)
    const path = (await supervisor?.ready(timeoutMs, purpose === 'replication' ? 'answering' : 'available')) ?? null
    if (purpose === 'replication') supervisor?.expectReplica()
    return path === null ? { unavailable: supervisor?.reason ?? this.#unserved.get(service)?.code ?? 'redis.stopped' } : { target: { kind: 'unix', path }, header: new Uint8Array() }
  }

  /** Ends engines that nobody uses. `connections`: service -> open ones. The next connection starts them again. */
  restIdle(connections: ReadonlyMap<string, number>, settings: RestSettings): void {
    const { table } = this.#options
    const nowMs = performance.now()
    const uses = [...this.#supervisors].map(([service, supervisor]) => {
      const open = connections.get(service) ?? 0
      if (open > 0) supervisor.touch()
      const row = table().services.get(service)
      return { service, running: supervisor.answers, alone: row?.placements.length === 1, park: row?.redis?.parkAfterMinutes ?? null, connections: open, unusedMs: nowMs - supervisor.usedAtMs }
    })
    for (const service of idleEngines(uses, settings)) {
      const supervisor = this.#supervisors.get(service)
      if (supervisor?.tidy() === true) supervisor.rest()
    }
  }

  /** All engines, at the same time. Idempotent. `leave`: they go on for the next agent. */
  async stop(leave: boolean): Promise<void> {
    this.#stopped = true
    await Promise.all([...[...this.#supervisors.values()].map((supervisor) => (leave ? supervisor.leave() : supervisor.stop())), ...this.#retiring.values()])
    this.#options.directories.release()
  }

  #put(service: string): void {
    const { node, table, engine, log } = this.#options
    const row = table().services.get(service)
    if (row === undefined || this.#stopped) return
    try {
      const specification = engineSpecification(row, node)
      if (typeof engine !== 'function') throw engine
      this.#unserved.delete(service)
      const present = this.#supervisors.get(service)
      if (present !== undefined) return present.change(specification)
      const supervisor = engine(specification)
      this.#supervisors.set(service, supervisor)
      // An id that comes back while its directory is still being put away waits for that.
      const retiring = this.#retiring.get(service)
      if (retiring === undefined) supervisor.start()
      else void retiring.finally(() => this.#supervisors.get(service) === supervisor && !this.#stopped && supervisor.start())
    } catch (error) {
      const failure = asNearcastError(error)
      if (this.#supervisors.has(service)) this.#remove(service)
      this.#unserved.set(service, failure)
      log.error({ service, code: failure.code }, failure.message)
    }
  }

  #remove(service: string): void {
    this.#unserved.delete(service)
    const supervisor = this.#supervisors.get(service)
    if (supervisor === undefined) return
    this.#supervisors.delete(service)
    this.#options.removed(service)
    this.#retireAfter(service, (this.#retiring.get(service) ?? Promise.resolve()).then(() => supervisor.stop()))
  }

  /** Directories of services that went while this agent was away. */
  #retireStrangers(): void {
    const { directories, table } = this.#options
    for (const service of directories.services()) {
      if (!table().services.has(service) && !this.#retiring.has(service)) this.#retireAfter(service, Promise.resolve())
    }
  }

  #retireAfter(service: string, ended: Promise<void>): void {
    const retired = ended.then(() => this.#retire(service))
    this.#retiring.set(
      service,
      retired.finally(() => this.#retiring.delete(service)),
    )
  }

  async #retire(service: string): Promise<void> {
    const { directories, log, stopTimeoutMs } = this.#options
    try {
      // Its agent may have left it running.
      if (directories.has(service)) await LeftEngine.find(directories.prepare(service))?.stop(stopTimeoutMs)
      const place = directories.retire(service, new Date())
      log.info({ service, place }, 'the database is no longer here; its data was put away')
      this.#options.retired(service)
    } catch (error) {
      log.warn({ service, cause: asNearcastError(error).message }, 'the data of a removed database could not be put away')
    }
  }

  async #settled(service: string): Promise<FailedService | null> {
    const unserved = this.#unserved.get(service)
    if (unserved !== undefined) return { service, code: unserved.code, message: unserved.message }
    const supervisor = this.#supervisors.get(service)
    if (supervisor === undefined) return null
    await supervisor.settled(this.#options.startTimeoutMs)
    if (supervisor.answers || supervisor.resting || this.#supervisors.get(service) !== supervisor) return null
    return { service, code: supervisor.reason ?? 'redis.starting', message: 'The database does not answer yet; it is being started again and again.' }
  }
}
