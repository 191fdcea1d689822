/**
 * The router's end of the feed: takes the upgrades of programs whose certificate counts, one connection per identity, and
 * brings every commit to those it concerns. Each commit is also the moment of revocation: a reader whose certificate was
 * replaced or removed is cut before anything is sent.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { asNearcastError, NearcastError } from '../../../lib/errors.ts'
import type { ChannelTimes } from '../../../lib/feed/channel.ts'
import { ChannelAcceptor } from '../../../lib/feed/channel.ts'
import { identityOf } from '../../../lib/identity.ts'
import type { JoiningKind } from '../../../lib/identity.ts'
import type { Logger } from '../../../lib/log.ts'
import type { Commit, Store } from '../store/store.ts'
import { Acknowledgements } from './acknowledgements.ts'
import type { ReaderLimits } from './reader-connection.ts'
import { READER_LIMITS, ReaderConnection } from './reader-connection.ts'
import type { Views } from './views.ts'

export interface FeedServerOptions {
  readonly store: Store
  readonly views: Views
  readonly log: Logger
  readonly limits?: Partial<ReaderLimits>
  readonly times?: ChannelTimes
}

/** For a refused peer to take its answer. */
const REFUSAL_MS = 1000

export type ReaderStatus = ReaderConnection['status']

export class FeedServer {
  readonly acknowledgements = new Acknowledgements(() => performance.now())
  readonly #options: FeedServerOptions
  readonly #acceptor: ChannelAcceptor
  readonly #readers = new Map<string, ReaderConnection>()
  readonly #ackListeners: (() => void)[] = []
  #closed = false

  constructor(options: FeedServerOptions) {
    this.#options = options
    this.#acceptor = new ChannelAcceptor(options.times)
    options.store.onCommit((commit) => this.#onCommit(commit))
  }

  /** For the TLS server's `upgrade` event. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const identity = request.url === '/v1/feed' && !this.#closed ? this.#authenticate(socket) : null
    if (identity === null) {
      this.#options.log.warn({ peer: request.socket.remoteAddress }, 'feed: refused, no certificate that counts')
      refuse(socket)
      return
    }
    this.#acceptor.accept(request, socket, head, (open) => this.#onReader(identity, open))
  }

  /** Called after each acknowledgement. */
  onAck(listener: () => void): void {
    this.#ackListeners.push(listener)
  }

  isConnected(identity: string): boolean {
    return this.#readers.has(identity)
  }

  connected(kind: JoiningKind): string[] {
    return [...this.#readers.keys()].filter((identity) => identity.startsWith(`${kind}/`)).toSorted()
  }

  status(identity: string): ReaderStatus | null {
    return this.#readers.get(identity)?.status ?? null
  }

  /** @throws NearcastError explain.no-proxy, feed.ask-timeout, feed.ask-failed */
  async ask(identity: string, name: string, params: unknown, timeoutMs: number): Promise<unknown> {
    const reader = this.#readers.get(identity)
    if (reader === undefined) throw new NearcastError('explain.no-proxy', `${identity} isn't connected to this router.`, { retryable: true })
    return reader.ask(name, params, timeoutMs)
  }

  close(): void {
    this.#closed = true
    for (const reader of this.#readers.values()) reader.cut('the router stops')
  }

  #authenticate(socket: Duplex): string | null {
    if (!(socket instanceof TLSSocket) || !socket.authorized) return null
    const certificate = socket.getPeerCertificate()
    const identity = identityOf(certificate)
    if (identity === null) return null
    return this.#options.store.get('dialers', identity)?.serial === certificate.serialNumber ? identity : null
  }

  #onReader(identity: string, open: ConstructorParameters<typeof ReaderConnection>[1]): void {
    const { store, views, log, limits } = this.#options
    const reader: ReaderConnection = new ReaderConnection(
      {
        identity,
        store,
        views,
        limits: { ...READER_LIMITS, ...limits },
        // The latest wins: the earlier connection is most likely one whose end we haven't heard of.
        onHello: () => {
          this.#readers.get(identity)?.cut('replaced by a newer connection')
          this.#readers.set(identity, reader)
          log.info({ identity }, 'feed: reader connected')
        },
        onAck: (revision, failed) => {
          this.acknowledgements.acknowledged(identity, revision, failed)
          for (const listener of this.#ackListeners) this.#guarded(`after the acknowledgement of ${identity}`, listener)
        },
      },
      open,
      (reason) => {
        if (this.#readers.get(identity) === reader) this.#readers.delete(identity)
        log.info({ identity, reason }, 'feed: reader gone')
      },
    )
  }

  #onCommit(commit: Commit): void {
    for (const change of commit.changes) {
      if (change.kind !== 'dialers') continue
      const before = change.before !== null && 'serial' in change.before ? change.before.serial : null
      const after = change.after !== null && 'serial' in change.after ? change.after.serial : null
      if (before === null || before === after) continue
      this.acknowledgements.forget(change.key)
      this.#readers.get(change.key)?.cut('feed.identity-refused')
      this.#readers.delete(change.key)
    }
    const concerned = [...this.#readers.values()].filter((reader) => {
      // One whose view can't be made has missed this commit: it starts again from a snapshot. The others must not miss it.
      const shown = this.#guarded(`the view of ${reader.identity}`, () => reader.commit(commit))
      if (shown === null) reader.cut('feed.view-failed')
      return shown === true
    })
    this.acknowledgements.published(commit.revision, concerned.map((reader) => reader.identity))
  }

  /** What fails here must not be thrown at whoever sent a message, or has committed already. @returns null when it threw. */
  #guarded<Result>(what: string, act: () => Result): Result | null {
    try {
      return act()
    } catch (error) {
      const { code, message } = asNearcastError(error)
      this.#options.log.error({ code, error: message }, `feed: ${what} failed`)
      return null
    }
  }
}

/** An upgraded socket has left the HTTP server, with its time limits: here it ends whatever its peer does. */
function refuse(socket: Duplex): void {
  socket.on('error', () => undefined)
  socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n', () => socket.destroy())
  setTimeout(() => socket.destroy(), REFUSAL_MS).unref()
}
