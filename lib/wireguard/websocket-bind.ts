/**
 * Datagrams by WebSocket: the client's end of stream-framing.ts, for where UDP doesn't get through. One gateway, one
 * connection, made again when it ends; meanwhile datagrams are lost, as on the way. Through the WebSocket that the runtime
 * has, so with its trust in certificates (NODE_EXTRA_CA_CERTS adds to it).
 */
import type { Bind, Endpoint } from './bind.ts'
import { MAX_STREAM_BACKLOG_BYTES, MAX_STREAM_DATAGRAM_BYTES, STREAM_KEEPALIVE_MS } from './constants.ts'
import { StreamDecoder, streamFrame, streamKeepalive, streamOpening } from './stream-framing.ts'
import { NearcastError } from '../errors.ts'

const RECONNECT_MS = 5000
/** A gateway that says nothing for so long, not even that it is there, is gone. */
const SILENCE_MS = 15_000

export interface WebSocketBindOptions {
  /** `wss://host/` */
  readonly url: string
  /** From the end of a connection to the next try. Default 5000. */
  readonly reconnectMs?: number
  /** Told of each connection that is made, and of each that ended or couldn't be made. */
  readonly onState?: (state: 'connected' | 'disconnected', reason: string) => void
}

export class WebSocketBind implements Bind {
  /** The gateway: the only one that this bind reaches. */
  readonly endpoint: Endpoint
  readonly #options: WebSocketBindOptions
  #receive: ((datagram: Uint8Array, from: Endpoint) => void) | null = null
  #socket: WebSocket | null = null
  #lastSentMs = 0
  #lastHeardMs = 0
  #keepalive: NodeJS.Timeout | undefined
  #again: NodeJS.Timeout | undefined

  /** @throws NearcastError address.invalid */
  constructor(options: WebSocketBindOptions) {
    const url = URL.canParse(options.url) ? new URL(options.url) : null
    if (url === null || (url.protocol !== 'wss:' && url.protocol !== 'ws:')) {
      throw new NearcastError('address.invalid', `"${options.url.slice(0, 100)}" is no address of a WebSocket; write wss://host/.`, { side: 'client' })
    }
    this.#options = options
    this.endpoint = { host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(url.port || (url.protocol === 'wss:' ? 443 : 80)) }
  }

  /** The other side's: nobody connects to this one. */
  get port(): number {
    return this.endpoint.port
  }

  /** Resolves at once; the connection comes when it comes. */
  open(receive: (datagram: Uint8Array, from: Endpoint) => void): Promise<void> {
    this.#receive = receive
    this.#connect()
    this.#keepalive = setInterval(() => this.#look(), STREAM_KEEPALIVE_MS)
    return Promise.resolve()
  }

  send(datagram: Uint8Array): void {
    if (datagram.length <= MAX_STREAM_DATAGRAM_BYTES) this.#write(streamFrame(datagram))
  }

  close(): Promise<void> {
    this.#receive = null
    clearInterval(this.#keepalive)
    clearTimeout(this.#again)
    this.#socket?.close()
    this.#socket = null
    return Promise.resolve()
  }

  #connect(): void {
    const socket = new WebSocket(this.#options.url)
    const decoder = new StreamDecoder(false)
    this.#socket = socket
    this.#lastHeardMs = performance.now()
    socket.binaryType = 'arraybuffer'
    socket.addEventListener('open', () => {
      if (this.#socket !== socket) return socket.close()
      this.#write(streamOpening())
      this.#options.onState?.('connected', '')
    })
    socket.addEventListener('message', (event) => {
      if (this.#socket !== socket) return
      const data: unknown = event.data
      this.#lastHeardMs = performance.now()
      const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : typeof data === 'string' ? Buffer.from(data) : null
      const isSound = bytes !== null && decoder.push(bytes, (datagram) => this.#receive?.(datagram, this.endpoint))
      if (!isSound) this.#lost(socket, 'the other side speaks something else')
    })
    socket.addEventListener('error', (event) => this.#lost(socket, 'message' in event && typeof event.message === 'string' ? event.message : 'it failed'))
    socket.addEventListener('close', ({ code }) => this.#lost(socket, `closed (${code})`))
  }

  /** Once per connection. */
  #lost(socket: WebSocket, reason: string): void {
    if (this.#socket !== socket) return
    this.#socket = null
    socket.close()
    if (this.#receive === null) return
    this.#options.onState?.('disconnected', reason)
    this.#again = setTimeout(() => this.#connect(), this.#options.reconnectMs ?? RECONNECT_MS)
  }

  #look(): void {
    const socket = this.#socket
    if (socket === null) return
    const nowMs = performance.now()
    if (nowMs - this.#lastHeardMs >= SILENCE_MS) this.#lost(socket, 'it is silent')
    else if (nowMs - this.#lastSentMs >= STREAM_KEEPALIVE_MS) this.#write(streamKeepalive())
  }

  #write(bytes: Uint8Array): void {
    const socket = this.#socket
    if (socket === null || socket.readyState !== WebSocket.OPEN || socket.bufferedAmount > MAX_STREAM_BACKLOG_BYTES) return
    socket.send(bytes)
    this.#lastSentMs = performance.now()
  }
}
