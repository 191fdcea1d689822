/**
 * Whether one node is well: a state machine over the outcomes of probes and of real dials. Pure.
 *
 * Probes and dials are counted apart, because a probe that succeeds must not hide that dials fail. Either kind ejects
 * at once after `failures` in a row; only probes re-admit, after `successes` in a row, so that no client pays for trying.
 * A node that was never heard of counts as well: a verdict needs evidence.
 */
import type { NodeRow } from '../../lib/feed/messages.ts'

export interface HealthSettings {
  readonly failures: number
  readonly successes: number
}

/** An agent that doesn't answer in time may be waiting for one tenant's engine. */
export function isCertain(failure: string, hop: NodeRow['hop']): boolean {
  return failure !== 'timeout' || hop !== 'signed-v2'
}

export type HealthChange = 'ejected' | 'readmitted' | null

export class Health {
  readonly #settings: HealthSettings
  #healthy = true
  #sinceMs: number
  #probeFailures = 0
  #dialFailures = 0
  #successes = 0
  #reason: string | null = null

  constructor(settings: HealthSettings, nowMs: number) {
    this.#settings = settings
    this.#sinceMs = nowMs
  }

  get healthy(): boolean {
    return this.#healthy
  }

  /** When the present verdict began. */
  get sinceMs(): number {
    return this.#sinceMs
  }

  /** Why it is unhealthy. */
  get reason(): string | null {
    return this.#reason
  }

  probeSucceeded(nowMs: number): HealthChange {
    this.#probeFailures = 0
    if (this.#healthy) return null
    this.#successes++
    if (this.#successes < this.#settings.successes) return null
    this.#dialFailures = 0
    return this.#become(true, null, nowMs)
  }

  probeFailed(reason: string, nowMs: number): HealthChange {
    this.#successes = 0
    this.#probeFailures++
    return this.#ejectAt(this.#probeFailures, `probe: ${reason}`, nowMs)
  }

  dialSucceeded(): void {
    this.#dialFailures = 0
  }

  /**
   * `certain` false: the failure may be one tenant's and not the node's. It counts only while probes fail too, so that
   * one tenant's slow engine doesn't take the node from all others.
   */
  dialFailed(reason: string, nowMs: number, certain = true): HealthChange {
    if (!certain && this.#probeFailures === 0) return null
    this.#dialFailures++
    return this.#ejectAt(this.#dialFailures, `dial: ${reason}`, nowMs)
  }

  #ejectAt(failures: number, reason: string, nowMs: number): HealthChange {
    if (!this.#healthy || failures < this.#settings.failures) return null
    return this.#become(false, reason, nowMs)
  }

  #become(healthy: boolean, reason: string | null, nowMs: number): HealthChange {
    this.#healthy = healthy
    this.#reason = reason
    this.#sinceMs = nowMs
    this.#successes = 0
    return healthy ? 'readmitted' : 'ejected'
  }
}
