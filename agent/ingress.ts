/**
 * The hop's listeners: TLS for proxies elsewhere, a Unix socket for those on this host; both serve the same brain.
 *
 * Owns the account of what is open (per service), counts and logs refusals and ends, answers what brains ask, and cuts
 * what the table no longer allows. Decisions are admission.ts's, moves are the plane's.
 */
import { chmodSync } from 'node:fs'
import { formatIpv6 } from '../lib/address.ts'
import { Departures, quietTimer } from '../lib/departures.ts'
import type { HopConnection } from '../lib/hop/header.ts'
import type { Logger } from '../lib/log.ts'
import type { Listener, ListenTarget, Plane } from '../lib/plane/plane.ts'
import { HopBrain } from './connection.ts'
import type { ConnectionEnd, EngineAnswer, Question, RefusalReason } from './connection.ts'
import type { AgentMetrics } from './metrics.ts'
import type { Sessions } from './sessions.ts'
import type { Admission } from './tenants/admission.ts'

export interface IngressOptions {
  readonly plane: Plane
  readonly admission: Admission
  readonly sessions: Sessions
  readonly metrics: AgentMetrics
  readonly log: Logger
  readonly headerTimeoutMs: number
  /** Connections carried at once; more are told `overloaded`. */
  readonly maxConnections: number
  /** Asks the tenant's engine to be ready: where to dial it, or why not. */
  readonly engine: (connection: HopConnection) => Promise<EngineAnswer>
  /** What a connection should have been handed on to didn't take it. */
  readonly unreached: (service: string) => void
  /** By which way connections of a service go now; an open one that went by another is cut. */
  readonly wayOf: (service: string) => string
  /** A connection has ended. */
  readonly carried: (connection: HopConnection, way: string, bytesUp: number, bytesDown: number) => void
}

/** Sessions, probes and refusals need room beside what is carried. */
const EXTRA_CONNECTIONS = 1024
const ENGINE_DIAL_TIMEOUT_MS = 1000
const SESSION_IDLE_MS = 15_000
const LOAD_INTERVAL_MS = 1000
/** Refusals are an attacker's to cause: so many lines a second at most, the rest is only counted. */
const REFUSAL_LINES_PER_SECOND = 10

export class Ingress {
  readonly #options: IngressOptions
  readonly #listeners: Listener[] = []
  /** Admitted connections, from their header to their end. */
  readonly #open = new Map<number, HopConnection>()
  readonly #perService = new Map<string, number>()
  /** Of them, those of clients. */
  readonly #clients = new Map<string, number>()
  readonly #ways = new Map<number, string>()
  readonly #departures: Departures
  readonly #loadTimer: NodeJS.Timeout
  #refusalLines = 0

  constructor(options: IngressOptions) {
    this.#options = options
    this.#departures = new Departures({ nowMs: () => performance.now(), setTimer: quietTimer, cut: (id, cause) => this.#cut(id, cause) })
    this.#loadTimer = setInterval(() => this.#everySecond(), LOAD_INTERVAL_MS)
    this.#loadTimer.unref()
  }

  /** `socketMode`: of a Unix socket's file. @returns the listener's port (0 for a Unix socket). @throws NearcastError listen.* */
  async listen(target: ListenTarget, socketMode = 0o600): Promise<number> {
    const { plane, maxConnections } = this.#options
    const listener = await plane.listen({
      target,
      maxConnections: maxConnections + EXTRA_CONNECTIONS,
      brain: (id) => this.#brain(id),
      answer: (id, question) => this.#answer(id, question as Question),
    })
    // Whoever gets in is asked for its uid; the file's mode keeps others from even connecting.
    if (target.kind === 'unix') chmodSync(target.path, socketMode)
    this.#listeners.push(listener)
    return listener.port
  }

  get openConnections(): number {
    return this.#open.size
  }

  /** service -> open connections. */
  get perService(): ReadonlyMap<string, number> {
    return this.#perService
  }

  /** Of clients, of one service. */
  clients(service: string): number {
    return this.#clients.get(service) ?? 0
  }

  get full(): boolean {
    return this.#open.size >= this.#options.maxConnections
  }

