/**
 * The gateway's end of WireGuard over WebSocket (lib/wireguard/stream-framing.ts), with TLS: a connection is an end point, and
 * what comes by it is as hostile as any datagram. Limits: connections in all, time to say the opening, silence, unsent bytes.
 */
import { readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:https'
import type { Server } from 'node:https'
import type { Duplex } from 'node:stream'
import { NearcastError } from '../../lib/errors.ts'
import { listenOn, parseListen } from '../../lib/listen.ts'
import type { Bind, Endpoint } from '../../lib/wireguard/bind.ts'
import { MAX_STREAM_BACKLOG_BYTES, MAX_STREAM_DATAGRAM_BYTES, STREAM_KEEPALIVE_MS } from '../../lib/wireguard/constants.ts'
import { StreamDecoder, streamFrame, streamKeepalive } from '../../lib/wireguard/stream-framing.ts'
import type { WebSocket } from '../../lib/websocket.ts'
import { WebSocketServer } from '../../lib/websocket.ts'

export interface WebSocketListen {
  /** `host:port` or `fd:N`. */
  readonly listen: string
  /** PEM files; read again when they change. */
  readonly certificate: string
  readonly key: string
  readonly maxConnections: number
}

export interface WebSocketTimes {
  /** From the connection to the opening word; and the longest silence, against a keepalive a second. */
  readonly silenceMs: number
  /** Between two looks at the certificate's files. */
  readonly reloadMs: number
}

const TIMES: WebSocketTimes = { silenceMs: 15_000, reloadMs: 10_000 }
const MAX_MESSAGE_BYTES = 64 * 1024

interface Connection {
  readonly socket: WebSocket
  readonly endpoint: Endpoint
  lastHeardMs: number
  lastSentMs: number
}

export class GatewayWebSocketBind implements Bind {
  readonly #options: WebSocketListen
  readonly #times: WebSocketTimes
  readonly #upgrades = new WebSocketServer({ noServer: true, maxPayload: MAX_MESSAGE_BYTES, perMessageDeflate: false, skipUTF8Validation: true })
  readonly #connections = new Map<Endpoint, Connection>()
  readonly #timers: NodeJS.Timeout[] = []
  #server: Server | null = null
  #port = 0
  #certificateAge = ''

  constructor(options: WebSocketListen, times = TIMES) {
    this.#options = options
    this.#times = times
  }

  get port(): number {
    return this.#port
  }

  get connections(): number {
    return this.#connections.size
  }

  /** @throws NearcastError config.invalid (no such certificate), listen.in-use, listen.denied */
  async open(receive: (datagram: Uint8Array, from: Endpoint) => void): Promise<void> {
    const { listen, maxConnections } = this.#options
    const { silenceMs, reloadMs } = this.#times
    const server = createServer({ ...this.#readCertificate(), minVersion: 'TLSv1.2', handshakeTimeout: silenceMs, headersTimeout: silenceMs })
    // Browsers and scanners: this is no website.
    server.on('request', (_request, response) => response.writeHead(426, { upgrade: 'websocket', connection: 'close' }).end())
    server.on('upgrade', (request, socket, head) => {
      if (this.#connections.size >= maxConnections) {
        refuse(socket)
        return
      }
      const { remoteAddress = '', remotePort = 0 } = request.socket
      this.#upgrades.handleUpgrade(request, socket, head, (webSocket) => this.#accept(webSocket, { host: remoteAddress, port: remotePort }, receive))
    })
    server.maxConnections = 2 * maxConnections
    this.#port = await listenOn(server, parseListen(listen))
    this.#server = server
    this.#timers.push(setInterval(() => this.#look(), Math.min(STREAM_KEEPALIVE_MS, silenceMs / 2)), setInterval(() => this.#reload(server), reloadMs))
  }

  send(datagram: Uint8Array, to: Endpoint): void {
    const connection = this.#connections.get(to)
    if (connection !== undefined && datagram.length <= MAX_STREAM_DATAGRAM_BYTES) write(connection, streamFrame(datagram))
  }

  async close(): Promise<void> {
    for (const timer of this.#timers.splice(0)) clearInterval(timer)
    for (const { socket } of this.#connections.values()) socket.terminate()
    const server = this.#server
    this.#server = null
    if (server === null) return
    await new Promise<void>((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  }

  #accept(socket: WebSocket, endpoint: Endpoint, receive: (datagram: Uint8Array, from: Endpoint) => void): void {
    const connection: Connection = { socket, endpoint, lastHeardMs: performance.now(), lastSentMs: 0 }
    const decoder = new StreamDecoder(true)
    this.#connections.set(endpoint, connection)
    socket.on('message', (data: Buffer) => {
      const isSound = decoder.push(data, (datagram) => receive(datagram, endpoint))
      // Who hasn't said the opening word hasn't said anything.
      if (!isSound) socket.terminate()
      else if (decoder.isOpen) connection.lastHeardMs = performance.now()
    })
    socket.on('error', () => socket.terminate())
    socket.once('close', () => this.#connections.delete(endpoint))
  }

  #look(): void {
    const nowMs = performance.now()
    for (const connection of this.#connections.values()) {
      if (nowMs - connection.lastHeardMs >= this.#times.silenceMs) connection.socket.terminate()
      else if (nowMs - connection.lastSentMs >= STREAM_KEEPALIVE_MS) write(connection, streamKeepalive())
    }
  }

  #readCertificate(): { readonly cert: string; readonly key: string } {
    const { certificate, key } = this.#options
    try {
      this.#certificateAge = ageOf([certificate, key])
      return { cert: readFileSync(certificate, 'utf8'), key: readFileSync(key, 'utf8') }
    } catch (cause) {
      throw new NearcastError('config.invalid', `websocket: ${certificate} and ${key} can't be read (${cause instanceof Error ? cause.message : String(cause)}).`, { cause })
    }
  }

  /** Half-written files don't take the ones in force away; they are looked at again. */
  #reload(server: Server): void {
    try {
      if (ageOf([this.#options.certificate, this.#options.key]) !== this.#certificateAge) server.setSecureContext(this.#readCertificate())
    } catch {
      this.#certificateAge = ''
    }
  }
}

/** An upgraded socket has left the HTTP server, with its time limits. */
function refuse(socket: Duplex): void {
  socket.on('error', () => undefined)
  socket.end('HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n', () => socket.destroy())
}

function write(connection: Connection, bytes: Uint8Array): void {
  const { socket } = connection
  if (socket.readyState !== socket.OPEN || socket.bufferedAmount > MAX_STREAM_BACKLOG_BYTES) return
  socket.send(bytes)
  connection.lastSentMs = performance.now()
}

function ageOf(files: readonly string[]): string {
  return files.map((file) => statSync(file).mtimeMs).join()
}
