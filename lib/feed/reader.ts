/**
 * The reading end of the feed: proxies and agents hold one.
 *
 * It starts from the last good table on disk, so a program serves without the router; then it stays connected, resumes
 * by revision and acknowledges what is in force. Whatever the router sends, the worst outcome is that the last good
 * table stays (fail static): a gap in the revisions ends the connection and the next one asks for a snapshot.
 *
 * Contract of `apply`: calls begin in the order of revisions, and a call may begin before an earlier one has resolved
 * (a slow database start doesn't hold up the next revision). `table` is the live table, already changed; its maps keep
 * changing with later revisions. Acknowledgements leave in order, each once its call and all earlier ones resolved.
 * With 'snapshot' everything may have changed: what isn't in `table` is gone. With 'partial' (the cache at start, or a
 * snapshot with refused rows) as well, but what is missing may exist: nothing may be removed for good because of it.
 * What is acknowledged is in force and on disk: a reader that is killed knows it when it starts again.
 */
import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { NearcastError } from '../errors.ts'
import { asNearcastError } from '../errors.ts'
import type { Identity } from '../identity.ts'
import { checkPeer, isRouter, TLS_VERSION } from '../identity.ts'
import type { Logger } from '../log.ts'
import type { CachedTable } from './cache.ts'
import { CacheWriter, FeedCache } from './cache.ts'
import type { ChannelTimes, FeedChannel } from './channel.ts'
import { openChannel } from './channel.ts'
import type { Change, FromRouter, ToRouter } from './messages.ts'
import { FEED_VERSION, fromRouter } from './messages.ts'
import type { AppliedChange, ApplyResult } from './table.ts'
import { FeedTable } from './table.ts'

export type { AppliedChange } from './table.ts'
export { FeedTable } from './table.ts'

/** What `apply` gets. */
export type Changes = readonly AppliedChange[] | 'snapshot' | 'partial'
export type FailedService = NonNullable<Extract<ToRouter, { type: 'ack' }>['failed']>[number]
export type ReaderState = 'cached' | 'connected' | 'disconnected'

export interface FeedReaderOptions {
  /** `https://[address]:port` of the router, as in the programs' `router` setting; wss:// works too. */
  readonly url: string
  readonly identity: Identity
  readonly cacheFile: string
  /** `proxy 0.1.0`, shown in the router's status. */
  readonly program: string
  readonly log: Logger
  readonly apply: (table: FeedTable, changes: Changes, revision: number) => Promise<FailedService[]> | FailedService[]
  /** A question of the router: `explain`, `status`. A throw is answered as an error. */
  readonly ask: (name: string, params: unknown) => Promise<unknown>
  /** When a silent router counts as gone; the default is what programs use. */
  readonly times?: ChannelTimes
}

const FIRST_ANSWER_MS = 10_000
const BACKOFF_MS = { first: 100, last: 5000 }
const MAX_SNAPSHOT_ROWS = 4_000_000
const MAX_FAILED = 1000

/** What belongs to one connection; nothing of it survives the connection. */
interface Session {
  readonly channel: FeedChannel
  snapshot: Change[]
  /** The router has answered our hello: what it sends from now on is acknowledged and kept. */
  answered: boolean
  readonly deadline: NodeJS.Timeout
  /** Set when this connection must not acknowledge anything any more. */
  broken: boolean
}

export class FeedReader {
  readonly #options: FeedReaderOptions
  readonly #url: URL
  readonly #cache: FeedCache
  readonly #writer: CacheWriter
  /** Names the keys that the rows were made for. */
  readonly #self: string
  #table = new FeedTable()
  #state: ReaderState = 'disconnected'
  /** What the router has told us so far, and what of it is in force. */
  #received = 0
  #inForce = 0
  /** Ask for everything at the next connection, whatever our revision. */
  #fromScratch = false
  #hasTable = false
  #session: Session | undefined
  #acks: Promise<void> = Promise.resolve()
  #availability: Record<string, string> | undefined
  #rejectedRows = 0
  #attempts = 0
  #running: Promise<void> | undefined
  readonly #stopping = new AbortController()
  readonly #firstTable = Promise.withResolvers<void>()

