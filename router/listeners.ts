/**
 * The router's two doors: the API in plain HTTP where nobody can listen in (loopback, Unix socket, inherited loopback
 * socket), and TLS for everything else: feed, join, API. The same routes behind both.
 */
import type { Server } from 'node:http'
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Server as NetServer } from 'node:net'
import { NearcastError } from '../lib/errors.ts'
import { TLS_VERSION } from '../lib/identity.ts'
import { isLoopback, listenOn, parseListen } from '../lib/listen.ts'
import type { RequestListener } from './registry/api/http.ts'
import type { Registry } from './registry/registry.ts'

export interface Listener {
  /** 0 on a Unix socket. */
  readonly port: number
  close(): Promise<void>
}

const HTTP_LIMITS = { headersTimeout: 10_000, requestTimeout: 20_000, keepAliveTimeout: 5000, maxHeaderSize: 16 * 1024 }
const MAX_CONNECTIONS = 2000

/** @throws NearcastError config.invalid (an inherited socket that isn't loopback), listen.in-use, listen.denied */
export async function listenPlain(listen: string, requests: RequestListener): Promise<Listener> {
  const server = createServer(HTTP_LIMITS, requests)
  const port = await listenOn(server, parseListen(listen))
  const address = server.address()
  if (typeof address === 'object' && address !== null && !isLoopback(address.address)) {
    server.close()
    throw new NearcastError('config.invalid', `api.listen: the inherited socket listens on ${address.address}; plain HTTP is for loopback only.`)
  }
  return listener(server, port)
}

/** @throws NearcastError listen.in-use, listen.denied */
export async function listenTls(listen: string, advertised: readonly string[], registry: Registry, requests: RequestListener): Promise<Listener> {
  const { authority, feed } = registry
  const own = await authority.issueServer(`router/${registry.id}`, [...new Set([...advertised, '127.0.0.1', '::1', 'localhost'])])
  // Who joins has no certificate yet, so none is demanded here; the feed demands one (feed-server.ts).
  const tls = { cert: own.certificate, key: own.key, ca: authority.pem, requestCert: true, rejectUnauthorized: false, minVersion: TLS_VERSION }
  const server = createTlsServer({ ...HTTP_LIMITS, ...tls, handshakeTimeout: 10_000 }, requests)
  server.on('upgrade', (request, socket, head) => feed.upgrade(request, socket, head))
  return listener(server, await listenOn(server, parseListen(listen)))
}

function listener(server: Server & NetServer, port: number): Listener {
  server.maxConnections = MAX_CONNECTIONS
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
