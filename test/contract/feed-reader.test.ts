/** The reader against a router that misbehaves: what a good one never sends. */
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import type { Server } from 'node:https'
import { createServer } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { FeedChannel } from '../../lib/feed/channel.ts'
import { ChannelAcceptor } from '../../lib/feed/channel.ts'
import type { FeedReaderOptions } from '../../lib/feed/reader.ts'
import { FeedCache } from '../../lib/feed/cache.ts'
import { FeedReader } from '../../lib/feed/reader.ts'
import type { Identity } from '../../lib/identity.ts'
import { createLogger } from '../../lib/log.ts'
import { CertificateAuthority } from '../../router/registry/trust/certificate-authority.ts'
import { QUIET } from '../support/registry.ts'
import { until } from '../support/until.ts'

const directory = mkdtempSync(join(tmpdir(), 'nearcast-reader-'))
const closers: (() => Promise<void> | void)[] = []
let authority: CertificateAuthority
let identity: Identity

beforeAll(async () => {
  authority = await CertificateAuthority.open(directory)
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256', publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs8', format: 'pem' } })
  const { certificate } = await authority.issue('proxy/p', pair.publicKey)
  identity = { identity: 'proxy/p', certificate, key: pair.privateKey, ca: authority.pem }
})
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

interface FakeRouter {
  readonly url: string
  /** What each connection said, oldest first. */
  readonly heard: Record<string, unknown>[][]
}

