/**
 * The foreign node of the tests, as others see it: clients behind a header, redis-cli, strangers.
 */
import { execFile, spawn } from 'node:child_process'
import { connect, createServer } from 'node:net'
import type { Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { afterEach, expect, test } from 'vitest'
import { parseIpv6 } from '../../lib/address.ts'
import { encodeV1, encodeV2 } from '../../lib/proxy-protocol/encode.ts'
import { ForeignNode } from '../support/foreign-node.ts'
import type { ForeignEvent, ForeignNodeOptions } from '../support/foreign-node.ts'
import { until } from '../support/until.ts'

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

async function foreignNode(options: Partial<ForeignNodeOptions> = {}): Promise<{ port: number; events: ForeignEvent[] }> {
  const events: ForeignEvent[] = []
  const node = new ForeignNode({ allow: ['::1/128'], onEvent: (event) => void events.push(event), ...options })
  closing.push(() => node.close())
  return { port: await node.start(), events }
}

class Peer {
  readonly socket: Socket
  text = ''
  closed = false

  constructor(port: number, host = '::1') {
    this.socket = connect({ host, port })
    this.socket.on('data', (chunk: Buffer) => (this.text += chunk.toString()))
    this.socket.on('error', () => {})
    this.socket.on('close', () => (this.closed = true))
    closing.push(() => this.socket.destroy())
  }

  async says(text: string): Promise<void> {
    await until(JSON.stringify(text), () => this.text.endsWith(text))
  }
}

function addresses(destination: string) {
  const source = { ip: parseIpv6('fdaa:0:1:2::5'), port: 40_000 }
  return { family: 'ipv6', transport: 'stream', source, destination: { ip: parseIpv6(destination), port: 6379 } } as const
}

test('tenants are told apart by the destination of v1 and v2 headers', async () => {
  const { port, events } = await foreignNode()
  const first = new Peer(port)
  first.socket.write(Buffer.concat([encodeV1(addresses('fdaa:0:1:0:1::2')), Buffer.from('SET k one\r\nGET k\r\n')]))
  await first.says('+OK\r\n$3\r\none\r\n')
  const second = new Peer(port)
  second.socket.write(encodeV2({ command: 'proxy', addresses: addresses('fdaa:0:2:0:1::2'), tlvs: [] }))
  second.socket.write('*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*2\r\n$4\r\nINFO\r\n$6\r\ntenant\r\n')
  await second.says('$-1\r\n$34\r\n# Tenant\r\ntenant:fdaa:0:2:0:1::2\r\n\r\n')
  expect(events).toEqual([
    { event: 'header', version: 1, source: 'fdaa:0:1:2::5', tenant: 'fdaa:0:1:0:1::2' },
    { event: 'header', version: 2, source: 'fdaa:0:1:2::5', tenant: 'fdaa:0:2:0:1::2' },
  ])
})

test('strangers, headerless and slow clients are turned away', async () => {
  const { port, events } = await foreignNode({ headerTimeoutMs: 100 })
  const stranger = new Peer(port, '127.0.0.1')
  await until('the stranger is cut', () => stranger.closed)
  const bare = new Peer(port)
  bare.socket.write('*1\r\n$4\r\nPING\r\n')
  await until('the headerless one is cut', () => bare.closed)
  const slow = new Peer(port)
  slow.socket.write('PROXY TCP6 ')
  await until('the slow one is cut', () => slow.closed)
  expect(events.map((event) => event.event === 'refused' && event.reason)).toEqual(['source', 'header', 'timeout'])
})

test('a LOCAL header is a health check: it has no tenant', async () => {
  const { port } = await foreignNode()
  const probe = new Peer(port)
  probe.socket.write(encodeV2({ command: 'local', addresses: { family: 'unspecified' }, tlvs: [] }))
  probe.socket.write('PING\r\nGET k\r\n')
  await until('both replies', () => probe.text.split('\r\n').length === 3)
  expect(probe.text).toMatch(/^\+PONG\r\n-ERR no tenant/)
})

test('it runs as a process, and redis-cli works behind a relay that writes the header', async () => {
  const file = new URL('../support/foreign-node.ts', import.meta.url).pathname
  const child = spawn(process.execPath, [file, '--port', '0', '--allow', '::1/128', '--version', 'v1'], { stdio: ['ignore', 'pipe', 'inherit'] })
  closing.push(() => child.kill('SIGKILL'))
  const lines = createInterface({ input: child.stdout })
  const [line] = await new Promise<string[]>((resolve) => lines.once('line', (text: string) => resolve([text])))
  const { port } = JSON.parse(line ?? '') as { port: number }
  const relay = createServer((client) => {
    const upstream = connect({ host: '::1', port })
    upstream.write(encodeV1(addresses('fdaa:0:1:0:1::7')))
    client.pipe(upstream).pipe(client)
    for (const socket of [client, upstream]) socket.on('error', () => {})
  })
  await new Promise<void>((resolve) => relay.listen({ host: '127.0.0.1', port: 0 }, resolve))
  closing.push(() => new Promise((resolve) => relay.close(resolve)))
  const address = relay.address()
  const cli = (...words: string[]): Promise<string> =>
    new Promise((resolve, reject) => {
      const relayPort = typeof address === 'object' && address !== null ? address.port : 0
      execFile('redis-cli', ['-p', String(relayPort), ...words], { timeout: 5000 }, (error, stdout) => (error ? reject(error) : resolve(stdout.trim())))
    })
  expect(await cli('PING')).toBe('PONG')
  expect(await cli('SET', 'k', 'v')).toBe('OK')
  expect(await cli('GET', 'k')).toBe('v')
  expect(await cli('INFO', 'tenant')).toContain('tenant:fdaa:0:1:0:1::7')
})