  constructor(options: FeedReaderOptions) {
    this.#options = options
    this.#url = new URL('/v1/feed', options.url)
    this.#cache = new FeedCache(options.cacheFile)
    // The rows may be newer than the revision: changes are whole rows, so reading some of them again does no harm.
    const content = (revision: number): CachedTable => ({ revision, reader: this.#self, rows: this.#table.rows() })
    this.#writer = new CacheWriter(this.#cache, options.log, content)
    this.#self = createHash('sha256').update(options.identity.certificate).digest('hex')
  }

  get state(): ReaderState {
    return this.#state
  }

  /** In force, as acknowledged. 0: nothing yet, or only the table of an earlier identity. */
  get revision(): number {
    return this.#inForce
  }

  /** Rows refused since the start, for the metrics. */
  get rejectedRows(): number {
    return this.#rejectedRows
  }

  /** Resolves once a table is in force: the cached one, else the first snapshot. Never rejects for the network's sake. */
  async start(): Promise<void> {
    await this.#loadCache()
    this.#running = this.#stayConnected()
    await this.#firstTable.promise
  }

  /** Agents: the whole map; sent at once when connected and again after each reconnect. */
  sendAvailability(unavailable: Record<string, string>): void {
    this.#availability = { ...unavailable }
    if (this.#session?.answered) this.#send({ type: 'availability', unavailable: this.#availability })
  }

  /** Idempotent. Writes the cache a last time; a `start` that still waits resolves. */
  async stop(): Promise<void> {
    if (!this.#stopping.signal.aborted) {
      this.#stopping.abort()
      this.#session?.channel.cut('stopping')
    }
    await this.#running
    this.#firstTable.resolve()
    await this.#writer.stop()
  }

  async #loadCache(): Promise<void> {
    const { log, apply } = this.#options
    try {
      const cached = await this.#cache.load()
      if (cached === null) return
      this.#report(this.#table.apply(cached.rows))
      await apply(this.#table, 'partial', cached.revision)
      if (cached.reader === this.#self) this.#inForce = cached.revision
      this.#state = 'cached'
      this.#becameUsable()
      log.info({ revision: cached.revision }, 'feed: serving from the cache')
    } catch (error) {
      log.warn({ code: asNearcastError(error).code, error: asNearcastError(error).message }, 'feed: cache unusable')
    }
  }

  #becameUsable(): void {
    this.#hasTable = true
    this.#firstTable.resolve()
  }

  async #stayConnected(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      const reason = await this.#connectOnce()
      this.#state = this.#hasTable ? 'disconnected' : this.#state
      if (signal.aborted) return
      const waitMs = Math.min(BACKOFF_MS.first * 2 ** this.#attempts, BACKOFF_MS.last) * (0.5 + Math.random() / 2)
      this.#attempts = Math.min(this.#attempts + 1, 16)
      this.#options.log.warn({ reason, waitMs: Math.round(waitMs), revision: this.#inForce }, 'feed: not connected')
      await delay(waitMs, undefined, { signal }).catch(() => undefined)
    }
  }

  /** @returns why the connection ended, or wasn't made. */
  async #connectOnce(): Promise<string> {
    const { identity } = this.#options
    const tls = { ca: identity.ca, cert: identity.certificate, key: identity.key, minVersion: TLS_VERSION, checkServerIdentity: checkPeer(isRouter) }
    const ended = Promise.withResolvers<string>()
    let session: Session | undefined
    const events = {
      message: (message: unknown): void => {
        if (session !== undefined && !session.broken) this.#onMessage(session, message)
      },
      closed: (reason: string): void => ended.resolve(reason),
    }
    try {
      const channel = await openChannel(this.#url, tls, events, this.#options.times)
      const deadline = setTimeout(() => channel.cut('no answer to hello'), FIRST_ANSWER_MS)
      session = { channel, snapshot: [], answered: false, deadline, broken: false }
    } catch (error) {
      return asNearcastError(error).message
    }
    this.#session = session
    if (this.#stopping.signal.aborted) session.channel.cut('stopping')
    this.#received = this.#fromScratch ? 0 : this.#inForce
    this.#send({ type: 'hello', version: FEED_VERSION, program: this.#options.program, revision: this.#received })
    const reason = await ended.promise
    clearTimeout(session.deadline)
    session.broken = true
    this.#session = undefined
    return reason
  }

  #send(message: ToRouter): void {
    this.#session?.channel.send(message)
  }

  #onMessage(session: Session, message: unknown): void {
    const parsed = fromRouter.safeParse(message)
    if (!parsed.success) {
      if (isUnknownType(message)) return
      return this.#break(session, 'feed.message-invalid')
    }
    const received = parsed.data
    if (received.type === 'snapshot') this.#onSnapshot(session, received)
    else if (received.type === 'changes') this.#onChanges(session, received)
    else if (received.type === 'ask') void this.#answer(session, received.id, received.name, received.params)
    else {
      this.#options.log.warn({ code: received.code, error: received.message }, 'feed: the router says')
      session.channel.cut(received.code)
    }
  }

  #onSnapshot(session: Session, part: Extract<FromRouter, { type: 'snapshot' }>): void {
    session.snapshot.push(...part.rows)
    if (session.snapshot.length > MAX_SNAPSHOT_ROWS) return this.#break(session, 'feed.message-invalid')
    if (!part.last) return void session.deadline.refresh()
    const table = new FeedTable()
    const result = table.apply(session.snapshot)
    this.#report(result)
    // A refused row leaves the one in force, here as with changes.
    const refused = new Set(result.rejected.map((row) => `${row.table} ${row.key}`))
    if (refused.size > 0) table.apply(this.#table.rows().filter((row) => refused.has(`${row.table} ${row.key}`)))
    session.snapshot = []
    this.#table = table
    this.#fromScratch = false
    this.#putInForce(session, refused.size > 0 ? 'partial' : 'snapshot', part.revision)
  }

  #onChanges(session: Session, message: Extract<FromRouter, { type: 'changes' }>): void {
    if (message.from !== this.#received || message.revision < message.from) return this.#break(session, 'feed.revision-gap')
    const result = this.#table.apply(message.rows)
    this.#report(result)
    this.#putInForce(session, result.applied, message.revision)
  }

  /** Begins the call to `apply` at once and queues its acknowledgement behind the earlier ones. */
  #putInForce(session: Session, changes: Changes, revision: number): void {
    this.#received = revision
    const table = this.#table
    // In a function of its own: a throw is the same as a rejection.
    const call = async (): Promise<FailedService[]> => this.#options.apply(table, changes, revision)
    const applied = call().then(
      (failed) => ({ failed, error: undefined }),
      (error: unknown) => ({ failed: [], error: asNearcastError(error) }),
    )
    this.#acks = this.#settle(this.#acks, session, { revision, changes }, applied)
  }

