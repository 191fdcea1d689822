/**
 * What one database has used, and whether it may use more: the counters and judgements of its limits. Pure, time injected.
 *
 * Counters of the day and the month are of UTC; they live on in a file (usage-file.ts). Refusals are told in the words that
 * clients of hosted Redis know; an engine repeats them (read-connection.ts), so they are ASCII without quotes, 128 at most.
 */
import type { RedisLimit, RedisLimits } from '../../../lib/redis-limits.ts'
import { TokenBucket } from '../../../lib/token-bucket.ts'
import { Latencies } from './latencies.ts'

export interface Usage {
  /** 2026-11-21 */
  readonly day: string
  readonly dayCommands: number
  readonly dayBytes: number
  /** 2026-11 */
  readonly month: string
  readonly monthCommands: number
  readonly monthBytes: number
  /** Since the database is here. */
  readonly commands: number
  readonly bytesUp: number
  readonly bytesDown: number
  readonly hits: number
  readonly misses: number
}

export interface Request {
  /** Lower case. */
  readonly name: string
  readonly announcedBytes: number
  readonly largestBytes: number
}

export interface AccountOptions {
  /** Of the wall clock. */
  readonly nowMs: () => number
  /** Monotonic. */
  readonly tickMs: () => number
  /** First at 80 % and then at the end of a day's or month's count: once each. */
  readonly warn: (limit: RedisLimit, used: number, allowed: number) => void
  readonly hit: (limit: RedisLimit) => void
}

/** Left to everybody: what opens a connection, ends a transaction or a subscription, or is said to look whether all is well. */
export const FREE_COMMANDS: ReadonlySet<string> = new Set(['auth', 'hello', 'quit', 'reset', 'select', 'client', 'ping', 'info', 'command', 'exec', 'discard', 'unwatch', 'unsubscribe', 'punsubscribe', 'sunsubscribe'])
const DAY_MS = 86_400_000
const WARN_SHARE = 0.8
/** A second's worth may come at once. */
const BURST_SECONDS = 1

export class Account {
  readonly #options: AccountOptions
  readonly latencies: { readonly read: Latencies; readonly write: Latencies }
  #limits: RedisLimits = {}
  #bucket: TokenBucket | null = null
  readonly #usage: { -readonly [Member in keyof Usage]: Usage[Member] }
  #turnAtMs = 0
  readonly #warned = new Set<string>()
  /** Of each limit, how often somebody was refused for it since the agent started. */
  readonly hits = new Map<RedisLimit, number>()

  constructor(before: Usage | null, options: AccountOptions) {
    this.#options = options
    this.latencies = { read: new Latencies(options.tickMs), write: new Latencies(options.tickMs) }
    this.#usage = before !== null ? { ...before } : { day: '', month: '', dayCommands: 0, dayBytes: 0, monthCommands: 0, monthBytes: 0, commands: 0, bytesUp: 0, bytesDown: 0, hits: 0, misses: 0 }
  }

  get limits(): RedisLimits {
    return this.#limits
  }

  set limits(limits: RedisLimits) {
    const perSecond = limits.commandsPerSecond
    if (perSecond !== this.#limits.commandsPerSecond) {
      const nowMs = this.#options.tickMs()
      this.#bucket = perSecond === undefined ? null : new TokenBucket(perSecond, perSecond * BURST_SECONDS, nowMs)
    }
    this.#limits = limits
  }

