/** Targets, the dial with its identities, and probes of every kind of node. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { Server } from 'node:net'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { NodeRow } from '../../lib/feed/messages.ts'
import { probe } from '../../lib/hop/probe.ts'
import { dialTarget, parseEndpoint } from '../../lib/hop/target.ts'
import type { DialTarget, HopTls } from '../../lib/plane/plane.ts'
import type { TestCa } from '../support/certificates.ts'
import { createTestCa } from '../support/certificates.ts'
import { ScriptedAgent } from '../support/scripted-agent.ts'

let dir: string
let ca: TestCa
let proxyTls: HopTls
let agentTls: HopTls
const cleanups: (() => unknown)[] = []

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'nearcast-probe-'))
  ca = createTestCa(dir)
  proxyTls = ca.issue('nearcast://proxy/mad-1')
  agentTls = ca.issue('nearcast://agent/gru-1')
})
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup()
})
afterAll(() => rmSync(dir, { recursive: true }))

const row: NodeRow = { id: 'gru-1', region: 'gru', host: 'h1', hop: 'signed-v2', endpoint: '[fd00::1]:7400', socket: '/run/hop.sock', keys: [] }
const tls: HopTls = { ca: 'CA', certificate: 'CERT', key: 'KEY' }

test('the same host takes the Unix socket, others mutual TLS, foreign nodes plain TCP', () => {
  expect(dialTarget(row, 'h1', tls)).toEqual({ kind: 'unix', path: '/run/hop.sock' })
  const remote = { kind: 'tcp', host: 'fd00::1', port: 7400 }
  expect(dialTarget(row, 'h2', tls)).toEqual({ ...remote, tls: { ...tls, identity: 'nearcast://agent/gru-1' } })
  const { socket: _socket, ...without } = row
  expect(dialTarget(without, 'h1', tls)).toEqual({ ...remote, tls: { ...tls, identity: 'nearcast://agent/gru-1' } })
  for (const hop of ['v1', 'v2'] as const) expect(dialTarget({ ...row, hop }, 'h1', tls)).toEqual(remote)
})

test('only the three members of TLS go into a target', () => {
  const identity = { ...tls, identity: 'nearcast://proxy/mad-1' }
  expect(dialTarget(row, 'h2', identity)).toMatchObject({ tls: { identity: 'nearcast://agent/gru-1' } })
})

test.each<[string, unknown]>([
  ['[::1]:1', { host: '::1', port: 1 }],
  ['10.0.0.1:65535', { host: '10.0.0.1', port: 65535 }],
  ['node.example:7400', { host: 'node.example', port: 7400 }],
])('%s is an endpoint', (text, expected) => expect(parseEndpoint(text)).toEqual(expected))

test.each(['', ':1', '::1:7400', '[::1]', '[::1]:0', '[::1]:65536', 'a:b', 'a:1:2', '[[::1]]:1', 'a:+1', ' a:1 2'])('"%s" is none', (text) => {
  expect(() => parseEndpoint(text)).toThrow(expect.objectContaining({ code: 'node.endpoint-invalid' }))
})

async function startAgent(tlsOfAgent?: HopTls): Promise<{ agent: ScriptedAgent; target: DialTarget }> {
  const agent = new ScriptedAgent(tlsOfAgent)
  cleanups.push(() => agent.close())
  if (tlsOfAgent === undefined) {
    const path = join(dir, `${Math.random().toString(36).slice(2)}.sock`)
    await agent.listen(path)
    return { agent, target: { kind: 'unix', path } }
  }
  const port = await agent.listen()
  return { agent, target: { kind: 'tcp', host: '::1', port, tls: { ...proxyTls, identity: 'nearcast://agent/gru-1' } } }
}

const signed = { id: 'gru-1', hop: 'signed-v2' } as const

test.each([['a Unix socket', false], ['mutual TLS', true]])('a probe over %s', async (_name, remote) => {
  const { agent, target } = await startAgent(remote ? agentTls : undefined)
  const { connectMs, rttMs } = await probe(target, 'proxy/mad-1', signed, 5000)
  expect(agent.connections[0]?.opening).toEqual({ kind: 'probe', dialer: 'proxy/mad-1', agent: 'gru-1' })
  expect(connectMs).toBeGreaterThan(0)
  expect(rttMs).toBeGreaterThan(0)
})

test.each<[string, () => HopTls]>([
  ['another agent', () => ca.issue('nearcast://agent/gru-2')],
  ['a proxy of the same id', () => ca.issue('nearcast://proxy/gru-1')],
  ['two names', () => ca.issue('nearcast://agent/gru-1', 'nearcast://agent/gru-2')],
  ['another CA', () => createTestCa(dir, `other${Math.random()}`).issue('nearcast://agent/gru-1')],
])('the certificate of %s is not believed, nothing is sent', async (_name, issue) => {
  const { agent, target } = await startAgent(issue())
  await expect(probe(target, 'proxy/mad-1', signed, 5000)).rejects.toMatchObject({ code: 'hop.dial-failed' })
  expect(agent.connections).toEqual([])
})

test('an agent that accepts and is stopped is found out: the time covers the answer', async () => {
  const { agent, target } = await startAgent()
  agent.onOpening = () => {}
  await expect(probe(target, 'proxy/mad-1', signed, 50)).rejects.toMatchObject({ code: 'hop.timeout', retryable: true })
})

test('so does a TLS handshake that never ends', async () => {
  const { port } = await listenPlain(() => {})
  const target: DialTarget = { kind: 'tcp', host: '::1', port, tls: { ...proxyTls, identity: 'nearcast://agent/gru-1' } }
  await expect(probe(target, 'proxy/mad-1', signed, 50)).rejects.toMatchObject({ code: 'hop.timeout' })
})

test('nobody listens', async () => {
  await expect(probe({ kind: 'unix', path: join(dir, 'none') }, 'proxy/mad-1', signed, 5000)).rejects.toMatchObject({ code: 'hop.dial-failed' })
})

test('closed or answered with noise', async () => {
  const { agent, target } = await startAgent()
  agent.onOpening = ({ socket }) => socket.destroy()
  await expect(probe(target, 'proxy/mad-1', signed, 5000)).rejects.toMatchObject({ code: 'hop.protocol' })
  agent.onOpening = ({ socket }) => void socket.write('-ERR Protocol error: too big mbulk count string\r\n')
  await expect(probe(target, 'proxy/mad-1', signed, 5000)).rejects.toMatchObject({ code: 'hop.protocol' })
})

test('a probe can be given up', async () => {
  const { agent, target } = await startAgent()
  const giveUp = new AbortController()
  agent.onOpening = () => giveUp.abort()
  await expect(probe(target, 'proxy/mad-1', signed, 60_000, giveUp.signal)).rejects.toMatchObject({ code: 'hop.dial-failed' })
  await expect(probe(target, 'proxy/mad-1', signed, 60_000, giveUp.signal)).rejects.toMatchObject({ code: 'hop.dial-failed' })
})

async function listenPlain(onBytes: (bytes: Buffer) => void): Promise<{ server: Server; port: number }> {
  const server = createServer((socket) => {
    const chunks: Buffer[] = []
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    socket.on('error', () => {})
    socket.on('close', () => onBytes(Buffer.concat(chunks)))
  })
  server.listen(0, '::1')
  await once(server, 'listening')
  cleanups.push(() => new Promise((resolve) => server.close(resolve)))
  const address = server.address()
  return { server, port: address !== null && typeof address === 'object' ? address.port : 0 }
}

test.each([
  ['v1', ''],
  ['v2', '0d0a0d0a000d0a515549540a20000000'],
] as const)('a foreign %s node is dialled and left, with what its version allows', async (hop, hex) => {
  const { promise, resolve } = Promise.withResolvers<Buffer>()
  const { port } = await listenPlain(resolve)
  const { connectMs, rttMs } = await probe({ kind: 'tcp', host: '::1', port }, 'proxy/mad-1', { id: 'foreign', hop }, 5000)
  expect(rttMs).toBe(connectMs)
  expect((await promise).toString('hex')).toBe(hex)
})
