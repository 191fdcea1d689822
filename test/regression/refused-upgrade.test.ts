/** Whoever reaches the feed's port without a certificate that counts must neither stop the router nor hold its connections. */
import { connect } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import { connect as connectTcp } from 'node:net'
import type { Socket } from 'node:net'
import { expect, test } from 'vitest'
import { startRegistry } from '../support/registry.ts'

const UPGRADE = 'GET /v1/feed HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n'

interface Stranger {
  readonly tls: TLSSocket
  readonly tcp: Socket
}

async function stranger(feedUrl: string): Promise<Stranger> {
  const tcp = connectTcp({ host: '::1', port: Number(new URL(feedUrl).port), allowHalfOpen: true })
  const tls = connect({ socket: tcp, rejectUnauthorized: false })
  tcp.on('error', () => undefined)
  tls.on('error', () => undefined)
  await new Promise((resolve) => tls.once('secureConnect', resolve))
  return { tls, tcp }
}

test('a refused upgrade whose sender resets stops nothing', async () => {
  const uncaught: unknown[] = []
  const onUncaught = (error: unknown): void => void uncaught.push(error)
  const others = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.on('uncaughtException', onUncaught)
  const registry = await startRegistry()
  try {
    for (let round = 0; round < 20; round++) {
      const { tls, tcp } = await stranger(registry.feedUrl)
      tls.write(UPGRADE)
      await new Promise((resolve) => tls.once('data', resolve))
      tcp.resetAndDestroy()
    }
    expect((await registry.call('GET', '/v1/orgs')).status).toBe(200)
    expect(uncaught).toEqual([])
  } finally {
    await registry.remove()
    process.off('uncaughtException', onUncaught)
    for (const other of others) process.on('uncaughtException', other)
  }
})

test('a refused upgrade is closed although its sender holds on to it', async () => {
  const registry = await startRegistry()
  const { tls, tcp } = await stranger(registry.feedUrl)
  try {
    tls.write(UPGRADE)
    await new Promise((resolve) => tls.once('data', resolve))
    // A server that has stopped listening is closed when its last connection is.
    await registry.close()
    expect(tcp.writable).toBe(true)
  } finally {
    tcp.destroy()
    await registry.remove()
  }
})
