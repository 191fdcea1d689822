/**
 * The client side of a connection becomes TLS: handshakes of accepted connections on Node's TLS, as a server, with the
 * bytes that a brain has looked at already.
 *
 * Bounded in time; how many run at once is the brain's to bound. Of a failed handshake the alert is sent, then the socket
 * ends. The tls.Server of a TlsServer is built once and never listens: sockets are handed in.
 */
import type { Socket } from 'node:net'
import { createServer } from 'node:tls'
import type { Server, TLSSocket } from 'node:tls'
import type { TlsFailure, TlsServer, TlsSession } from './plane.ts'

export interface Secured {
  readonly socket: TLSSocket
  readonly session: TlsSession
}

type Done = (result: Secured | TlsFailure) => void

interface Pending {
  readonly settings: TlsServer
  readonly settle: Done
  closed: boolean
}

export class SecureServers {
  /** What nobody names any more goes by itself. */
  readonly #servers = new WeakMap<TlsServer, Server>()
  /** By both addresses: two live connections never share them. Node doesn't say which socket a TLS socket stands on. */
  readonly #pending = new Map<string, Pending>()

  /** `tcp` is paused, with what was read from it put back. `done` is called once, unless `abandon`ed. */
  begin(tcp: Socket, settings: TlsServer, timeoutMs: number, done: Done): { closed(): void; abandon(): void } {
    const key = keyOf(tcp)
    const forget = (): boolean => {
      clearTimeout(timer)
      return this.#pending.delete(key)
    }
    const settle = (result: Secured | TlsFailure): void => {
      if (forget()) done(result)
    }
    const timer = setTimeout(() => settle('timeout'), timeoutMs)
    const pending: Pending = { settings, settle, closed: false }
    this.#pending.set(key, pending)
    // An end before the handshake's end is a failure, which Node tells only of sockets that aren't half-open.
    tcp.allowHalfOpen = false
    try {
      this.#server(settings).emit('connection', tcp)
    } catch {
      // What can't be a server (a certificate that OpenSSL refuses) was to be found by whoever made the settings.
      queueMicrotask(() => settle('handshake'))
    }
    const closed = (): void => {
      pending.closed = true
      // Node closes the socket of a client whose certificate it refuses before it says so.
      setImmediate(() => settle('closed'))
    }
    return { closed, abandon: () => void forget() }
  }

  #server(settings: TlsServer): Server {
    const known = this.#servers.get(settings)
    if (known) return known
    const { certificate, key, clientCa, alpn, ticketKeys, sessionContext } = settings
    const server = createServer({
      cert: certificate,
      key,
      minVersion: 'TLSv1.2',
      ticketKeys: Buffer.from(ticketKeys),
      sessionIdContext: sessionContext,
      pauseOnConnect: true,
      ...(alpn && { ALPNProtocols: [...alpn] }),
      ...(clientCa !== undefined && { ca: clientCa, requestCert: true, rejectUnauthorized: true }),
    })
    server.on('secureConnection', (socket) => this.#secured(socket))
    server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
      if (socket.authorizationError) this.#refused(settings)
      else this.#pending.get(keyOf(socket))?.settle(failureOf(error))
    })
    this.#servers.set(settings, server)
    return server
  }

  /** The socket is closed already and has no address any more: of those that have just closed it is the first. */
  #refused(settings: TlsServer): void {
    for (const pending of this.#pending.values()) {
      if (pending.closed && pending.settings === settings) return pending.settle('client-certificate')
    }
  }

  #secured(socket: TLSSocket): void {
    const pending = this.#pending.get(keyOf(socket))
    if (!pending) {
      socket.on('error', () => undefined)
      socket.destroy()
      return
    }
    socket.allowHalfOpen = true
    pending.settle({ socket, session: sessionOf(socket) })
  }
}

function sessionOf(socket: TLSSocket): TlsSession {
  const { servername, alpnProtocol } = socket
  const peer = socket.getPeerCertificate()
  // Without a certificate Node answers an empty object.
  const { fingerprint256 }: { readonly fingerprint256?: string } = peer
  const name: unknown = peer.subject?.CN
  return {
    serverName: typeof servername === 'string' && servername !== '' ? servername : null,
    protocol: socket.getProtocol() ?? '',
    cipher: socket.getCipher().name,
    alpn: typeof alpnProtocol === 'string' ? alpnProtocol : null,
    resumed: socket.isSessionReused(),
    ...(fingerprint256 !== undefined && { clientCertificate: { commonName: typeof name === 'string' ? name : '', fingerprint256 } }),
  }
}

function failureOf(error: NodeJS.ErrnoException): TlsFailure {
  if (error.code === 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE') return 'client-certificate'
  return error.code === 'ECONNRESET' || error.code === 'EPIPE' ? 'closed' : 'handshake'
}

function keyOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`
}
