/**
 * Services of other kinds behind a real agent: its hop in front, real TCP and Unix servers behind, HAProxy and a foreign
 * node as judges of the header that it writes towards them.
 */
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { STATUS } from '../../lib/hop/protocol.ts'
import { addressChange, backendRow, DataNode, dialerChange } from '../support/data-node.ts'
import type { DataNodeOptions } from '../support/data-node.ts'
import { ForeignNode } from '../support/foreign-node.ts'
import { foreignVersion, ForeignProxy, freePort } from '../support/foreign-proxy.ts'
import { HopDialer } from '../support/hop-dialer.ts'
import { LineServer } from '../support/line-server.ts'
import type { LineServerOptions } from '../support/line-server.ts'
import { until } from '../support/until.ts'

const ADDRESS = 'fdaa:0:1:0:1::2'
const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

async function dataNode(options: Partial<DataNodeOptions> = {}): Promise<{ node: DataNode; proxy: HopDialer }> {
  const node = await new DataNode({ id: 'mad', backends: { allow: ['127.0.0.1:*', '[::1]:*', `unix:${tmpdir()}/*/*.sock`] }, ...options }).listen()
  closing.push(() => node.close())
  await node.feed(dialerChange('proxy/mad-1'), addressChange(ADDRESS, 's'))
  const proxy = await new HopDialer({ path: node.socket, agent: 'mad' }).open()
  closing.push(() => proxy.close())
  return { node, proxy }
}

async function server(options: LineServerOptions = {}): Promise<LineServer> {
  const made = await new LineServer(options).start()
  closing.push(() => made.stop())
  return made
}

const echo: LineServerOptions = { answer: (bytes) => bytes }

test('a TCP and a Unix backend without a header get the plain bytes, both ways', async () => {
  const { node, proxy } = await dataNode()
  const path = join(node.directory, 'backend.sock')
  for (const backend of [await server(echo), await server({ ...echo, listen: path })]) {
    const target = backend.port > 0 ? `127.0.0.1:${backend.port}` : `unix:${path}`
    expect(await node.feed(backendRow('s', target))).toEqual([])
    expect(node.unavailable).toEqual({})
    const wire = proxy.connect('s', ADDRESS)
    expect(await wire.status()).toBe(STATUS.ok)
    expect(await wire.send('hello\r\n').reply()).toBe('hello\r\n')
    expect(backend.said).toEqual(['hello\r\n'])
  }
})

test('the header is first, whole and in one chunk, also before a server that speaks first', async () => {
  const { node, proxy } = await dataNode()
  const backend = await server({ greeting: '220 ready\r\n' })
  await node.feed(backendRow('s', `127.0.0.1:${backend.port}`, 'v1'))
  const wire = proxy.connect('s', ADDRESS)
  expect(await wire.reply('ready\r\n')).toBe('220 ready\r\n')
  const header = 'PROXY TCP6 fdaa:0:1:2::5 fdaa:0:1:0:1::2 40000 6379\r\n'
  await until('the header', () => backend.said.length > 0)
  expect(backend.said).toEqual([header])
  expect(backend.connections.find((chunks) => chunks.length > 0)?.[0]?.toString()).toBe(header)
  wire.send('QUIT\r\n')
  await until('the command', () => backend.said[0] === `${header}QUIT\r\n`)
})

test.each(['v1', 'v2'] as const)('a foreign node reads the %s header: source and tenant are the client’s', async (version) => {
  const { node, proxy } = await dataNode()
  const events: unknown[] = []
  const foreign = new ForeignNode({ allow: ['::1/128'], version, onEvent: (event) => events.push(event) })
  closing.push(() => foreign.close())
  await node.feed(backendRow('s', `[::1]:${await foreign.start()}`, version))
  const wire = proxy.connect('s', ADDRESS)
  expect(await wire.send('SET k v\r\nGET k\r\n').reply('v\r\n')).toBe('+OK\r\n$1\r\nv\r\n')
  // Checks come with v2's LOCAL, or with nothing.
  expect(events).toContainEqual({ event: 'header', version: version === 'v1' ? 1 : 2, source: 'fdaa:0:1:2::5', tenant: ADDRESS })
})

