/** The dialer's side of a session against a scripted agent: opening, losing, reopening, pings, what it remembers. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { NodeRow } from '../../lib/feed/messages.ts'
import { encodeAvailability, encodeFrame } from '../../lib/hop/frames.ts'
import type { SessionClientOptions, SessionState } from '../../lib/hop/session-client.ts'
import { SessionClient } from '../../lib/hop/session-client.ts'
import { createLogger } from '../../lib/log.ts'
import { ScriptedAgent, sessionHex } from '../support/scripted-agent.ts'
import { until } from '../support/until.ts'

let dir: string
let agent: ScriptedAgent
let client: SessionClient | undefined
let states: SessionState[]

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'nearcast-session-'))
  agent = new ScriptedAgent()
  states = []
})

afterEach(async () => {
  client?.close()
  client = undefined
  await agent.close()
  rmSync(dir, { recursive: true })
})

const path = (): string => join(dir, 'hop.sock')
const node = (): NodeRow => ({ id: 'gru-1', region: 'gru', host: 'h1', hop: 'signed-v2', endpoint: '[::1]:9', socket: path(), keys: [] })

function start(options: Partial<SessionClientOptions> = {}): SessionClient {
  client = new SessionClient({
    self: 'proxy/mad-1',
    node: node(),
    host: 'h1',
    tls: { ca: '', certificate: '', key: '' },
    log: createLogger('test', 'silent'),
    onState: (state) => states.push(state),
    pingIntervalMs: 20,
    openTimeoutMs: 500,
    backoffMs: [2, 20],
    ...options,
  })
  return client
}

const hexOf = (session: Uint8Array | null): string | null => (session === null ? null : Buffer.from(session).toString('hex'))

test('it opens with a session header and takes the challenge', async () => {
  await agent.listen(path())
  const session = await start().opened(5000)
  expect(hexOf(session)).toBe(sessionHex(1))
  expect(agent.connections[0]?.opening).toEqual({ kind: 'session', dialer: 'proxy/mad-1', agent: 'gru-1' })
  expect(states).toEqual(['open'])
})

test('counters never repeat, over sessions too', async () => {
  await agent.listen(path())
  const opened = start()
  await opened.opened(5000)
  const counters = [opened.nextCounter(), opened.nextCounter()]
  opened.reopen()
  await opened.opened(5000)
  counters.push(opened.nextCounter())
  expect(new Set(counters).size).toBe(3)
})

test('availability replaces the whole map, in parts too; load is kept', async () => {
  await agent.listen(path())
  const seen: number[] = []
  const opened = start({ onAvailability: (map) => seen.push(map.size) })
  await opened.opened(5000)
  const socket = agent.connections[0]?.socket
  const many = Object.fromEntries(Array.from({ length: 120 }, (_, index) => [`db${index}`, 'down']))
  socket?.write(encodeAvailability(many))
  await until('the map', () => opened.unavailable.size === 120)
  socket?.write(encodeFrame({ type: 'availability', unavailable: { db7: 'starting' } }))
  socket?.write(encodeFrame({ type: 'load', connections: 5 }))
  await until('the load', () => opened.load === 5)
  expect(opened.unavailable).toEqual(new Map([['db7', 'starting']]))
  expect(seen).toEqual([120, 1])
})

test('a broken connection keeps session, map and load, and is opened again', async () => {
  await agent.listen(path())
  const opened = start()
  await opened.opened(5000)
  agent.connections[0]?.socket.write(encodeFrame({ type: 'availability', unavailable: { db1: 'down' } }))
  await until('the map', () => opened.unavailable.size === 1)
  agent.onOpening = () => {}
  agent.connections[0]?.socket.destroy()
  await until('another connection', () => agent.connections.length === 2)
  expect(hexOf(opened.session)).toBe(sessionHex(1))
  expect(opened.unavailable.size).toBe(1)
  expect(opened.state).toBe('connecting')
  const second = agent.connections[1]
  if (second) agent.answer(second)
  await until('the new session', () => hexOf(opened.session) === sessionHex(2))
  expect(states).toEqual(['open', 'connecting', 'open'])
})

test('an agent that starts later, or restarts, is found', async () => {
  const opened = start()
  expect(await opened.opened(30)).toBeNull()
  await agent.listen(path())
  expect(hexOf(await opened.opened(5000))).toBe(sessionHex(1))
})

test('reopening drops the session at once, and only the one that was refused', async () => {
  await agent.listen(path())
  const opened = start({ backoffMs: [60_000, 60_000] })
  const first = await opened.opened(5000)
  if (first === null) throw new Error('no session')
  opened.reopen(first)
  expect(opened.session).toBeNull()
  // Without waiting: the backoff of this client is a minute.
  expect(hexOf(await opened.opened(5000))).toBe(sessionHex(2))
  opened.reopen(first)
  expect(hexOf(opened.session)).toBe(sessionHex(2))
})

test('reopening ends a wait between two attempts', async () => {
  const opened = start({ backoffMs: [60_000, 60_000] })
  await until('the first failure', () => opened.state === 'connecting')
  await agent.listen(path())
  const session = opened.opened(5000)
  while (agent.accepted === 0) {
    opened.reopen()
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(hexOf(await session)).toBe(sessionHex(1))
})

test('two pings without an answer end the connection', async () => {
  await agent.listen(path())
  const opened = start()
  await opened.opened(5000)
  await until('answered pings', () => states.length === 1 && agent.connections.length === 1)
  agent.answersPings = false
  await until('another connection', () => agent.connections.length > 1)
  agent.answersPings = true
  await until('it stays open', () => opened.state === 'open')
})

test('answered pings keep the connection', async () => {
  await agent.listen(path())
  const opened = start({ pingIntervalMs: 2 })
  await opened.opened(5000)
  let bytes = 0
  agent.connections[0]?.socket.on('data', (chunk: Buffer) => (bytes += chunk.length))
  await until('twenty pings', () => bytes > 20 * encodeFrame({ type: 'ping', n: 1 }).length)
  expect(agent.connections.length).toBe(1)
  expect(states).toEqual(['open'])
})

test.each<[string, (connection: { write: (bytes: Uint8Array) => void }) => void]>([
  ['says nothing', () => {}],
  ['answers noise', (socket) => socket.write(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'))],
  ['claims a frame of 4 GiB', (socket) => socket.write(Uint8Array.of(255, 255, 255, 255, 0))],
  ['sends a short session', (socket) => socket.write(Buffer.from('\0\0\0\x22{"type":"challenge","session":"0"}', 'latin1'))],
])('an agent that %s is left and tried again', async (_name, misbehave) => {
  await agent.listen(path())
  agent.onOpening = ({ socket }) => misbehave(socket)
  const opened = start({ openTimeoutMs: 40 })
  await until('a second attempt', () => agent.connections.length >= 2)
  expect(opened.session).toBeNull()
  agent.onOpening = (connection) => agent.answer(connection)
  expect(await opened.opened(5000)).not.toBeNull()
})

test('closing is final and ends waiting', async () => {
  const opened = start({ backoffMs: [60_000, 60_000] })
  const waiting = opened.opened(60_000)
  opened.close()
  opened.close()
  opened.reopen()
  expect(await waiting).toBeNull()
  expect(await opened.opened(60_000)).toBeNull()
  expect(states).toEqual(['closed'])
})

test('closing closes the connection', async () => {
  await agent.listen(path())
  await start().opened(5000)
  let ended = false
  agent.connections[0]?.socket.on('close', () => (ended = true))
  client?.close()
  await until('the close', () => ended)
  expect(states).toEqual(['open', 'closed'])
})
