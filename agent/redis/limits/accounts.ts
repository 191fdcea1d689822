/**
 * The accounts of all databases of this node: kept in step with the feed, written to disk, and asked by which way a connection
 * of theirs goes: untouched, read, or held to a rate.
 */
import { asNearcastError } from '../../../lib/errors.ts'
import type { ServiceRow } from '../../../lib/feed/messages.ts'
import type { Logger } from '../../../lib/log.ts'
import type { RedisLimit } from '../../../lib/redis-limits.ts'
import { needsReading } from '../../../lib/redis-limits.ts'
import { Account } from './account.ts'
import { readUsage, writeUsage } from './usage-file.ts'

export interface AccountsOptions {
  readonly fileOf: (service: string) => string
  readonly log: Logger
  readonly hit: (service: string, limit: RedisLimit) => void
}

/** The way of a database's connections. Open ones on another way end when it changes: a limit counts for all. */
export type Way = `${'read' | 'plain'}${'' | ' rated'}`

export class Accounts {
  readonly #options: AccountsOptions
  readonly #accounts = new Map<string, Account>()
  readonly #ways = new Map<string, Way>()
  /** What is on disk, by its sum: it only grows, but for new days. */
  readonly #written = new Map<string, string>()

  constructor(options: AccountsOptions) {
    this.#options = options
  }

  /** `rows`: of databases, all of them. */
  apply(rows: ReadonlyMap<string, ServiceRow>): void {
    for (const service of this.#accounts.keys()) if (!rows.has(service)) this.#forget(service)
    for (const [service, { redis }] of rows) {
      const { limits, eviction } = redis ?? {}
      const account = this.#accounts.get(service) ?? this.#open(service)
      account.limits = limits ?? {}
      const rated = limits?.bytesPerSecond === undefined ? '' : ' rated'
      this.#ways.set(service, `${needsReading(limits, eviction) ? 'read' : 'plain'}${rated}`)
    }
  }

  get all(): ReadonlyMap<string, Account> {
    return this.#accounts
  }

  of(service: string): Account | null {
    return this.#accounts.get(service) ?? null
  }

  wayOf(service: string): Way {
    return this.#ways.get(service) ?? 'plain'
  }

  /** What has changed. What couldn't be written is tried with the next call. */
  save(): void {
    for (const [service, account] of this.#accounts) {
      const { usage } = account
      const text = JSON.stringify(usage)
      if (text === this.#written.get(service)) continue
      try {
        writeUsage(this.#options.fileOf(service), usage)
        this.#written.set(service, text)
      } catch (error) {
        this.#options.log.debug({ service, cause: asNearcastError(error).message }, 'what a database has used could not be written')
      }
    }
  }

  #open(service: string): Account {
    const { fileOf, log, hit } = this.#options
    const before = readUsage(fileOf(service))
    const account = new Account(before, {
      nowMs: Date.now,
      tickMs: () => performance.now(),
      warn: (limit, used, allowed) => log.warn({ service, limit, used, allowed }, used >= allowed ? 'a database has used up what its plan allows' : 'a database has used most of what its plan allows'),
      hit: (limit) => hit(service, limit),
    })
    this.#accounts.set(service, account)
    this.#written.set(service, JSON.stringify(account.usage))
    return account
  }

  #forget(service: string): void {
    this.#accounts.delete(service)
    this.#ways.delete(service)
    this.#written.delete(service)
  }
}
