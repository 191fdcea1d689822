/**
 * The forks of one engine, in turn with those of its neighbours. Redis would fork whenever its file has doubled or a replica
 * asks for a whole copy; its configuration (configuration.ts) takes both away from it, and this gives them back one by one.
 *
 * What it does all the same (it writes its file anew after it has taken a copy) counts as a turn, so that others wait.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { NearcastError } from '../../../lib/errors.ts'
import { COPIES_AT_ONCE, COPIES_NEVER } from './configuration.ts'
import type { ForkTurns } from './fork-turns.ts'
import type { EngineHealth } from './health.ts'
import type { Persistence } from './persistence.ts'
import { persistenceOf } from './persistence.ts'

export interface ForksOptions {
  readonly turns: ForkTurns
  /** Between two looks at one that nothing is awaited of. */
  readonly lookMs: number
  /** A turn came: look soon. */
  readonly wake: () => void
}

/** From a replica's connection until it has said what it wants, over far links too. */
const EXPECTED_MS = 5000
const AFTER_FAILURE_MS = 300_000
const LONGEST_WAIT_MS = 60_000
const LONGEST_REWRITE_MS = 600_000
const POLL_MS = 20

export class Forks {
  readonly #options: ForksOptions
  #lookAtMs = 0
  #expectedUntilMs = 0
  /** To write the file anew. */
  #triedAtMs = -Infinity
  #queued: AbortController | null = null
  #turn: (() => void) | null = null
  /** The turn came since the last look, and nothing has been done with it. */
  #fresh = false
  /** A copy of the agent's own is under way, or a file written anew before a rest. */
  #own = false

  constructor(options: ForksOptions) {
    this.#options = options
  }

  /** A replica has connected. */
  expectCopy(): void {
    this.#expectedUntilMs = performance.now() + EXPECTED_MS
    this.#lookAtMs = 0
    this.#options.wake()
  }

  /** Something is about to happen: it should be looked at often. */
  get soon(): boolean {
    return this.#fresh || performance.now() < this.#expectedUntilMs
  }

  /** Its run is over. */
  reset(): void {
    this.#queued?.abort()
    this.#queued = null
    this.#turn?.()
    this.#turn = null
    this.#fresh = false
    this.#lookAtMs = 0
  }

  /** Of an engine that is well. */
  async look(connection: EngineHealth): Promise<void> {
    const nowMs = performance.now()
    if (this.#own || (nowMs < this.#lookAtMs && !this.soon && this.#turn === null)) return
    this.#lookAtMs = nowMs + this.#options.lookMs
    const [info] = (await connection.ask([['INFO', 'replication', 'persistence', 'memory']])) ?? []
    if (info?.kind !== 'text' || this.#own) return
    const found = persistenceOf(info.text)
    if (this.#turn !== null) await this.#go(connection, found)
    else if (found.forked) this.#turn = this.#options.turns.claim(found.memoryBytes)
    else if (this.#wants(found, nowMs)) this.#queue(found)
  }

  /** @throws NearcastError redis.copy-failed */
  async *copying<Item>(connection: EngineHealth, items: AsyncIterable<Item>): AsyncGenerator<Item> {
    const [info] = (await connection.ask([['INFO', 'memory']])) ?? []
    const bytes = info?.kind === 'text' ? persistenceOf(info.text).memoryBytes : 0
    const release = await this.#options.turns.take(bytes, AbortSignal.timeout(LONGEST_WAIT_MS))
    if (release === null) throw new NearcastError('redis.copy-failed', 'The node has no room for another copy now: other databases are being copied, or memory is short; try again.', { retryable: true })
    this.#own = true
    try {
      if (!(await connection.apply([COPIES_AT_ONCE]))) throw new NearcastError('redis.copy-failed', 'The database does not answer now; try again.', { retryable: true })
      yield* items
    } finally {
      await connection.apply([COPIES_NEVER])
      this.#own = false
      release()
    }
  }

  /** Writes the file anew, in turn, until that is over; where it can't be done the file stays what it is. */
  async rewrite(connection: EngineHealth): Promise<void> {
    if (this.#own || this.#turn !== null) return
    const asked = async (): Promise<Persistence | null> => {
      const [info] = (await connection.ask([['INFO', 'replication', 'persistence', 'memory']])) ?? []
      return info?.kind === 'text' ? persistenceOf(info.text) : null
    }
    const found = await asked()
    const release = found === null || found.forked ? null : await this.#options.turns.take(found.memoryBytes, AbortSignal.timeout(LONGEST_WAIT_MS))
    if (release === null) return
    this.#own = true
    try {
      const deadlineMs = performance.now() + LONGEST_REWRITE_MS
      await connection.ask([['BGREWRITEAOF']])
      while ((await asked())?.forked === true && performance.now() < deadlineMs) await delay(POLL_MS)
    } finally {
      this.#own = false
      release()
    }
  }

  #wants({ copyWanted, rewriteDue, rewriteFailed }: Persistence, nowMs: number): boolean {
    // It failed for a full disk, most likely: not again and again.
    return copyWanted || (rewriteDue && !(rewriteFailed && nowMs - this.#triedAtMs < AFTER_FAILURE_MS))
  }

  #queue({ memoryBytes }: Persistence): void {
    if (this.#queued !== null) return
    const queued = new AbortController()
    this.#queued = queued
    void this.#take(memoryBytes, queued)
  }

  async #take(bytes: number, queued: AbortController): Promise<void> {
    const release = await this.#options.turns.take(bytes, queued.signal)
    if (this.#queued !== queued) {
      release?.()
      return
    }
    this.#queued = null
    this.#turn = release
    this.#fresh = release !== null
    this.#options.wake()
  }

  /** With a turn: forks, or gives the turn back when that is over. */
  async #go(connection: EngineHealth, { forked, copyWanted, rewriteDue }: Persistence): Promise<void> {
    const fresh = this.#fresh
    this.#fresh = false
    if (forked) return
    if (copyWanted) {
      await connection.apply([COPIES_AT_ONCE])
      return
    }
    if (fresh && rewriteDue) {
      this.#triedAtMs = performance.now()
      await connection.ask([['BGREWRITEAOF']])
      return
    }
    await connection.apply([COPIES_NEVER])
    this.#turn?.()
    this.#turn = null
  }
}
