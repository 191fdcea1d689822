/**
 * Brings the user's own shell into a customer's network: accepts on a listening descriptor that was opened outside
 * (127.0.0.1:16379) and dials the demo database's address from inside that customer's app host, where this program runs.
 *   node forwarder.ts <descriptor> <address> <port>
 * Only for `nearcast dev`. Half-close is kept both ways; a refused address resets the client.
 */
import { createConnection, createServer } from 'node:net'
import type { Socket } from 'node:net'

const DIAL_TIMEOUT_MS = 15_000

const [descriptor, host, port] = process.argv.slice(2)

function join(client: Socket): void {
  const upstream = createConnection({ host: host ?? '', port: Number(port), allowHalfOpen: true, noDelay: true })
  const timer = setTimeout(() => upstream.destroy(), DIAL_TIMEOUT_MS)
  upstream.once('connect', () => clearTimeout(timer))
  client.pipe(upstream)
  upstream.pipe(client)
  for (const [socket, other] of [[client, upstream], [upstream, client]] as const) {
    socket.on('error', () => other.resetAndDestroy())
    socket.on('close', () => {
      clearTimeout(timer)
      if (!socket.readableEnded) other.resetAndDestroy()
    })
  }
}

const server = createServer({ allowHalfOpen: true, noDelay: true }, join)
server.listen({ fd: Number(descriptor) }, () => process.stdout.write('ready\n'))
process.on('SIGTERM', () => process.exit(0))