  async #settle(
    earlier: Promise<void>,
    session: Session,
    { revision, changes }: { readonly revision: number; readonly changes: Changes },
    applied: Promise<{ failed: FailedService[]; error: NearcastError | undefined }>,
  ): Promise<void> {
    await earlier
    const { failed, error } = await applied
    if (session.broken) return
    if (error === undefined) {
      await this.#writer.record(revision, typeof changes === 'string' ? null : changes)
      if (!session.broken) this.#acknowledge(session, revision, failed)
      return
    }
    this.#options.log.error({ revision, error: error.message }, 'feed: a revision could not be put in force')
    this.#break(session, 'apply failed')
  }

  #acknowledge(session: Session, revision: number, failed: FailedService[]): void {
    this.#inForce = revision
    const some = failed.slice(0, MAX_FAILED)
    session.channel.send({ type: 'ack', revision, ...(some.length > 0 && { failed: some }) })
    if (!session.answered) {
      session.answered = true
      clearTimeout(session.deadline)
      this.#attempts = 0
      this.#state = 'connected'
      this.#options.log.info({ revision }, 'feed: connected')
      if (this.#availability !== undefined) session.channel.send({ type: 'availability', unavailable: this.#availability })
      this.#becameUsable()
    }
  }

  /** Ends the connection; the next one starts from a snapshot. The table in force stays. */
  #break(session: Session, code: string): void {
    this.#options.log.error({ code, received: this.#received }, 'feed: starting again from a snapshot')
    this.#fromScratch = true
    session.broken = true
    session.channel.cut(code)
  }

  async #answer(session: Session, id: number, name: string, params: unknown): Promise<void> {
    try {
      session.channel.send({ type: 'answer', id, result: await this.#options.ask(name, params) })
    } catch (error) {
      const { code, message } = asNearcastError(error)
      session.channel.send({ type: 'answer', id, result: null, error: { code, message } })
    }
  }

  #report(result: ApplyResult): void {
    this.#rejectedRows += result.rejected.length
    for (const row of result.rejected.slice(0, 10)) this.#options.log.error({ row, count: this.#rejectedRows }, 'feed: row refused')
  }
}

const KNOWN_TYPES: readonly unknown[] = fromRouter.options.map((option) => option.shape.type.value)

/** A newer router may say more than we know: skipped. */
function isUnknownType(message: unknown): boolean {
  if (typeof message !== 'object' || message === null || !('type' in message)) return false
  return typeof message.type === 'string' && !KNOWN_TYPES.includes(message.type)
}
