/**
 * Accepting on Node's sockets, plain or by mutual TLS: what comes in becomes a connection; beyond the limits it is reset.
 */
import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { peerCredentials } from '../kernel/peer-credentials.ts'
import type { Connections } from './connections.ts'
import { KEEP_ALIVE_AFTER_MS } from './dialling.ts'
import { SILENT } from './endpoint.ts'
import type { ListenOptions, Listener, Peer } from './plane.ts'
import { PortableEndpoint } from './portable-endpoint.ts'
import { Handshakes } from './portable-handshakes.ts'
import { bind } from './portable-listen.ts'
import { socketAddress } from './socket-address.ts'

export const MAX_CONNECTIONS = 10_000
const MAX_HANDSHAKES = 256
const HANDSHAKE_TIMEOUT_MS = 5000

/** @throws NearcastError listen.in-use, listen.denied, listen.failed */
export async function acceptOnNode(options: ListenOptions, connections: Connections): Promise<Listener> {
  const { target, maxConnections = MAX_CONNECTIONS } = options
  const rejected = { limit: 0, handshake: 0 }
  let open = 0
  const enter = (endpoint: PortableEndpoint, tcp: Socket, peer: Peer): void => {
    const source = socketAddress(tcp.remoteAddress, tcp.remotePort)
    const destination = socketAddress(tcp.localAddress, tcp.localPort)
    connections.enter(options, endpoint, { source, destination, peer })
  }
  const tls = 'tls' in target ? target.tls : undefined
  const handshakes = tls && new Handshakes(tls, {
    timeoutMs: options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS,
    limit: options.maxHandshakes ?? MAX_HANDSHAKES,
    rejected,
    secured: (socket, tcp, peer) => enter(new PortableEndpoint(socket, tcp, false, SILENT), tcp, peer),
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
    else enter(new PortableEndpoint(tcp, tcp, unix, SILENT), tcp, unix ? processOf(tcp) : { kind: 'anonymous' })
  })
  await bind(server, target)
  const unix = typeof server.address() === 'string'
  let closed = false
  return {
    port: portOf(server),
    rejected,
    close: async () => {
      if (closed) return
      closed = true
      server.close()
      handshakes?.abandon()
      // The descriptor is closed at once; the callback of server.close() would wait for every open connection.
      await new Promise(setImmediate)
    },
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
