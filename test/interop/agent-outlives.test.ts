/** Engines that go on when their agent ends, and what the next agent makes of them: with real redis-server. */
import { spawn } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { probeProcessHandles } from '../../lib/kernel/process-handle.ts'
import type { Change } from '../../lib/feed/messages.ts'
import { addressChange, databaseRow, DataNode, dialerChange } from '../support/data-node.ts'
import { startDataNodeProcess } from '../support/data-node-process.ts'
import { HopDialer } from '../support/hop-dialer.ts'
import { killWithin, runs } from '../support/processes.ts'
import { until } from '../support/until.ts'

const HERE = [{ node: 'mad', role: 'primary' as const }]
const ADDRESS = 'fdaa:0:1:0:1::2'
const ROWS: readonly Change[] = [databaseRow('db', HERE, 'pw', { appendFsync: 'always' }), addressChange(ADDRESS, 'db'), dialerChange('proxy/mad-1')]
const closing: (() => unknown)[] = []
const handles = probeProcessHandles()
const forbidden = handles.answer === 'yes' ? false : handles.reason

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'nearcast-outlives-'))
  closing.push(() => rmSync(path, { recursive: true, force: true }))
  // Whatever becomes of the test.
  closing.push(() => killWithin(path))
  return path
}

async function nextAgent(dataDir: string, redis: Record<string, unknown> = {}, tls = ''): Promise<DataNode> {
  const node = new DataNode({ id: 'mad', dataDir, redis: { outliveAgent: true, ...redis }, ...(tls !== '' && { tls: { ca: '', certificate: '', key: tls } }) })
  closing.push(() => node.close())
  if (tls === '') await node.listen()
  return node
}

/** Its end leaves its engines. In this very process, where how it ends is not the question. */
async function firstAgent(dataDir: string, rows = ROWS): Promise<{ readonly pid: number; readonly socket: string; end(): Promise<void> }> {
  const node = await new DataNode({ id: 'mad', dataDir, redis: { outliveAgent: true }, leaveEngines: () => true }).listen()
  closing.push(() => node.close())
  await node.feed(...rows)
  const pid = node.enginePid('db')
  return { pid, socket: node.socket, end: () => node.close() }
}

/** The same program, as another file. */
function anotherServer(pid: number): string {
  const place = directory()
  // Engines run under a uid of their own.
  chmodSync(place, 0o755)
  copyFileSync(`/proc/${pid}/exe`, join(place, 'redis-server'))
  chmodSync(join(place, 'redis-server'), 0o755)
  return join(place, 'redis-server')
}

async function dialer(socket: string): Promise<HopDialer> {
  const opened = await new HopDialer({ path: socket, agent: 'mad' }).open()
  closing.push(() => opened.close())
  return opened
}

test.skipIf(forbidden)('killed under load: its engines go on as the next one\'s, and nothing that was acknowledged is lost', async () => {
  const dataDir = directory()
  const agent = await startDataNodeProcess({ id: 'mad', dataDir }, ROWS)
  closing.push(() => agent.end('SIGKILL'))
  const pid = agent.engines['db'] ?? 0
  const wire = (await dialer(agent.socket)).connect('db', ADDRESS)
  expect(await wire.status()).toBe(0)
  wire.send('AUTH pw\r\n')
  let sent = 0
  const more = setInterval(() => {
    for (let each = 0; each < 50; each++) wire.send(`SET k${sent++} v\r\n`)
  }, 1)
  closing.push(() => clearInterval(more))
  const acknowledged = (): number => wire.text.split('+OK\r\n').length - 2
  await until('many writes', () => acknowledged() > 1000)
  await agent.end('SIGKILL')
  clearInterval(more)
  await until('its connections end with it', () => wire.closed)
  expect(runs(pid)).toBe(true)

  const node = await nextAgent(dataDir)
  expect(await node.feed(...ROWS)).toEqual([])
  // Not repeated: the first one is served.
  const first = await dialer(node.socket)
  expect(await first.command('db', ADDRESS, 'pw', `GET k${acknowledged() - 1}`)).toBe('$1\r\nv\r\n')
  expect(Number((await first.command('db', ADDRESS, 'pw', 'DBSIZE')).slice(1))).toBeGreaterThanOrEqual(acknowledged())
  expect(node.enginePid('db')).toBe(pid)
  expect(await node.metric('nearcast_agent_engine_adoptions_total{service="db"}')).toBe(1)
  // Watched like one of its own.
  process.kill(pid, 'SIGKILL')
  await until('unavailable', () => node.unavailable['db'] === 'redis.crashed')
  await node.available('db')
  expect(node.enginePid('db')).not.toBe(pid)
  expect(await first.command('db', ADDRESS, 'pw', `GET k${acknowledged() - 1}`)).toBe('$1\r\nv\r\n')
})

