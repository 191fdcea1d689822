/** A plain port in front of a data node's hop, as a proxy is one: for clients that know nothing of it (ioredis, redis-cli). */
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { encodeFrame } from '../../lib/hop/frames.ts'
import { HopDialer } from './hop-dialer.ts'

const PING_MS = 2000

export interface HopRelay {
  readonly port: number
  close(): Promise<void>
}

export async function startHopRelay(path: string, agent: string, service: string, address: string): Promise<HopRelay> {
  const dialer = await new HopDialer({ path, agent }).open()
  // A dialer that says nothing loses its session.
  const pings = setInterval(() => dialer.sessionWire?.send(encodeFrame({ type: 'ping', n: 1 })), PING_MS).unref()
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const { socket } = dialer.connect(service, address)
    sockets.add(client)
    client.on('error', () => socket.destroy())
    socket.removeAllListeners('data')
    socket.once('data', (first: Buffer) => {
      // The status byte.
      if (first[0] !== 0) {
        client.destroy()
        return
      }
      client.write(first.subarray(1))
      socket.pipe(client)
      client.pipe(socket)
    })
    socket.on('close', () => client.destroySoon())
    client.on('close', () => {
      sockets.delete(client)
      socket.destroy()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      clearInterval(pings)
      for (const socket of sockets) socket.destroy()
      dialer.close()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
