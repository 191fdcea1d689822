/**
 * One data node as this proxy knows it: its row, where to dial it, its session, health, latency and our own load on it.
 * It probes itself: fresh dials at intervals that are moved at random, so that proxies don't probe in step.
 */
import type { NodeRow } from '../../lib/feed/messages.ts'
import { asNearcastError } from '../../lib/errors.ts'
import { probe } from '../../lib/hop/probe.ts'
import { SessionClient } from '../../lib/hop/session-client.ts'
import { dialTarget } from '../../lib/hop/target.ts'
import type { Logger } from '../../lib/log.ts'
import type { DialTarget, HopTls } from '../../lib/plane/plane.ts'
import { Health, isCertain } from './health.ts'
import type { HealthChange, HealthSettings } from './health.ts'
import { Latency } from './latency.ts'
import { SampleWindow } from './sample-window.ts'

export interface NodeOptions {
  /** Our identity, `proxy/<id>`. */
  readonly self: string
  /** Our host: nodes on it are reached over their Unix socket. */
  readonly host: string
  readonly tls: HopTls
  readonly health: HealthSettings & { readonly intervalMs: number; readonly timeoutMs: number }
  readonly log: Logger
  /** Milliseconds, monotonic. */
  readonly now: () => number
  /** 0 <= random < 1 */
  readonly random: () => number
  /** It became unhealthy, or well again. */
  readonly onHealth?: (node: string) => void
}

/** A node that we have never reached may be starting like us: asked again after this, then twice as much, up to the interval. */
const FIRST_RETRY_MS = 100
/** Probes are moved by up to this share of the interval, both ways. */
const JITTER = 0.1
/** A dial to another host: TCP, TLS, header and its answer, and one to spare. */
export const DIAL_ROUND_TRIPS = 4

export class Node {
  readonly #options: NodeOptions
  readonly #stopped = new AbortController()
  #row: NodeRow
  #target: DialTarget | null = null
  #session: SessionClient | null = null
  #timer: NodeJS.Timeout | undefined
  #retryMs = FIRST_RETRY_MS
  readonly health: Health
  /** Header to pong. */
  readonly latency = new Latency()
  /** A fresh dial, TLS included. */
  readonly connect = new Latency()
  /** What probes measured lately. */
  readonly measured = { connect: new SampleWindow(), rtt: new SampleWindow() }
  /** Open connections that we carry to it. */
  connections = 0
  /** How often it has answered a probe. */
  proofs = 0
  /** Random, for ties. */
  readonly salt: number

  constructor(row: NodeRow, options: NodeOptions) {
    this.#options = options
    this.#row = row
    this.salt = Math.floor(options.random() * 0x1_0000_0000)
    this.health = new Health(options.health, options.now())
    this.#reach(row)
    // The first probe leaves at once: until it is back the node is unproven.
    this.#schedule(0)
  }

  get row(): NodeRow {
    return this.#row
  }

  /** null when the row's endpoint can't be dialled. */
  get target(): DialTarget | null {
    return this.#target
  }

  /** null for foreign nodes. */
  get session(): SessionClient | null {
    return this.#session
  }

  /** False while a signed node's session isn't connected, or there is no key to sign with. */
  get reachable(): boolean {
    if (this.#target === null) return false
    return this.#row.hop !== 'signed-v2' || (this.#session?.state === 'open' && this.#row.keys.length > 0)
  }

  get load(): number {
    return Math.max(this.connections, this.#session?.load ?? 0)
  }

  /** How long a dial may take: `baseMs` beside what the distance needs. */
  patienceMs(baseMs: number): number {
    return Math.round(baseMs + DIAL_ROUND_TRIPS * (this.latency.smoothedMs ?? 0))
  }

  /** New keys, region or placement. A node that moved is a new Node: `samePlace` tells. */
  update(row: NodeRow): void {
    this.#row = row
  }

  /** Whether `row` is reached the same way, so that health, latency and session stay true. */
  samePlace(row: NodeRow): boolean {
    return samePlace(this.#row, row)
  }

  /** null: it answered. */
  dialled(failure: string | null): void {
    if (failure === null) return this.health.dialSucceeded()
    this.#report(this.health.dialFailed(failure, this.#options.now(), isCertain(failure, this.#row.hop)))
  }

  close(): void {
    this.#stopped.abort()
    clearTimeout(this.#timer)
    this.#session?.close()
  }

  #reach(row: NodeRow): void {
    const { self, host, tls, log } = this.#options
    try {
      this.#target = dialTarget(row, host, tls)
      if (row.hop === 'signed-v2') this.#session = new SessionClient({ self, node: row, host, tls, log })
    } catch (error) {
      const { code, message } = asNearcastError(error)
      log.error({ node: row.id, code }, message)
    }
  }

  #schedule(afterMs: number): void {
    if (this.#stopped.signal.aborted) return
    this.#timer = setTimeout(() => void this.#probe(), afterMs)
    this.#timer.unref()
  }

  /** Never rejects. */
  async #probe(): Promise<void> {
    const { self, health, now, random } = this.#options
    const failure = await this.#measure(self, this.patienceMs(health.timeoutMs))
    if (this.#stopped.signal.aborted) return
    if (failure !== null && this.latency.smoothedMs === null && this.#retryMs < health.intervalMs) {
      // It is unproven anyway; its health is judged by what lasts.
      this.#schedule(this.#retryMs)
      this.#retryMs *= 2
      return
    }
    if (failure === null) this.proofs++
    this.#report(failure === null ? this.health.probeSucceeded(now()) : this.health.probeFailed(failure, now()))
    this.#schedule(health.intervalMs * (1 + JITTER * (2 * random() - 1)))
  }

  async #measure(self: string, timeoutMs: number): Promise<string | null> {
    if (this.#target === null) return 'node.endpoint-invalid'
    try {
      const { connectMs, rttMs } = await probe(this.#target, self, this.#row, timeoutMs, this.#stopped.signal)
      this.connect.add(connectMs)
      this.latency.add(rttMs)
      this.measured.connect.add(connectMs)
      this.measured.rtt.add(rttMs)
      return null
    } catch (error) {
      return asNearcastError(error).code
    }
  }

  #report(change: HealthChange): void {
    const { log } = this.#options
    if (change === 'ejected') log.warn({ node: this.#row.id, region: this.#row.region, reason: this.health.reason }, 'node unhealthy')
    else if (change === 'readmitted') log.info({ node: this.#row.id, region: this.#row.region }, 'node healthy again')
    if (change !== null) this.#options.onHealth?.(this.#row.id)
  }
}

/** Whether two rows are of a node that is reached the same way. */
export function samePlace(one: NodeRow, other: NodeRow): boolean {
  return one.endpoint === other.endpoint && one.socket === other.socket && one.host === other.host && one.hop === other.hop
}
