/**
 * TLS at the edge with real clients and servers: the proxy's own plane, state machine, certificates and headers between
 * redis-cli, ioredis and openssl in front, and a foreign node behind that reads PROXY v2 and hands on to a real Redis or to
 * a TLS server.
 */
import { execFile, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import type { ConnectionOptions } from 'node:tls'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { NetworkId } from '../../lib/address.ts'
import type { AddressTls, NodeRow } from '../../lib/feed/messages.ts'
import { createLogger } from '../../lib/log.ts'
import { PortablePlane } from '../../lib/plane/portable.ts'
import { decode } from '../../lib/proxy-protocol/decode.ts'
import { findTlv } from '../../lib/proxy-protocol/header.ts'
import type { ProxyHeader } from '../../lib/proxy-protocol/header.ts'
import { proxyConfig } from '../../proxy/config.ts'
import { Connection } from '../../proxy/connection.ts'
import type { ConnectionRecord } from '../../proxy/connection.ts'
import { openingFor } from '../../proxy/headers.ts'
import { openTlsEdge } from '../../proxy/tls/edge.ts'
import type { OpenTlsEdge } from '../../proxy/tls/edge.ts'
import { EdgeCa } from '../support/edge-certificates.ts'
import type { EdgeCertificate } from '../support/edge-certificates.ts'
import { until } from '../support/until.ts'

const NETWORK = 1 as NetworkId
const NODE: NodeRow = { id: 'foreign', region: 'mad', host: 'h', hop: 'v2', endpoint: '[::1]:1', keys: [] }

let directory: string
let certificates: string
let ca: EdgeCa
let redis: ChildProcess
let node: Server
let edge: OpenTlsEdge
const plane = new PortablePlane()
const records: ConnectionRecord[] = []
const headers: ProxyHeader[] = []
/** What the node does with a connection once it has read its header. */
let serve: (socket: Socket) => void = () => undefined

/** Both files, the way tools replace them: written beside and renamed. */
function put(stem: string, { certificate, key }: EdgeCertificate): void {
  for (const [suffix, content] of [['key', key], ['pem', certificate]] as const) {
    writeFileSync(join(directory, 'next'), content)
    renameSync(join(directory, 'next'), join(certificates, `${stem}.${suffix}`))
  }
}

function readHeader(socket: Socket): void {
  let held = Buffer.alloc(0)
  socket.on('error', () => undefined)
  const onData = (chunk: Buffer): void => {
    held = Buffer.concat([held, chunk])
    const decoded = decode(held)
    if (decoded.state !== 'done') return
    headers.push(decoded.header)
    socket.off('data', onData)
    socket.pause()
    if (held.length > decoded.headerBytes) socket.unshift(held.subarray(decoded.headerBytes))
    serve(socket)
  }
  socket.on('data', onData)
}

function toRedis(socket: Socket): void {
  const engine = connect({ path: join(directory, 'redis.sock') })
  engine.on('error', () => socket.destroy())
  socket.pipe(engine).pipe(socket)
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'nearcast-edge-'))
  certificates = mkdtempSync(join(directory, 'certificates-'))
  ca = await EdgeCa.create(directory)
  put('0-cache', await ca.issue(['cache.flycast', 'cache.example']))
  put('expired', await ca.issue(['expired.example'], { expired: true }))
  redis = spawn('redis-server', ['--port', '0', '--unixsocket', join(directory, 'redis.sock'), '--save', '', '--dir', directory], { stdio: 'ignore' })
  node = createServer({ allowHalfOpen: true }, readHeader).listen(0, '::1')
  await until('the node listens', () => node.listening)
  const tls = proxyConfig.shape.tls.parse({ directory: certificates, handshakeTimeoutMs: 3000, firstByteMs: 300, perNetworkHandshakes: 20 })
  edge = openTlsEdge(tls, createLogger('proxy', 'silent'), () => performance.now())
  expect(edge.faults()).toEqual([])
})

afterAll(async () => {
  await plane.destroy()
  edge.close()
  node.close()
  redis.kill('SIGKILL')
  rmSync(directory, { recursive: true, force: true })
})

beforeEach(() => {
  records.length = 0
  headers.length = 0
  serve = toRedis
})

