/**
 * One feed connection as both ends see it: JSON messages over a WebSocket (RFC 6455), text only, no compression.
 *
 * Limits live here: message size, handshake time, and a peer that sends nothing (not even a pong) for `deadMs` is cut,
 * so that a vanished host is noticed within ten seconds at both ends. Exactly one `closed` follows, then nothing.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { ConnectionOptions } from 'node:tls'
import { connect } from 'node:tls'
import { NearcastError } from '../errors.ts'
import { WebSocket, WebSocketServer } from '../websocket.ts'
import { MAX_FEED_MESSAGE_BYTES } from './messages.ts'

export interface ChannelTimes {
  readonly pingMs: number
  /** Silence after which the peer counts as gone; at least twice `pingMs`. */
  readonly deadMs: number
}

export const CHANNEL_TIMES: ChannelTimes = { pingMs: 3000, deadMs: 8000 }
const CONNECT_TIMEOUT_MS = 5000
const CLOSE_TIMEOUT_MS = 1000
const CLOSE_BACKLOG_BYTES = 32 * 1024

export interface ChannelEvents {
  message(message: unknown): void
  closed(reason: string): void
}

export class FeedChannel {
  readonly #socket: WebSocket
  readonly #times: ChannelTimes
  #lastHeard = performance.now()
  #timer: NodeJS.Timeout | undefined
  #reason = ''

  constructor(socket: WebSocket, events: ChannelEvents, times: ChannelTimes) {
    this.#socket = socket
    this.#times = times
    const heard = (): void => {
      this.#lastHeard = performance.now()
    }
    socket.on('ping', heard)
    socket.on('pong', heard)
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      heard()
      if (this.#reason !== '') return
      const message = isBinary ? undefined : parseJson(data)
      if (message === undefined) this.cut('feed.message-invalid')
      else events.message(message)
    })
    socket.on('error', (error) => {
      if (this.#reason === '') this.#reason = error.message
    })
    socket.once('close', (code, reason) => {
      clearInterval(this.#timer)
      events.closed(this.#reason || reason.toString().slice(0, 128) || `closed (${code})`)
    })
    this.#timer = setInterval(() => this.#check(), times.pingMs)
  }

  /** What was sent and hasn't left: a reader that doesn't read shows here. */
  get bufferedBytes(): number {
    return this.#socket.bufferedAmount
  }

  /** `sent` is called when the bytes have gone to the kernel, or can't any more. */
  send(message: object, sent?: () => void): void {
    this.#socket.send(JSON.stringify(message), () => sent?.())
  }

  /** Ends the connection, by a close frame if the peer takes it in time. Idempotent. */
  cut(reason: string): void {
    if (this.#reason !== '') return
    this.#reason = reason
    // Behind this much the close frame wouldn't arrive either.
    if (this.bufferedBytes > CLOSE_BACKLOG_BYTES) return this.#socket.terminate()
    this.#socket.close(1000, reason.slice(0, 64))
    setTimeout(() => this.#socket.terminate(), CLOSE_TIMEOUT_MS).unref()
  }

  #check(): void {
    if (performance.now() - this.#lastHeard > this.#times.deadMs) {
      this.#reason ||= 'the peer is silent'
      this.#socket.terminate()
    } else if (this.#socket.readyState === WebSocket.OPEN) {
      this.#socket.ping()
    }
  }
}

function parseJson(data: Buffer): unknown {
  try {
    return JSON.parse(data.toString('utf8'))
  } catch {
    return undefined
  }
}

/** @throws NearcastError feed.identity-refused (the router knows this certificate not, or no more), feed.unreachable */
export function openChannel(url: URL, tls: ConnectionOptions, events: ChannelEvents, times = CHANNEL_TIMES): Promise<FeedChannel> {
  return new Promise((resolve, reject) => {
    const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
    const target = new URL(url)
    // The TLS connection is made below; for ws it is a plain stream that is open already.
    target.protocol = 'wss:'
    const socket = new WebSocket(target, {
      createConnection: () => connect({ ...tls, host, port: Number(url.port || 443) }),
      handshakeTimeout: CONNECT_TIMEOUT_MS,
      maxPayload: MAX_FEED_MESSAGE_BYTES,
      perMessageDeflate: false,
      followRedirects: false,
    })
    const failed = (error: Error): void => reject(unreachable(url, error.message, error))
    socket.once('error', failed)
    socket.once('unexpected-response', (request, response) => {
      const refused = response.statusCode === 401 || response.statusCode === 403
      reject(
        refused
          ? new NearcastError('feed.identity-refused', `${url.host} refuses this program's certificate; join again with a new token.`, { side: 'upstream' })
          : unreachable(url, `status ${response.statusCode}`),
      )
      request.destroy()
    })
    socket.once('open', () => {
      socket.off('error', failed)
      resolve(new FeedChannel(socket, events, times))
    })
  })
}

function unreachable(url: URL, why: string, cause?: Error): NearcastError {
  return new NearcastError('feed.unreachable', `The feed at ${url.host} can't be reached: ${why}.`, { side: 'upstream', retryable: true, cause })
}

/** The router's end: turns an authenticated HTTP upgrade into a channel. */
export class ChannelAcceptor {
  readonly #server = new WebSocketServer({ noServer: true, maxPayload: MAX_FEED_MESSAGE_BYTES, perMessageDeflate: false })
  readonly #times: ChannelTimes

  constructor(times = CHANNEL_TIMES) {
    this.#times = times
  }

  /** `open` makes the channel out of its events; it is called at most once. */
  accept(request: IncomingMessage, socket: Duplex, head: Buffer, open: (make: (events: ChannelEvents) => FeedChannel) => void): void {
    this.#server.handleUpgrade(request, socket, head, (webSocket) => {
      open((events) => new FeedChannel(webSocket, events, this.#times))
    })
  }
}