/** `say`: called with each message of a reader; `connection` counts from 0. */
async function fakeRouter(say: (channel: FeedChannel, message: Record<string, unknown>, connection: number) => void | Promise<void>, name = 'router/main'): Promise<FakeRouter> {
  const own = await authority.issueServer(name, ['127.0.0.1'])
  const server: Server = createServer({ cert: own.certificate, key: own.key, ca: authority.pem, requestCert: true })
  const acceptor = new ChannelAcceptor({ pingMs: 1e6, deadMs: 1e7 })
  const heard: Record<string, unknown>[][] = []
  server.on('upgrade', (request, socket, head) => {
    acceptor.accept(request, socket, head, (open) => {
      const mine: Record<string, unknown>[] = []
      const connection = heard.push(mine) - 1
      const channel = open({
        message: (message) => {
          mine.push(message as Record<string, unknown>)
          void say(channel, message as Record<string, unknown>, connection)
        },
        closed: () => undefined,
      })
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(() => {
    server.close()
    server.closeAllConnections()
  })
  const address = server.address()
  return { url: `https://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`, heard }
}

let caches = 0
function readerOf(router: FakeRouter, options: Partial<FeedReaderOptions> = {}): { reader: FeedReader; calls: unknown[] } {
  const calls: unknown[] = []
  const reader = new FeedReader({
    url: router.url,
    identity,
    cacheFile: join(directory, `cache-${++caches}`),
    program: 'test',
    log: QUIET,
    apply: (_table, changes) => {
      calls.push(changes)
      return []
    },
    ask: async () => null,
    ...options,
  })
  closers.push(() => reader.stop())
  return { reader, calls }
}

const network = (id: number, name = 'n'): object => ({ table: 'networks', key: String(id), row: { id, org: 'o', name } })

test('a gap in the revisions ends the connection, and the next one asks for everything', async () => {
  const router = await fakeRouter((channel, message, connection) => {
    if (message['type'] === 'hello') channel.send({ type: 'snapshot', revision: 10, rows: [network(1)], last: true })
    if (message['type'] === 'ack' && connection === 0) channel.send({ type: 'changes', from: 11, revision: 12, rows: [network(2)] })
  })
  const { reader, calls } = readerOf(router)
  await reader.start()
  await until('connected again', () => router.heard.length === 2 && reader.state === 'connected')
  expect(router.heard[1]?.[0]).toMatchObject({ type: 'hello', revision: 0 })
  expect(calls).toEqual(['snapshot', 'snapshot'])
})

test('an ordinary loss of the connection resumes at the revision in force', async () => {
  const router = await fakeRouter((channel, message, connection) => {
    if (message['type'] === 'hello' && connection === 0) channel.send({ type: 'snapshot', revision: 10, rows: [network(1)], last: true })
    else if (message['type'] === 'hello') channel.send({ type: 'changes', from: 10, revision: 10, rows: [] })
    else if (connection === 0) channel.cut('bye')
  })
  const { reader } = readerOf(router)
  await reader.start()
  await until('connected again', () => router.heard.length === 2 && reader.state === 'connected')
  expect(router.heard[1]?.[0]).toMatchObject({ type: 'hello', revision: 10 })
})

test('tables, members and messages of a newer router are skipped; bad rows are refused one by one', async () => {
  const router = await fakeRouter((channel, message) => {
    if (message['type'] !== 'hello') return
    channel.send({ type: 'weather', sun: true })
    channel.send({
      type: 'snapshot',
      revision: 1,
      rows: [
        network(1),
        { table: 'volcanoes', key: 'etna', row: { height: 3357 } },
        { table: 'networks', key: '2', row: { id: 2, org: 'o', name: 'n', colour: 'red' } },
        { table: 'networks', key: '3', row: { id: 4, org: 'o', name: 'n' } },
        { table: 'addresses', key: 'fdaa:0:1:0:1:0:0:1', row: { address: 'FDAA:0:1:0:1::1', network: 1, generation: 1, service: 's' } },
        { table: 'addresses', key: 'nonsense', row: { address: 'nonsense', network: 1, generation: 1, service: 's' } },
        { table: 'services', key: 's', row: 'not an object' },
      ],
      last: true,
    })
  })
  const tables: unknown[] = []
  const { reader } = readerOf(router, {
    apply: (table) => {
      tables.push([[...table.networks.keys()], [...table.addresses.keys()], table.services.size])
      return []
    },
  })
  await reader.start()
  expect(tables).toEqual([[[1, 2], ['fdaa:0:1:0:1::1'], 0]])
  expect(reader.rejectedRows).toBe(3)
})

test('a snapshot is in force only when it is whole', async () => {
  const router = await fakeRouter((channel, message, connection) => {
    if (message['type'] !== 'hello') return
    channel.send({ type: 'snapshot', revision: 5, rows: [network(connection + 1)], last: false })
    if (connection === 0) return channel.cut('in the middle')
    channel.send({ type: 'snapshot', revision: 5, rows: [network(9)], last: true })
  })
  const seen: number[][] = []
  const { reader } = readerOf(router, {
    apply: (table) => {
      seen.push([...table.networks.keys()])
      return []
    },
  })
  await reader.start()
  expect(seen).toEqual([[2, 9]])
})

test('an apply that throws is not acknowledged; the table before stays and a snapshot is asked for', async () => {
  let calls = 0
  const router = await fakeRouter((channel, message, connection) => {
    if (message['type'] === 'hello') channel.send({ type: 'snapshot', revision: 3, rows: [], last: true })
    else if (message['type'] === 'ack' && connection === 0) channel.send({ type: 'changes', from: 3, revision: 4, rows: [network(1)] })
  })
  const { reader } = readerOf(router, {
    apply: () => {
      if (++calls === 2) throw new Error('no')
      return []
    },
  })
  await reader.start()
  await until('connected again', () => router.heard.length === 2 && reader.state === 'connected')
  expect(router.heard[0]?.filter((message) => message['type'] === 'ack')).toEqual([{ type: 'ack', revision: 3 }])
  expect(router.heard[1]?.[0]).toMatchObject({ revision: 0 })
})

test('questions are answered, also with an error, and the availability is said on every connection', async () => {
  const router = await fakeRouter((channel, message, connection) => {
    if (message['type'] === 'hello') channel.send({ type: 'snapshot', revision: 1, rows: [], last: true })
    if (message['type'] !== 'availability') return
    channel.send({ type: 'ask', id: 1, name: 'status', params: { a: 1 } })
    channel.send({ type: 'ask', id: 2, name: 'fail', params: null })
    if (connection === 0) channel.cut('again')
  })
  const { reader } = readerOf(router, { ask: async (name, params) => (name === 'status' ? { params } : Promise.reject(new Error('why'))) })
  reader.sendAvailability({ db: 'down' })
  await reader.start()
  await until('answers', () => router.heard[1]?.filter((message) => message['type'] === 'answer').length === 2)
  const said = router.heard[1] ?? []
  expect(said.find((message) => message['type'] === 'availability')).toEqual({ type: 'availability', unavailable: { db: 'down' } })
  expect(said.find((message) => message['id'] === 1)).toEqual({ type: 'answer', id: 1, result: { params: { a: 1 } } })
  expect(said.find((message) => message['id'] === 2)).toMatchObject({ error: { code: 'internal', message: 'why' } })
})

test('whoever is not a router is not believed, whatever the CA', async () => {
  const agent = await fakeRouter(() => undefined, 'agent/mad-1')
  const lines: string[] = []
  const { reader } = readerOf(agent, { log: createLogger('test', 'warn', { write: (line) => void lines.push(line) }) })
  const started = reader.start()
  await until('two attempts', () => lines.length >= 2)
  expect(lines[0]).toContain('agent/mad-1, not the peer that was dialled')
  expect([reader.state, agent.heard]).toEqual(['disconnected', []])
  await reader.stop()
  await started
})

test('a silent router, and a silent reader, count as gone after the dead time', async () => {
  const times = { pingMs: 20, deadMs: 80 }
  // A TLS peer that completes the upgrade and then says nothing, not even pong.
  const acceptor = new ChannelAcceptor(times)
  const own = await authority.issueServer('router/main', ['127.0.0.1'])
  const server = createServer({ cert: own.certificate, key: own.key })
  const gone = Promise.withResolvers<string>()
  server.on('upgrade', (request, socket, head) => {
    acceptor.accept(request, socket, head, (open) => void open({ message: () => undefined, closed: gone.resolve }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(() => {
    server.close()
    server.closeAllConnections()
  })
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const mute = connect({ host: '127.0.0.1', port, rejectUnauthorized: false })
  mute.on('error', () => undefined)
  mute.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n')
  mute.resume()
  expect(await gone.promise).toBe('the peer is silent')
  mute.destroy()

  const router = await fakeRouter((channel, message) => {
    if (message['type'] === 'hello') channel.send({ type: 'snapshot', revision: 1, rows: [], last: true })
  })
  // pong is sent by the router's WebSocket itself: a reader that pings stays connected.
  const { reader } = readerOf(router, { times })
  await reader.start()
  // That nothing happens can only be waited for: more than twice the dead time.
  const startMs = performance.now()
  await until('twice the dead time', () => performance.now() - startMs > 2.5 * times.deadMs)
  expect([reader.state, router.heard.length]).toEqual(['connected', 1])
})

test('what is acknowledged is on disk already: killed at that moment, the next start knows it', async () => {
  const found: unknown[] = []
  const file = join(directory, `cache-${++caches}`)
  // Read by a second reader, as a program that starts after SIGKILL does.
  const look = async (): Promise<void> => {
    const cached = await new FeedCache(file).load()
    found.push([cached?.revision, cached?.rows.map(({ key, row }) => (row === null ? `-${key}` : key))])
  }
  const router = await fakeRouter(async (channel, message) => {
    if (message['type'] === 'hello') channel.send({ type: 'snapshot', revision: 1, rows: [network(1)], last: true })
    if (message['type'] !== 'ack') return
    await look()
    if (message['revision'] === 1) channel.send({ type: 'changes', from: 1, revision: 2, rows: [network(2)] })
    if (message['revision'] === 2) channel.send({ type: 'changes', from: 2, revision: 3, rows: [{ table: 'networks', key: '1', row: null }] })
  })
  const { reader } = readerOf(router, { cacheFile: file })
  await reader.start()
  await until('three acknowledgements', () => found.length === 3)
  expect(found).toEqual([
    [1, ['1']],
    [2, ['1', '2']],
    [3, ['1', '2', '-1']],
  ])
  await reader.stop()
  const again = readerOf(router, { cacheFile: file })
  await again.reader.start()
  expect(again.calls[0]).toBe('partial')
  expect(again.reader.revision).toBe(3)
})

test('a snapshot with a refused row is partial, and the row that was in force stays', async () => {
  const router = await fakeRouter((channel, message, connection) => {
    if (message['type'] === 'hello' && connection === 0) channel.send({ type: 'snapshot', revision: 1, rows: [network(1), network(2)], last: true })
    else if (message['type'] === 'hello') channel.send({ type: 'snapshot', revision: 2, rows: [{ table: 'networks', key: '1', row: { id: 1 } }], last: true })
    else if (connection === 0) channel.cut('bye')
  })
  let networks: number[] = []
  const calls: unknown[] = []
  const { reader } = readerOf(router, {
    apply: (table, changes) => {
      calls.push(changes)
      networks = [...table.networks.keys()]
      return []
    },
  })
  await reader.start()
  await until('the second snapshot', () => calls.length === 2)
  expect(calls).toEqual(['snapshot', 'partial'])
  expect(networks).toEqual([1])
})