/** A port that is an address with this policy. */
async function listen(tls: AddressTls): Promise<number> {
  const port = Number(Object(node.address()).port)
  const listener = await plane.listen({
    target: { kind: 'tcp', host: '::', port: 0 },
    brain: (id) =>
      new Connection({
        id,
        route: () => ({ allowed: true, network: NETWORK, org: 'o', service: 's', name: 'cache', address: 'fdaa:0:1:0:1::1', generation: 1, tls }),
        candidates: () => [{ node: NODE }],
        header: (_candidate, route, source, destination, seen) =>
          openingFor('proxy/mad-1', { row: NODE, target: { kind: 'tcp', host: '::1', port }, session: null }, route, source, destination, seen),
        tls: edge,
        now: () => performance.now(),
        dialResult: () => undefined,
        ended: (record) => records.push(record),
        connectTimeoutMs: () => 2000,
        deadlineMs: 3000,
      }),
  })
  return listener.port
}

/** @returns what the command says, whatever its exit code. */
function run(command: string, words: readonly string[], input = ''): Promise<string> {
  return new Promise((resolve) => {
    const child = execFile(command, words, { timeout: 10_000 }, (_error, stdout, stderr) => resolve(`${stdout}${stderr}`.trim()))
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(input)
  })
}

const cli = (port: number, ...words: string[]): Promise<string> => run('redis-cli', ['-h', '::1', '-p', String(port), ...words, 'ping'])
const client = (port: number, ...words: string[]): Promise<string> => run('openssl', ['s_client', '-connect', `[::1]:${port}`, '-CAfile', ca.file, ...words])
const text = (header: ProxyHeader | undefined, type: number): string | null => {
  const value = header && findTlv(header, type)?.value
  return value ? Buffer.from(value).toString('latin1') : null
}

const failed = (reason: string): number => records.filter(({ tls }) => tls?.mode === 'failed' && tls.reason === reason).length

/** Resolves once the handshake is over. */
function secure(port: number, options: ConnectionOptions = {}): Promise<{ socket: ReturnType<typeof connectTls>; error: string | null }> {
  return new Promise((resolve) => {
    const socket = connectTls({ host: '::1', port, ca: ca.pem, servername: 'cache.flycast', ...options })
    socket.on('secureConnect', () => resolve({ socket, error: null }))
    socket.on('error', (error: NodeJS.ErrnoException) => resolve({ socket, error: error.code ?? error.message }))
  })
}

describe('auto, in front of Redis', () => {
  test('redis-cli with and without TLS on one port; the node learns who came how', async () => {
    const port = await listen({ policy: 'auto' })
    expect(await cli(port)).toBe('PONG')
    expect(await cli(port, '--tls', '--cacert', ca.file, '--sni', 'cache.flycast')).toBe('PONG')
    expect(headers.map((header) => text(header, 0x02))).toEqual([null, 'cache.flycast'])
    expect(text(headers[1], 0x20)).toContain('TLSv1.3')
    expect(text(headers[0], 0x20)).toBeNull()
    await until('both have ended', () => records.length === 2)
    expect(records.map((record) => record.tls?.mode)).toEqual(['plain', 'terminated'])
  })

  test('ioredis, which checks the name and sends none, gets the certificate of the service', async () => {
    const port = await listen({ policy: 'auto' })
    const database = new Redis({ host: '::1', port, tls: { ca: ca.pem, checkServerIdentity: (_host, { subjectaltname }) => (subjectaltname?.includes('cache.flycast') ? undefined : new Error('another name')) } })
    try {
      await database.set('k', 'v'.repeat(200_000))
      expect((await database.get('k'))?.length).toBe(200_000)
    } finally {
      database.disconnect()
    }
  })

  test('a client that says nothing is taken for a plain one: a server that speaks first is heard, though late', async () => {
    serve = (socket) => void socket.end('220 hello\r\n')
    const port = await listen({ policy: 'auto' })
    const socket = connect({ host: '::1', port })
    let heard = ''
    socket.on('data', (chunk) => (heard += chunk.toString()))
    await until('the greeting', () => heard === '220 hello\r\n')
    socket.destroy()
  })
})

