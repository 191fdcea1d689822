/**
 * Inbound mutual TLS handshakes: bounded in time and number, and over only when the client's certificate names an identity.
 *
 * What fails is reset and counted, and no brain hears of it. The payload socket and the TCP socket below it are kept
 * together, because only the latter can be reset.
 */
import type { Socket } from 'node:net'
import { createServer } from 'node:tls'
import type { Server, TLSSocket } from 'node:tls'
import { HOP_ALPN } from '../hop/protocol.ts'
import { certificateIdentity } from './certificate-identity.ts'
import type { HopTls, Peer } from './plane.ts'

export interface HandshakesOptions {
  readonly timeoutMs: number
  readonly limit: number
  /** Counted up here. */
  readonly rejected: { limit: number; handshake: number }
  readonly secured: (socket: TLSSocket, tcp: Socket, peer: Peer) => void
}

interface Pending {
  readonly tcp: Socket
  readonly timer: NodeJS.Timeout
  readonly onError: () => void
}

export class Handshakes {
  readonly #options: HandshakesOptions
  /** Never listens: sockets are handed in. */
  readonly #server: Server
  /** By peer address: one listener can't hold two live connections of the same. */
  readonly #pending = new Map<string, Pending>()

  constructor(tls: HopTls, options: HandshakesOptions) {
    this.#options = options
    this.#server = createServer({
      ca: tls.ca,
      cert: tls.certificate,
      key: tls.key,
      minVersion: 'TLSv1.3',
      ALPNProtocols: [HOP_ALPN],
      requestCert: true,
      rejectUnauthorized: true,
      pauseOnConnect: true,
      handshakeTimeout: options.timeoutMs,
    })
    this.#server.on('secureConnection', (socket) => this.#secured(socket))
    this.#server.on('tlsClientError', (_error, socket) => this.#fail(keyOf(socket)))
  }

  begin(tcp: Socket): void {
    const key = keyOf(tcp)
    if (this.#pending.has(key)) {
      this.#options.rejected.limit++
      tcp.resetAndDestroy()
      return
    }
    // The one under way longest makes room: whoever says nothing can't keep those out who do.
    const [oldest] = this.#pending.keys()
    if (this.#pending.size >= this.#options.limit && oldest !== undefined) this.#drop(oldest)
    const onError = (): void => this.#fail(key)
    const timer = setTimeout(onError, this.#options.timeoutMs)
    this.#pending.set(key, { tcp, timer, onError })
    tcp.on('error', onError)
    tcp.on('close', onError)
    this.#server.emit('connection', tcp)
  }

  #secured(socket: TLSSocket): void {
    const key = keyOf(socket)
    const certificate = socket.getPeerCertificate()
    const identity = certificateIdentity(certificate.subjectaltname)
    const pending = this.#pending.get(key)
    if (!pending || identity === null || socket.alpnProtocol !== HOP_ALPN) {
      socket.on('error', () => undefined)
      socket.destroy()
      this.#fail(key)
      return
    }
    this.#forget(key, pending)
    this.#options.secured(socket, pending.tcp, { kind: 'certificate', identity, serial: certificate.serialNumber })
  }

  #drop(key: string): void {
    const pending = this.#pending.get(key)
    if (!pending) return
    this.#options.rejected.limit++
    this.#forget(key, pending)
    pending.tcp.on('error', () => undefined)
    pending.tcp.resetAndDestroy()
  }

  #fail(key: string): void {
    const pending = this.#pending.get(key)
    if (!pending) return
    this.#forget(key, pending)
    this.#options.rejected.handshake++
    pending.tcp.on('error', () => undefined)
    if (!pending.tcp.destroyed) pending.tcp.resetAndDestroy()
  }

  #forget(key: string, pending: Pending): void {
    this.#pending.delete(key)
    clearTimeout(pending.timer)
    pending.tcp.off('error', pending.onError).off('close', pending.onError)
  }

  /** Drops what is under way, uncounted. */
  abandon(): void {
    for (const [key, pending] of this.#pending) {
      this.#forget(key, pending)
      pending.tcp.on('error', () => undefined)
      pending.tcp.resetAndDestroy()
    }
  }
}

function keyOf(socket: Socket): string {
  return `${socket.remoteAddress ?? ''}|${socket.remotePort ?? ''}|${socket.localAddress ?? ''}`
}
