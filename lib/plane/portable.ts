/**
 * The plane on Node's own sockets (net, tls): runs everywhere, and is the reference for every other one.
 *
 * Costs about half more CPU a request than a plane that talks to the kernel itself (DECISIONS.md).
 */
import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { peerCredentials } from '../kernel/peer-credentials.ts'
import type { ListenOptions, Listener, Peer, Plane, Rate, RateWaits } from './plane.ts'
import { PortableConnection } from './portable-connection.ts'
import { KEEP_ALIVE_AFTER_MS } from './portable-dial.ts'
import { Endpoint, SILENT } from './portable-endpoint.ts'
import { Handshakes } from './portable-handshakes.ts'
import { SecureServers } from './portable-secure.ts'
import { bind } from './portable-listen.ts'
import { Rates } from './portable-rates.ts'
import { socketAddress } from './socket-address.ts'

const MAX_CONNECTIONS = 10_000
const MAX_HANDSHAKES = 256
const HANDSHAKE_TIMEOUT_MS = 5000
/** A reset by a peer that isn't read at present is noticed within this. */
const PROBE_INTERVAL_MS = 500

export interface PortablePlaneOptions {
  /** Called with what a brain threw; its connection is reset. */
  readonly onDefect?: (id: number, error: unknown) => void
}

export class PortablePlane implements Plane {
  readonly name = 'portable'
  readonly #options: PortablePlaneOptions
  readonly #connections = new Map<number, PortableConnection>()
  readonly #listeners = new Set<Listener>()
  readonly #secureServers = new SecureServers()
  readonly #rates = new Rates()
  readonly #probing: NodeJS.Timeout
  #lastId = 0
  #destroyed: (() => void) | undefined
  #destroying: Promise<void> | undefined

  constructor(options: PortablePlaneOptions = {}) {
    this.#options = options
    this.#probing = setInterval(() => {
      for (const connection of this.#connections.values()) connection.probe()
    }, PROBE_INTERVAL_MS).unref()
  }

  get openConnections(): number {
    return this.#connections.size
  }

  async listen(options: ListenOptions): Promise<Listener> {
    const { target, maxConnections = MAX_CONNECTIONS } = options
    const rejected = { limit: 0, handshake: 0 }
    let open = 0
    const tls = 'tls' in target ? target.tls : undefined
    const handshakes = tls && new Handshakes(tls, {
      timeoutMs: options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS,
      limit: options.maxHandshakes ?? MAX_HANDSHAKES,
      rejected,
      secured: (socket, tcp, identity) => this.#enter(options, new Endpoint(socket, tcp, false, SILENT), tcp, { kind: 'certificate', identity }),
    })
    // pauseOnConnect: nothing is read before it is asked for.
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_AFTER_MS })
    server.on('connection', (tcp) => {
      if (open >= maxConnections) {
        rejected.limit++
        if (unix) tcp.destroy()
        else tcp.resetAndDestroy()
        return
      }
      open++
      tcp.once('close', () => open--)
      if (handshakes) handshakes.begin(tcp)
      else this.#enter(options, new Endpoint(tcp, tcp, unix, SILENT), tcp, unix ? processOf(tcp) : { kind: 'anonymous' })
    })
    await bind(server, target)
    const unix = typeof server.address() === 'string'
    const listener: Listener = {
      port: portOf(server),
      rejected,
      close: async () => {
        if (!this.#listeners.delete(listener)) return
        server.close()
        handshakes?.abandon()
        // The descriptor is closed at once; the callback of server.close() would wait for every open connection.
        await new Promise(setImmediate)
      },
    }
    this.#listeners.add(listener)
    if (this.#destroying) await listener.close()
    return listener
  }

  #enter(options: ListenOptions, client: Endpoint, tcp: Socket, peer: Peer): void {
    const id = ++this.#lastId
    const source = socketAddress(tcp.remoteAddress, tcp.remotePort)
    const destination = socketAddress(tcp.localAddress, tcp.localPort)
    const { answer } = options
    const connection = new PortableConnection(client, options.brain(id), {
      answer: answer && ((question) => answer(id, question)),
      secureServers: this.#secureServers,
      defect: (error) => this.#options.onDefect?.(id, error),
      rates: this.#rates,
      closed: () => {
        this.#connections.delete(id)
        if (this.#connections.size === 0) this.#destroyed?.()
      },
    })
    this.#connections.set(id, connection)
    connection.start({ type: 'accepted', source, destination, peer })
  }

  cut(id: number): boolean {
    const connection = this.#connections.get(id)
    connection?.cut()
    return connection !== undefined
  }

  setRate(name: string, rate: Rate | null): void {
    this.#rates.set(name, rate)
  }

  rateWaits(name: string): RateWaits | null {
    return this.#rates.waits(name)
  }

  destroy(): Promise<void> {
    this.#destroying ??= this.#destroy()
    return this.#destroying
  }

  async #destroy(): Promise<void> {
    await Promise.all([...this.#listeners].map((listener) => listener.close()))
    clearInterval(this.#probing)
    if (this.#connections.size === 0) return
    const gone = new Promise<void>((resolve) => {
      this.#destroyed = resolve
    })
    for (const connection of this.#connections.values()) connection.cut()
    await gone
  }
}

function portOf(server: Server): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** `_handle` is undocumented; its `fd` is the only way to ask the kernel about an accepted socket. */
function processOf(socket: Socket): Peer {
  const handle: unknown = Reflect.get(socket, '_handle')
  if (typeof handle !== 'object' || handle === null || !('fd' in handle) || typeof handle.fd !== 'number') return { kind: 'anonymous' }
  try {
    const { uid, pid } = peerCredentials(handle.fd)
    return { kind: 'process', uid, pid }
  } catch {
    return { kind: 'anonymous' }
  }
}
