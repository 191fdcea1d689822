/**
 * One connected reader, from its hello to its end. It is sent a snapshot or what changed since its revision, then each
 * commit that shows it something. While it catches up commits only wait in the store, so nothing is buffered without end;
 * a reader whose unsent bytes pass the limit is cut and may come back.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { asNearcastError, NearcastError } from '../../../lib/errors.ts'
import type { FeedChannel } from '../../../lib/feed/channel.ts'
import type { Change, FromRouter, ToRouter } from '../../../lib/feed/messages.ts'
import { FEED_VERSION, MAX_FEED_MESSAGE_BYTES, toRouter } from '../../../lib/feed/messages.ts'
import type { FeedKind, Records } from '../store/records.ts'
import { isFeedKind } from '../store/records.ts'
import type { Commit, Store } from '../store/store.ts'
import type { FailedService } from './acknowledgements.ts'
import type { Viewer, Views } from './views.ts'

export interface ReaderLimits {
  /** Unsent bytes at which a reader counts as unable to keep up. */
  readonly bufferedBytes: number
  readonly helloMs: number
  /** For a whole snapshot, and for each wait of a slow reader in it. */
  readonly snapshotMs: number
}

export const READER_LIMITS: ReaderLimits = { bufferedBytes: 8 << 20, helloMs: 5000, snapshotMs: 30_000 }
const PART_BYTES = MAX_FEED_MESSAGE_BYTES / 2
/** Between snapshot parts a reader may have this much unread. */
const PART_BACKLOG_BYTES = 1 << 20
/** Referrers before what they refer to would leave an agent with an address and no service for a moment. */
const ORDER: readonly FeedKind[] = ['networks', 'nodes', 'dialers', 'services', 'addresses', 'wireguard', 'backbone']

export interface ReaderOptions {
  readonly identity: string
  readonly store: Store
  readonly views: Views
  readonly limits: ReaderLimits
  readonly onHello: () => void
  readonly onAck: (revision: number, failed: readonly FailedService[]) => void
}

export class ReaderConnection {
  readonly identity: string
  readonly connectedAt = new Date().toISOString()
  readonly #options: ReaderOptions
  readonly #channel: FeedChannel
  readonly #asked = new Map<number, (answer: Extract<ToRouter, { type: 'answer' }>) => void>()
  readonly #helloTimer: NodeJS.Timeout
  #state: 'hello' | 'catching-up' | 'live' | 'closed' = 'hello'
  #sent = 0
  #acked = 0
  #program = ''
  #unavailable: Readonly<Record<string, string>> = {}
  #questions = 0