describe('what clients refuse, and what they are refused', () => {
  test('a wrong chain, an expired certificate, a wrong name', async () => {
    const port = await listen({ policy: 'terminate' })
    const stranger = await EdgeCa.create(directory, 'stranger')
    expect((await secure(port, { ca: stranger.pem })).error).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE')
    expect((await secure(port, { servername: 'expired.example' })).error).toBe('CERT_HAS_EXPIRED')
    expect(await client(port, '-servername', 'cache.flycast', '-verify_hostname', 'other.flycast')).toContain('hostname mismatch')
    expect(await client(port, '-servername', 'cache.flycast', '-verify_hostname', 'cache.flycast')).toContain('Verification: OK')
  })

  test('an unknown name: unrecognized_name; TLS 1.1: protocol_version; without TLS: reset. Nobody is dialled', async () => {
    const port = await listen({ policy: 'terminate' })
    expect(await client(port, '-servername', 'unknown.example')).toContain('unrecognized name')
    expect(await client(port, '-servername', 'cache.flycast', '-tls1_1', '-cipher', 'DEFAULT@SECLEVEL=0')).toContain('protocol version')
    expect(await cli(port)).toMatch(/reset|closed/i)
    expect(await client(port, '-servername', 'cache.flycast', '-tls1_2')).toContain('Protocol  : TLSv1.2')
    await until('all have ended', () => records.length === 4)
    expect(records.map(({ tls }) => (tls?.mode === 'failed' ? tls.reason : tls?.mode))).toEqual(['unknown-name', 'handshake', 'not-tls', 'terminated'])
    expect(headers).toHaveLength(1)
  })

  test('a session of an address without client certificates is worth nothing at one with', async () => {
    const clients = await EdgeCa.create(directory, 'clients')
    const [open, strict] = [await listen({ policy: 'terminate' }), await listen({ policy: 'terminate', clientCa: clients.pem })]
    const first = await secure(open, { maxVersion: 'TLSv1.2' })
    const session = first.socket.getSession()
    first.socket.destroy()
    const again = await secure(open, { session, maxVersion: 'TLSv1.2' })
    expect(again.socket.isSessionReused()).toBe(true)
    again.socket.destroy()
    expect((await secure(strict, { session, maxVersion: 'TLSv1.2' })).error).not.toBeNull()
    const app = await clients.issue(['app-1'])
    const proved = await secure(strict, { cert: app.certificate, key: app.key })
    expect(proved.error).toBeNull()
    proved.socket.write('PING\r\n')
    await until('the node sees the name', () => headers.some((header) => text(header, 0x20)?.includes('app-1') === true))
    proved.socket.destroy()
  })
})

test("passthrough: the TLS is the server's own, certificate and all; its node learns the name", async () => {
  const own = await (await EdgeCa.create(directory, 'own')).issue(['inside.example'])
  const server = createTlsServer({ cert: own.certificate, key: own.key }, (socket) => {
    socket.on('error', () => undefined)
    socket.end('from inside')
  })
  serve = (socket) => void server.emit('connection', socket)
  const port = await listen({ policy: 'passthrough' })
  const { socket, error } = await secure(port, { servername: 'inside.example', rejectUnauthorized: false })
  expect(error).toBeNull()
  expect(socket.getPeerCertificate().subject.CN).toBe('inside.example')
  let heard = ''
  socket.on('data', (chunk: Buffer) => (heard += chunk.toString()))
  await until('its words', () => heard === 'from inside')
  expect([text(headers[0], 0x02), text(headers[0], 0x20)]).toEqual(['inside.example', null])
  expect(await cli(port)).toMatch(/reset|closed/i)
  expect(headers).toHaveLength(1)
  socket.destroy()
})

test('certificates replaced again and again under load: no handshake fails, the new one is served', async () => {
  const port = await listen({ policy: 'terminate' })
  const errors: string[] = []
  const serials = new Set<string>()
  let handshakes = 0
  const load = new AbortController()
  const clients = Array.from({ length: 4 }, async () => {
    while (!load.signal.aborted) {
      const { socket, error } = await secure(port)
      if (error !== null) errors.push(error)
      serials.add(socket.getPeerCertificate().serialNumber ?? '')
      handshakes++
      socket.destroy()
    }
  })
  for (let round = 1; round <= 3; round++) {
    const { succeeded } = edge.state().reloads
    const count = serials.size
    put('0-cache', await ca.issue(['cache.flycast', 'cache.example']))
    await until(`reload ${round}`, () => edge.state().reloads.succeeded > succeeded)
    await until('the new one is served', () => serials.size > count)
  }
  load.abort()
  await Promise.all(clients)
  expect(errors).toEqual([])
  expect(serials.size).toBe(4)
  expect(handshakes).toBeGreaterThan(20)
})

test('half handshakes beyond the limit of their network are reset, and end in time; plain clients are served meanwhile', async () => {
  const port = await listen({ policy: 'auto' })
  const sockets = Array.from({ length: 30 }, () => {
    const socket = connect({ host: '::1', port })
    socket.on('error', () => undefined)
    socket.write(Buffer.from([0x16, 3, 1, 2, 0]))
    return socket
  })
  await until('ten are too many', () => failed('too-many-handshakes') === 10)
  expect(edge.state().handshakes).toBe(20)
  expect(await cli(port)).toBe('PONG')
  await until('the others are late', () => failed('timeout') === 20)
  expect(edge.state().handshakes).toBe(0)
  for (const socket of sockets) socket.destroy()
})
