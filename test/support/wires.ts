/**
 * Both ends of a plane under test: clients that connect to it and servers that it dials, over TCP, Unix or mutual TLS.
 *
 * Ends are plain Node sockets, half-open, collecting what they receive unless paused. Everything opened is closed by `close`.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import { HOP_ALPN } from '../../lib/hop/protocol.ts'
import type { DialTarget, HopTls, Listener, ListenTarget } from '../../lib/plane/plane.ts'
import { createTestCa } from './certificates.ts'
import { until } from './until.ts'

export type Transport = 'tcp' | 'unix' | 'tls'
export const PROXY_IDENTITY = 'nearcast://proxy/mad-1'
export const AGENT_IDENTITY = 'nearcast://agent/mad-1'

interface Identities {
  readonly proxy: HopTls
  readonly agent: HopTls
}

let identities: Identities | undefined

function issueIdentities(): Identities {
  const directory = mkdtempSync(join(tmpdir(), 'nearcast-ca-'))
  try {
    const ca = createTestCa(directory)
    return { proxy: ca.issue(PROXY_IDENTITY), agent: ca.issue(AGENT_IDENTITY) }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** One end of a wire. */
export class End {
  readonly socket: Socket
  readonly #tcp: Socket
  readonly chunks: Buffer[] = []
  receivedBytes = 0
  ended = false
  closed = false
  errorCode: string | null = null

  constructor(socket: Socket, tcp: Socket) {
    this.socket = socket
    this.#tcp = tcp
    socket.on('data', (chunk: Buffer) => {
      this.chunks.push(chunk)
      this.receivedBytes += chunk.length
    })
    socket.on('end', () => (this.ended = true))
    const onError = (error: NodeJS.ErrnoException): void => {
      this.errorCode ??= error.code ?? error.message
    }
    socket.on('error', onError)
    tcp.on('error', onError)
    socket.on('close', () => (this.closed = true))
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString()
  }

  reset(): void {
    if ('resetAndDestroy' in this.#tcp && this.#tcp.remoteAddress !== undefined) this.#tcp.resetAndDestroy()
    else this.#tcp.destroy()
  }

  /** `limitBytes` in all. */
  async received(bytes: number): Promise<void> {
    await until(`${bytes} bytes received`, () => this.receivedBytes >= bytes)
  }
}

export class Wires {
  readonly transport: Transport
  readonly directory = mkdtempSync(join(tmpdir(), 'nearcast-wires-'))
  readonly #servers: Server[] = []
  readonly #ends: End[] = []
  readonly #tcps: Socket[] = []
  #sockets = 0
  readonly proxyTls: HopTls | undefined
  readonly agentTls: HopTls | undefined

  /** `shared`: the identities of another instance, in another thread. */
  constructor(transport: Transport, shared?: Identities) {
    this.transport = transport
    if (transport !== 'tls') return
    const { proxy, agent } = shared ?? (identities ??= issueIdentities())
    this.proxyTls = proxy
    this.agentTls = agent
  }

  path(): string {
    return join(this.directory, `${++this.#sockets}.sock`)
  }

  /** Where a plane is to listen. */
  listenTarget(): ListenTarget {
    if (this.transport === 'unix') return { kind: 'unix', path: this.path() }
    return { kind: 'tcp', host: '::', port: 0, ...(this.agentTls && { tls: this.agentTls }) }
  }

  /** A client of a listening plane. */
  client(listener: Pick<Listener, 'port'>, target: ListenTarget, pauseOnOpen = false): Promise<End> {
    const tcp = target.kind === 'unix' ? connect({ path: target.path, allowHalfOpen: true }) : connect({ host: '::1', port: listener.port, allowHalfOpen: true, noDelay: true })
    this.#tcps.push(tcp)
    const { proxyTls } = this
    const socket = proxyTls
      ? connectTls({ socket: tcp, ca: proxyTls.ca, cert: proxyTls.certificate, key: proxyTls.key, ALPNProtocols: [HOP_ALPN], checkServerIdentity: () => undefined })
      : tcp
    const end = this.#end(socket, tcp)
    if (pauseOnOpen) socket.pause()
    return new Promise((resolve, reject) => {
      socket.once(proxyTls ? 'secureConnect' : 'connect', () => resolve(end))
      // Reset so soon that the kernel tells of it before it tells of the connection.
      socket.once('error', (error: NodeJS.ErrnoException) => (error.code === 'ECONNRESET' ? resolve(end) : reject(error)))
    })
  }

  #end(socket: Socket, tcp: Socket): End {
    const end = new End(socket, tcp)
    this.#ends.push(end)
    return end
  }

  /** A server for a plane to dial. */
  async server(onEnd: (end: End) => void, options: { readonly highWaterMark?: number } = {}): Promise<DialTarget> {
    const { agentTls } = this
    const tls = agentTls && createTlsServer({ ca: agentTls.ca, cert: agentTls.certificate, key: agentTls.key, requestCert: true, ALPNProtocols: [HOP_ALPN] })
    const tcps = new Map<number | undefined, Socket>()
    const server = createServer({ allowHalfOpen: true, noDelay: true, ...options }, (tcp) => {
      this.#tcps.push(tcp)
      tcp.on('error', () => undefined)
      if (!tls) return onEnd(this.#end(tcp, tcp))
      tcps.set(tcp.remotePort, tcp)
      return void tls.emit('connection', tcp)
    })
    tls?.on('secureConnection', (socket) => onEnd(this.#end(socket, tcps.get(socket.remotePort) ?? socket)))
    this.#servers.push(server)
    const path = this.path()
    await new Promise<void>((resolve) => {
      if (this.transport === 'unix') server.listen({ path }, resolve)
      else server.listen({ host: '::1', port: 0 }, resolve)
    })
    if (this.transport === 'unix') return { kind: 'unix', path }
    const address = server.address()
    const port = typeof address === 'object' && address ? address.port : 0
    return { kind: 'tcp', host: '::1', port, ...(this.proxyTls && { tls: { ...this.proxyTls, identity: AGENT_IDENTITY } }) }
  }

  close(): void {
    for (const end of this.#ends) end.socket.destroy()
    for (const tcp of this.#tcps) tcp.destroy()
    for (const server of this.#servers) server.close()
    rmSync(this.directory, { recursive: true, force: true })
  }
}
