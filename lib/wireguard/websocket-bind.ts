/**
 * Datagrams by WebSocket: the client's end of stream-framing.ts, for where UDP doesn't get through. One gateway, one
 * connection, made again when it ends; meanwhile datagrams are lost, as on the way. Its trust in certificates is the
 * runtime's (NODE_EXTRA_CA_CERTS adds to it). It ends without a closing handshake: a gateway that is out of reach would
 * never answer it, and WireGuard has nothing to say goodbye for.
 */
import type { Bind, Endpoint } from './bind.ts'
import { MAX_STREAM_BACKLOG_BYTES, MAX_STREAM_DATAGRAM_BYTES, STREAM_KEEPALIVE_MS } from './constants.ts'
import { StreamDecoder, streamFrame, streamKeepalive, streamOpening } from './stream-framing.ts'
import { NearcastError } from '../errors.ts'
import { WebSocket } from '../websocket.ts'

const RECONNECT_MS = 5000
/** A gateway that says nothing for so long, not even that it is there, is gone. */
const SILENCE_MS = 15_000
/** Messages are pieces of a stream: larger ones than this nobody has a reason to send. */
const MAX_MESSAGE_BYTES = 1 << 20

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
    this.#socket?.terminate()
    this.#socket = null
    return Promise.resolve()
  }

  #connect(): void {
    // The framing says what is text and what isn't: nothing.
    const socket = new WebSocket(this.#options.url, { handshakeTimeout: SILENCE_MS, maxPayload: MAX_MESSAGE_BYTES, skipUTF8Validation: true, perMessageDeflate: false })
    const decoder = new StreamDecoder(false)
    this.#socket = socket
    this.#lastHeardMs = performance.now()
    socket.binaryType = 'nodebuffer'
    socket.on('open', () => {
      if (this.#socket !== socket) return
      this.#write(streamOpening())
      this.#options.onState?.('connected', '')
    })
    socket.on('message', (data) => {
      if (this.#socket !== socket) return
      this.#lastHeardMs = performance.now()
      const isSound = Buffer.isBuffer(data) && decoder.push(data, (datagram) => this.#receive?.(datagram, this.endpoint))
      if (!isSound) this.#lost(socket, 'the other side speaks something else')
    })
    socket.on('error', ({ message }) => this.#lost(socket, message))
    socket.on('close', (code) => this.#lost(socket, `closed (${code})`))
  }

  /** Once per connection. */
  #lost(socket: WebSocket, reason: string): void {
    if (this.#socket !== socket) return
    this.#socket = null
    socket.terminate()
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