test.skipIf(foreignVersion('haproxy') === null).each(['v1', 'v2'] as const)('HAProxy accepts the %s header and passes on what it says', async (version) => {
  const { node, proxy } = await dataNode()
  const behind = await server(echo)
  const haproxy = new ForeignProxy()
  closing.push(() => haproxy.stop())
  const port = await freePort()
  await haproxy.start(
    'haproxy',
    `defaults
  mode tcp
  timeout connect 2s
  timeout client 10s
  timeout server 10s
listen front
  bind 127.0.0.1:${port} accept-proxy
  server behind 127.0.0.1:${behind.port} send-proxy
listen ready
  bind unix@${haproxy.ready}
  server behind 127.0.0.1:${behind.port}
`,
  )
  await node.feed(backendRow('s', `127.0.0.1:${port}`, version))
  const wire = proxy.connect('s', ADDRESS).send('x')
  await until('the bytes behind HAProxy', () => behind.said.some((text) => text.includes('fdaa')))
  expect(behind.said).toContain('PROXY TCP6 fdaa:0:1:2::5 fdaa:0:1:0:1::2 40000 6379\r\nx')
  expect(await wire.status()).toBe(STATUS.ok)
})

test('a backend that isn’t allowed is never dialled: reported, and status 3', async () => {
  const { node, proxy } = await dataNode({ backends: { allow: ['127.0.0.1:1'] } })
  const backend = await server(echo)
  expect(await node.feed(backendRow('s', `127.0.0.1:${backend.port}`))).toMatchObject([{ service: 's', code: 'service.backend-denied' }])
  await until('the session hears of it', () => proxy.unavailable?.['s'] === 'service.backend-denied')
  expect(await proxy.connect('s', ADDRESS).status()).toBe(STATUS.unavailable)
  expect(node.unavailable).toEqual({ s: 'service.backend-denied' })
  expect(backend.connections).toEqual([])
})

test('by default nothing is allowed', async () => {
  const { node } = await dataNode({ backends: {} })
  expect(await node.feed(backendRow('s', '127.0.0.1:5432'))).toMatchObject([{ code: 'service.backend-denied' }])
})

test('one that goes away answers status 3, and is available again by itself', async () => {
  const { node, proxy } = await dataNode()
  const backend = await server(echo)
  const { port } = backend
  await node.feed(backendRow('s', `127.0.0.1:${port}`))
  await backend.stop()
  expect(await proxy.connect('s', ADDRESS).status()).toBe(STATUS.unavailable)
  await until('dialers hear of it', () => proxy.unavailable?.['s'] === 'service.backend-down')
  expect(await node.metric('nearcast_agent_backend_up{service="s"}')).toBe(0)
  await server({ ...echo, listen: port })
  await until('dialers hear that it is back', () => proxy.unavailable !== null && !('s' in proxy.unavailable))
  expect(await proxy.connect('s', ADDRESS).status()).toBe(STATUS.ok)
  expect(await node.metric('nearcast_agent_backend_up{service="s"}')).toBe(1)
})

test('a postgres backend is asked whether it is one', async () => {
  const { node } = await dataNode()
  const silent = await server()
  const wrong = await server({ greeting: '220 smtp\r\n' })
  const right = await server({ answer: () => 'N' })
  expect(await node.feed(backendRow('silent', `127.0.0.1:${silent.port}`, 'none', 'postgres'))).toMatchObject([{ code: 'service.backend-down' }])
  expect(await node.feed(backendRow('wrong', `127.0.0.1:${wrong.port}`, 'none', 'postgres'))).toMatchObject([{ code: 'service.backend-down' }])
  expect(await node.feed(backendRow('right', `127.0.0.1:${right.port}`, 'v2', 'postgres'))).toEqual([])
  expect(Object.keys(node.unavailable).toSorted()).toEqual(['silent', 'wrong'])
  // LOCAL first, then the GSSENCRequest.
  expect(Buffer.from(right.said[0] ?? '', 'latin1').toString('hex')).toBe('0d0a0d0a000d0a515549540a200000000000000804d21630')
})

test('a removed service cuts its connections, and nobody looks after its backend any more', async () => {
  const { node, proxy } = await dataNode()
  const backend = await server(echo)
  await node.feed(backendRow('s', `127.0.0.1:${backend.port}`))
  const wire = proxy.connect('s', ADDRESS)
  expect(await wire.status()).toBe(STATUS.ok)
  await node.feed({ table: 'services', key: 's', row: null })
  await until('the cut', () => wire.closed)
  expect(node.agent.backends.services.size).toBe(0)
})