  get usage(): Usage {
    this.#turn()
    return { ...this.#usage }
  }

  /** Before anything of it is passed on. null: it may; else the error for its client, without `-` and line end. */
  admit(request: Request): string | null {
    const tooLarge = this.sizes(request)
    if (tooLarge !== null) return tooLarge
    this.#turn()
    const { commandsPerSecond, commandsPerDay, commandsPerMonth, bytesPerDay } = this.#limits
    const { dayCommands, monthCommands, dayBytes } = this.#usage
    const nowMs = this.#options.tickMs()
    if (!FREE_COMMANDS.has(request.name)) {
      if (commandsPerDay !== undefined && dayCommands >= commandsPerDay) return this.#refuse('commandsPerDay', `max daily request limit exceeded. Limit: ${commandsPerDay}, Usage: ${dayCommands}.`)
      if (commandsPerMonth !== undefined && monthCommands >= commandsPerMonth) {
        return this.#refuse('commandsPerMonth', `max monthly request limit exceeded. Limit: ${commandsPerMonth}, Usage: ${monthCommands}.`)
      }
      if (bytesPerDay !== undefined && dayBytes >= bytesPerDay) return this.#refuse('bytesPerDay', `max daily bandwidth exceeded. Limit: ${bytesPerDay} bytes, Usage: ${dayBytes} bytes.`)
      if (this.#bucket !== null && this.#bucket.balance(nowMs) < 1) return this.#refuse('commandsPerSecond', `max commands per second exceeded. Limit: ${commandsPerSecond}.`)
      this.counted(1)
    }
    // What is free counts for the second all the same: it costs the engine as much.
    if (this.#bucket !== null && this.#bucket.balance(nowMs) >= 1) this.#bucket.take(1, nowMs)
    return null
  }

  /** The judgement that goes on while more of a request comes. */
  sizes({ announcedBytes, largestBytes }: Request): string | null {
    const { requestBytes = Infinity, entryBytes = Infinity } = this.#limits
    if (largestBytes > entryBytes) return this.#refuse('entryBytes', `max entry size exceeded. Limit: ${entryBytes} bytes, Actual: ${largestBytes} bytes.`)
    if (announcedBytes > requestBytes) return this.#refuse('requestBytes', `max request size exceeded. Limit: ${requestBytes} bytes, Actual: ${announcedBytes} bytes.`)
    return null
  }

  /** Some other limit of this database was met, elsewhere. */
  met(limit: RedisLimit): void {
    this.hits.set(limit, (this.hits.get(limit) ?? 0) + 1)
    this.#options.hit(limit)
  }

  moved(up: number, down: number): void {
    this.#turn()
    const usage = this.#usage
    usage.dayBytes += up + down
    usage.monthBytes += up + down
    usage.bytesUp += up
    usage.bytesDown += down
    this.#watch('bytesPerDay', usage.day, usage.dayBytes)
  }

  /** Reads that found their key, and that didn't. */
  looked(hits: number, misses: number): void {
    this.#usage.hits += hits
    this.#usage.misses += misses
  }

  /** So many have been carried out. */
  counted(commands: number): void {
    this.#turn()
    const usage = this.#usage
    usage.dayCommands += commands
    usage.monthCommands += commands
    usage.commands += commands
    this.#watch('commandsPerDay', usage.day, usage.dayCommands)
    this.#watch('commandsPerMonth', usage.month, usage.monthCommands)
  }

  #watch(limit: 'commandsPerDay' | 'commandsPerMonth' | 'bytesPerDay', period: string, used: number): void {
    const allowed = this.#limits[limit]
    if (allowed === undefined || used < allowed * WARN_SHARE) return
    const stage = `${limit} ${allowed} ${period} ${used >= allowed ? 'met' : 'near'}`
    if (this.#warned.has(stage)) return
    this.#warned.add(stage)
    this.#options.warn(limit, used, allowed)
  }

  #refuse(limit: RedisLimit, sentence: string): string {
    this.met(limit)
    return `ERR ${sentence}`
  }

  #turn(): void {
    const nowMs = this.#options.nowMs()
    if (nowMs < this.#turnAtMs) return
    const day = new Date(nowMs).toISOString().slice(0, 10)
    const month = day.slice(0, 7)
    this.#turnAtMs = Date.parse(day) + DAY_MS
    this.#warned.clear()
    const usage = this.#usage
    if (usage.day !== day) usage.dayCommands = usage.dayBytes = 0
    if (usage.month !== month) usage.monthCommands = usage.monthBytes = 0
    usage.day = day
    usage.month = month
  }
}