  constructor(options: ReaderOptions, open: (events: { message(message: unknown): void; closed(reason: string): void }) => FeedChannel, onClosed: (reason: string) => void) {
    this.identity = options.identity
    this.#options = options
    this.#channel = open({
      message: (message) => this.#onMessage(message),
      closed: (reason) => {
        this.#state = 'closed'
        clearTimeout(this.#helloTimer)
        onClosed(reason)
      },
    })
    this.#helloTimer = setTimeout(() => this.refuse('feed.message-invalid', 'Say hello first.'), options.limits.helloMs)
  }

  get status(): { program: string; connectedAt: string; sent: number; acked: number; unavailable: Readonly<Record<string, string>> } {
    return { program: this.#program, connectedAt: this.connectedAt, sent: this.#sent, acked: this.#acked, unavailable: this.#unavailable }
  }

  /** @returns whether the commit concerns this reader: it will acknowledge that revision or a later one. */
  commit(commit: Commit): boolean {
    if (this.#state === 'hello' || this.#state === 'closed') return false
    const viewer = this.#viewer()
    if (viewer === null) return false
    const rows: Change[] = []
    for (const change of commit.changes) {
      if (!isFeedKind(change.kind)) continue
      const row = this.#project(viewer, change.kind, change.after)
      // What this reader never saw isn't taken from it either: it would learn keys of others.
      if (row !== null || this.#project(viewer, change.kind, change.before) !== null) rows.push({ table: change.kind, key: change.key, row })
    }
    if (rows.length === 0) return false
    if (this.#state === 'live') this.#sendChanges(rows, commit.revision)
    return true
  }

  /** @throws NearcastError feed.ask-timeout, feed.ask-failed */
  ask(name: string, params: unknown, timeoutMs: number): Promise<unknown> {
    const id = ++this.#questions
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#asked.delete(id)
        reject(new NearcastError('feed.ask-timeout', `${this.identity} didn't answer in ${timeoutMs} ms.`, { side: 'upstream', retryable: true }))
      }, timeoutMs)
      this.#asked.set(id, ({ result, error }) => {
        clearTimeout(timer)
        this.#asked.delete(id)
        if (error === undefined) resolve(result)
        else reject(new NearcastError('feed.ask-failed', `${this.identity}: ${error.code}: ${error.message}`, { side: 'upstream' }))
      })
      this.#send({ type: 'ask', id, name, params })
    })
  }

  cut(reason: string): void {
    this.#channel.cut(reason)
  }

  refuse(code: string, message: string): void {
    this.#send({ type: 'error', code, message })
    this.#channel.cut(code)
  }

  #onMessage(message: unknown): void {
    const parsed = toRouter.safeParse(message)
    if (!parsed.success) return this.refuse('feed.message-invalid', 'That is no message of feed version 1.')
    const said = parsed.data
    if ((said.type === 'hello') !== (this.#state === 'hello')) return this.refuse('feed.message-invalid', 'Say hello first, and once.')
    if (said.type === 'hello') this.#onHello(said)
    else if (said.type === 'ack') this.#onAck(said)
    else if (said.type === 'answer') this.#asked.get(said.id)?.(said)
    else this.#unavailable = said.unavailable
  }

  #onHello(hello: Extract<ToRouter, { type: 'hello' }>): void {
    clearTimeout(this.#helloTimer)
    if (hello.version !== FEED_VERSION) {
      return this.refuse('feed.version-unknown', `This router speaks feed version ${FEED_VERSION}, not ${hello.version}; upgrade the older one.`)
    }
    this.#program = hello.program
    this.#state = 'catching-up'
    this.#options.onHello()
    void this.#catchUp(hello.revision)
  }

  #onAck(ack: Extract<ToRouter, { type: 'ack' }>): void {
    if (ack.revision > this.#sent) return this.refuse('feed.message-invalid', 'That revision was never sent to you.')
    this.#acked = ack.revision
    this.#options.onAck(ack.revision, ack.failed ?? [])
  }

  async #catchUp(from: number): Promise<void> {
    try {
      this.#state = 'catching-up'
      const missed = from === 0 ? null : this.#missedSince(from)
      if (missed === null) await this.#sendSnapshot()
      else {
        this.#sent = from
        this.#send({ type: 'changes', from, revision: this.#options.store.revision, rows: missed })
        this.#sent = this.#options.store.revision
      }
      if (this.#isClosed()) return
      if (this.#options.store.revision > this.#sent) return await this.#catchUp(this.#sent)
      this.#state = 'live'
    } catch (error) {
      this.refuse(asNearcastError(error).code, 'The router failed to make your view.')
    }
  }

  /** null: the log doesn't reach back, or it is too much for one message. */
  #missedSince(revision: number): Change[] | null {
    const viewer = this.#viewer()
    const changes = this.#options.store.changesSince(revision)
    if (changes === null || viewer === null) return null
    const rows = changes.flatMap(({ kind, key }) =>
      isFeedKind(kind) ? [{ table: kind, key, row: this.#project(viewer, kind, this.#options.store.get(kind, key)) }] : [],
    )
    const ordered = ORDER.flatMap((kind) => rows.filter((row) => row.table === kind))
    return fits(ordered) ? ordered : null
  }

  async #sendSnapshot(): Promise<void> {
    const { store, limits } = this.#options
    const viewer = this.#viewer()
    if (viewer === null) return this.cut('feed.identity-refused')
    const revision = store.revision
    const rows = ORDER.flatMap((kind) =>
      store.list(kind).flatMap((record) => {
        const row = this.#project(viewer, kind, record)
        return row === null ? [] : [{ table: kind, key: keyOf(row), row }]
      }),
    )
    const deadlineMs = performance.now() + limits.snapshotMs
    const parts = split(rows)
    for (const [index, part] of parts.entries()) {
      const last = index === parts.length - 1
      if (last) this.#sent = revision
      this.#send({ type: 'snapshot', revision, rows: part, last })
      if (last) return
      while (this.#channel.bufferedBytes > PART_BACKLOG_BYTES) {
        await delay(10)
        if (this.#isClosed()) return
        if (performance.now() > deadlineMs) return this.cut('feed.too-slow')
      }
    }
  }

  #sendChanges(rows: Change[], revision: number): void {
    if (!fits(rows)) return void this.#catchUp(0)
    const from = this.#sent
    this.#sent = revision
    this.#send({ type: 'changes', from, revision, rows })
  }

  #send(message: FromRouter): void {
    this.#channel.send(message)
    if (this.#channel.bufferedBytes > this.#options.limits.bufferedBytes) this.#channel.cut('feed.too-slow')
  }

  #viewer(): Viewer | null {
    const { store } = this.#options
    const member = store.get('dialers', this.identity)
    if (member === null) return null
    return { member, node: member.kind === 'agent' ? store.get('nodes', member.id.slice('agent/'.length)) : null }
  }

  /** `record` comes from the store under its kind: the pairing is kept by whoever read it. */
  #project(viewer: Viewer, kind: FeedKind, record: unknown): ReturnType<Views['project']> {
    return this.#options.views.project(viewer, kind, record as Records[typeof kind] | null)
  }

  #isClosed(): boolean {
    return this.#state === 'closed'
  }
}

function keyOf(row: NonNullable<ReturnType<Views['project']>>): string {
  if ('publicKey' in row) return row.publicKey
  return 'address' in row ? row.address : String(row.id)
}

function fits(rows: readonly Change[]): boolean {
  return rows.length < 100 || Buffer.byteLength(JSON.stringify(rows)) < PART_BYTES
}

function split(rows: readonly Change[]): Change[][] {
  const parts: Change[][] = [[]]
  let bytes = 0
  for (const row of rows) {
    const rowBytes = Buffer.byteLength(JSON.stringify(row))
    if (bytes > 0 && bytes + rowBytes > PART_BYTES) {
      parts.push([])
      bytes = 0
    }
    parts.at(-1)?.push(row)
    bytes += rowBytes
  }
  return parts
}