test.skipIf(forbidden)('what changed while no agent was there holds for the engine that goes on', async () => {
  const dataDir = directory()
  const users = [{ name: 'gone', passwordSha256: 'ab'.repeat(32), rules: ['~*', '+get'] }]
  const agent = await firstAgent(dataDir, [databaseRow('db', HERE, 'pw', { users }), ...ROWS.slice(1)])
  for (let round = 0; round < 5; round++) expect(await (await dialer(agent.socket)).command('db', ADDRESS, 'pw', 'SET k v')).toBe('+OK\r\n')
  await agent.end()
  const node = await nextAgent(dataDir)
  expect(await node.feed(databaseRow('db', HERE, 'new', { maxMemoryBytes: 3 << 20 }), ...ROWS.slice(1))).toEqual([])
  await node.available('db')
  expect(node.enginePid('db')).toBe(agent.pid)
  // What it was asked before is the account of the agent before this one.
  expect(await node.agent.answer('redis.statistics', { service: 'db' })).toMatchObject({ commands: { total: 0 }, engine: { keys: 1 } })
  const speaks = await dialer(node.socket)
  expect(await speaks.command('db', ADDRESS, 'new', 'INFO memory')).toContain(`maxmemory:${4 << 20}\r\n`)
  // One by one: newer engines say nothing to a failed AUTH while an answer before it is on its way.
  for (const login of ['AUTH pw', 'AUTH gone x']) {
    const wire = speaks.connect('db', ADDRESS).send(`${login}\r\n`)
    await until('its refusal', () => wire.text.includes('-WRONGPASS'))
  }
  // Nobody beside the three that there always are.
  expect((await node.agent.tenants.supervisors.get('db')?.look([['ACL', 'USERS']]))?.[0]).toMatchObject({ items: { length: 3 } })
})

test.skipIf(forbidden)('one that another agent knows, another program runs, or that answers nobody is replaced, with its data', async () => {
  for (const what of ['stranger', 'silent', 'upgraded'] as const) {
    const dataDir = directory()
    const agent = await firstAgent(dataDir)
    expect(await (await dialer(agent.socket)).command('db', ADDRESS, 'pw', 'SET k v')).toBe('+OK\r\n')
    await agent.end()
    const { pid } = agent
    if (what === 'silent') process.kill(pid, 'SIGSTOP')
    const server = what === 'upgraded' ? { server: anotherServer(pid) } : {}
    const node = await nextAgent(dataDir, { silentTimeoutMs: 500, ...server }, what === 'stranger' ? 'of another agent' : '')
    await node.feed(...ROWS)
    await node.available('db')
    expect(node.enginePid('db')).not.toBe(pid)
    expect((await node.agent.tenants.supervisors.get('db')?.ask([['EXISTS', 'k']], 5000))?.[0]).toMatchObject({ value: 1 })
    expect(await node.metric('nearcast_agent_engine_adoptions_total{service="db"}')).toBe(null)
    await node.stop()
  }
})

test.skipIf(forbidden)('a process that only has the number of one that was noted is left alone', async () => {
  const dataDir = directory()
  const agent = await firstAgent(dataDir)
  await agent.end()
  const { pid } = agent
  process.kill(pid, 'SIGKILL')
  await until('it is gone', () => !runs(pid))
  const file = join(dataDir, 'db', 'engine')
  // One that holds the very lock, and one that holds nothing.
  for (const words of [['-F', '-n', join(dataDir, 'db', 'lock'), 'sleep', '600'], ['-F', '-n', file, 'sleep', '600']]) {
    const foreign = spawn('flock', words, { cwd: join(dataDir, 'db', 'data'), stdio: 'ignore' })
    closing.push(() => foreign.kill('SIGKILL'))
    const ended = new Promise((resolve) => foreign.once('exit', resolve))
    await until('it sleeps', () => readFileSync(`/proc/${foreign.pid}/comm`, 'utf8') === 'sleep\n')
    writeFileSync(file, JSON.stringify({ ...(JSON.parse(readFileSync(file, 'utf8')) as object), pid: foreign.pid }))
    const node = await nextAgent(dataDir, { startTimeoutMs: 15_000, backoffMinMs: 20, backoffMaxMs: 40 })
    const failed = await node.feed(...ROWS)
    expect(failed.map(({ code }) => code)).toEqual(words.includes(file) ? [] : ['redis.locked'])
    expect([foreign.exitCode, foreign.signalCode]).toEqual([null, null])
    await node.stop()
    foreign.kill('SIGKILL')
    await ended
  }
})

test.skipIf(forbidden)('a database that was removed while no agent was there ends, and its data is put away', async () => {
  const dataDir = directory()
  const agent = await firstAgent(dataDir)
  await agent.end()
  const node = await nextAgent(dataDir)
  expect(await node.agent.apply(node.table, 'snapshot')).toEqual([])
  await until('it is put away', () => !existsSync(join(dataDir, 'db')) && existsSync(join(dataDir, 'removed')))
  expect(runs(agent.pid)).toBe(false)
})

test.skipIf(forbidden)('of two agents on one directory the second one waits for the first', async () => {
  const dataDir = directory()
  const agent = await firstAgent(dataDir)
  const { pid } = agent
  const node = await nextAgent(dataDir, { startTimeoutMs: 15_000, backoffMinMs: 20, backoffMaxMs: 40 })
  expect(await node.feed(...ROWS)).toMatchObject([{ service: 'db', code: 'redis.locked' }])
  expect(node.log.some(({ msg }) => typeof msg === 'string' && msg.includes('Another agent works in'))).toBe(true)
  await agent.end()
  await node.available('db')
  expect(node.enginePid('db')).toBe(pid)
})