  /** The table has changed: what it no longer allows (removed services and addresses, revoked dialers) is cut, at once or later. */
  recheck(): void {
    for (const [id, connection] of this.#open) {
      const departures = this.#options.admission.departures(connection)
      const other = connection.purpose === 'client' && this.#ways.get(id) !== this.#options.wayOf(connection.service)
      this.#departures.review(id, other ? [...departures, { cause: 'limits-changed', afterMs: 0 }] : departures)
    }
  }

  #cut(id: number, reason: string): void {
    const { plane, log, metrics } = this.#options
    const connection = this.#open.get(id)
    metrics.cut.inc({ reason })
    log.info({ connection: id, service: connection?.service, dialer: connection?.dialer, reason }, 'connection cut')
    plane.cut(id)
  }

  /** Stops accepting. Idempotent. What is open is the plane's to end. */
  async close(): Promise<void> {
    clearInterval(this.#loadTimer)
    this.#departures.stop()
    await Promise.all(this.#listeners.map((listener) => listener.close()))
  }

  #brain(id: number): HopBrain {
    return new HopBrain({
      gate: this.#options.admission,
      headerTimeoutMs: this.#options.headerTimeoutMs,
      engineDialTimeoutMs: ENGINE_DIAL_TIMEOUT_MS,
      sessionIdleMs: SESSION_IDLE_MS,
      ended: (end) => this.#ended(id, end),
    })
  }

  async #answer(id: number, question: Question): Promise<EngineAnswer | Uint8Array | null> {
    const { sessions, engine, metrics } = this.#options
    if (question.type === 'session') return sessions.open(id, question.dialer, question.certificate)
    if (question.type === 'push') return sessions.next(id)
    const { connection } = question
    this.#open.set(id, connection)
    add(this.#perService, connection.service, 1)
    if (connection.purpose === 'client') add(this.#clients, connection.service, 1)
    this.#ways.set(id, this.#options.wayOf(connection.service))
    metrics.connections.inc({ service: connection.service, purpose: connection.purpose })
    return engine(connection)
  }

  #ended(id: number, end: ConnectionEnd): void {
    this.#departures.forget(id)
    this.#options.sessions.closed(id)
    const connection = this.#open.get(id)
    if (this.#open.delete(id) && connection !== undefined) {
      add(this.#perService, connection.service, -1)
      if (connection.purpose === 'client') add(this.#clients, connection.service, -1)
      this.#options.carried(connection, this.#ways.get(id) ?? '', end.result.bytesUp, end.result.bytesDown)
      this.#ways.delete(id)
    }
    if (end.refusal === 'unavailable' && connection !== undefined) this.#options.unreached(connection.service)
    if (end.refusal !== null) this.#refused(id, end, end.refusal)
    else if (end.carried && connection !== undefined) this.#carried(id, connection, end)
  }

  #carried(id: number, connection: HopConnection, { result }: ConnectionEnd): void {
    this.#options.log.info({ connection: id, ...describe(connection), ...result, durationMs: Math.round(result.durationMs) }, 'connection ended')
  }

  #refused(id: number, { opening, detail }: ConnectionEnd, reason: RefusalReason): void {
    const { metrics, log } = this.#options
    metrics.refused.inc({ reason })
    if (this.#refusalLines++ >= REFUSAL_LINES_PER_SECOND) return
    const who = opening === null ? {} : opening.kind === 'connection' ? describe(opening.connection) : { dialer: opening.dialer, agent: opening.agent }
    log.warn({ connection: id, reason, ...(detail !== null && { detail }), ...who }, 'connection refused')
  }

  #everySecond(): void {
    const { log, sessions } = this.#options
    sessions.publishLoad(this.#open.size)
    const silent = this.#refusalLines - REFUSAL_LINES_PER_SECOND
    if (silent > 0) log.warn({ refused: silent }, 'more connections refused in the last second')
    this.#refusalLines = 0
  }
}

function add(counts: Map<string, number>, key: string, change: 1 | -1): void {
  const count = (counts.get(key) ?? 0) + change
  if (count > 0) counts.set(key, count)
  else counts.delete(key)
}

function describe({ dialer, agent, service, purpose, generation, source, destination }: HopConnection): Record<string, unknown> {
  const client = purpose === 'replication' ? {} : { source: formatIpv6(source.ip), sourcePort: source.port, destination: formatIpv6(destination.ip), generation }
  return { dialer, agent, service, purpose, ...client }
}
