/**
 * Engines against real redis-server: walls, denied commands, crashes, durability, changes, removal, copies.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { DENIED_COMMANDS } from '../../agent/redis/engine/acl.ts'
import type { ServiceRow } from '../../lib/feed/messages.ts'
import { RespClient } from '../../agent/redis/resp/client.ts'
import type { Reply } from '../../agent/redis/resp/reply-decoder.ts'
import { databaseRow, DataNode, dialerChange } from '../support/data-node.ts'
import type { DataNodeOptions } from '../support/data-node.ts'
import { until } from '../support/until.ts'

const HERE = [{ node: 'mad', role: 'primary' as const }]
const nodes: DataNode[] = []
const clients: RespClient[] = []
const directories: string[] = []

afterEach(async () => {
  for (const client of clients.splice(0)) client.close()
  await Promise.all(nodes.splice(0).map((node) => node.close()))
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true })
})

async function dataNode(options: Partial<DataNodeOptions> = {}): Promise<DataNode> {
  const node = new DataNode({ id: 'mad', ...options })
  nodes.push(node)
  return node.listen()
}

/** A client that logged in as the tenant. */
async function tenant(node: DataNode, service: string, password: string): Promise<RespClient> {
  const client = new RespClient(node.engineSocket(service))
  clients.push(client)
  expect(await client.command(['AUTH', password], 5000)).toMatchObject({ kind: 'text', text: 'OK' })
  return client
}

/** The file that names the parts of a database's append-only file. */
function manifestOf(node: DataNode, service: string): string {
  const directory = join(node.dataDir, service, 'data', 'appendonlydir')
  return join(directory, readdirSync(directory).find((name) => name.endsWith('.manifest')) ?? '')
}

async function say(client: RespClient, ...words: string[]): Promise<string> {
  return textOf(await client.command(words, 5000))
}

function textOf(reply: Reply): string {
  if (reply.kind === 'list') return reply.items.map(textOf).join(' ')
  if (reply.kind === 'null') return '(nil)'
  return reply.kind === 'text' || reply.kind === 'error' ? reply.text : reply.kind === 'number' ? String(reply.value) : reply.kind
}

test('an engine stands behind its walls, and its data in its own directory', async () => {
  const node = await dataNode()
  expect(await node.feed(databaseRow('db', HERE, 'pw'))).toEqual([])
  const pid = node.enginePid('db')
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  expect(status).toMatch(/^NoNewPrivs:\t1$/m)
  expect(lstatSync(join(node.dataDir, 'db', 'data')).mode & 0o777).toBe(0o700)
  if ((await node.metric('nearcast_agent_engine_wall{wall="network"}')) === 1) {
    expect(readlinkSync(`/proc/${pid}/ns/net`)).not.toBe(readlinkSync('/proc/self/ns/net'))
    expect(readFileSync(`/proc/${pid}/net/tcp`, 'utf8').trim().split('\n')).toHaveLength(1)
  }
  if ((await node.metric('nearcast_agent_engine_wall{wall="capabilities"}')) === 1) expect(status).toMatch(/^CapEff:\t0{16}$/m)
  if ((await node.metric('nearcast_agent_engine_wall{wall="uid"}')) === 1) {
    await node.feed(databaseRow('other', HERE, 'pw'))
    const uids = ['db', 'other'].map((service) => lstatSync(join(node.dataDir, service, 'data')).uid)
    expect(uids[0]).not.toBe(0)
    expect(uids[0]).not.toBe(uids[1])
    expect(status).toMatch(new RegExp(`^Uid:\t${uids[0]}\t`, 'm'))
  }
  expect(await node.metric('nearcast_agent_engine_up{service="db"}')).toBe(1)
  const environment = readFileSync(`/proc/${pid}/environ`, 'utf8')
  expect(environment).not.toMatch(/NEARCAST|HOME=/)
})

test('denied commands are denied, directly, from Lua and from functions; the rest works', async () => {
  const node = await dataNode()
  await node.feed(databaseRow('db', HERE, 'pw'))
  const client = await tenant(node, 'db', 'pw')
  const examples: Record<string, string[]> = {
    config: ['CONFIG', 'GET', 'dir'],
    debug: ['DEBUG', 'SLEEP', '0'],
    module: ['MODULE', 'LIST'],
    cluster: ['CLUSTER', 'INFO'],
    acl: ['ACL', 'SETUSER', 'x'],
    migrate: ['MIGRATE', '127.0.0.1', '1', 'k', '0', '1'],
    replicaof: ['REPLICAOF', 'NO', 'ONE'],
    slaveof: ['SLAVEOF', 'NO', 'ONE'],
    swapdb: ['SWAPDB', '0', '1'],
    psync: ['PSYNC', '?', '-1'],
    replconf: ['REPLCONF', 'listening-port', '1'],
    pfdebug: ['PFDEBUG', 'GETREG', 'k'],
    'client|kill': ['CLIENT', 'KILL', 'ID', '1'],
    'client|pause': ['CLIENT', 'PAUSE', '1'],
    'client|no-evict': ['CLIENT', 'NO-EVICT', 'on'],
    'script|debug': ['SCRIPT', 'DEBUG', 'YES'],
  }
  await say(client, 'FUNCTION', 'LOAD', "#!lua name=l\nredis.register_function('f', function(k, a) return redis.pcall(unpack(a)) end)")
  // DEBUG and MODULE are switched off besides, and Redis says that first.
  const DIRECT = /^NOPERM|^ERR (DEBUG|MODULE) command not allowed/
  const SCRIPTED = /permission|not allowed|can't run this command/
  for (const denied of DENIED_COMMANDS) {
    const words = examples[denied] ?? denied.toUpperCase().split('|')
    expect(await say(client, ...words), denied).toMatch(DIRECT)
    expect(await say(client, 'EVAL', 'return redis.pcall(unpack(ARGV))', '0', ...words), `${denied} in Lua`).toMatch(SCRIPTED)
    expect(await say(client, 'FCALL', 'f', '0', ...words), `${denied} in a function`).toMatch(SCRIPTED)
    expect(await say(client, 'MULTI')).toBe('OK')
    expect(await say(client, ...words), `${denied} in MULTI`).toMatch(/^NOPERM|not allowed/)
    await say(client, 'DISCARD')
  }
  for (const words of [['ACL', 'GETUSER', 'nearcast-agent'], ['ACL', 'LIST'], ['ACL', 'LOG'], ['ACL', 'DELUSER', 'nearcast-agent']]) {
    expect(await say(client, ...words)).toMatch(/^NOPERM/)
  }
  expect(await say(client, 'ACL', 'WHOAMI')).toBe('default')
  expect(await say(client, 'EVAL', "return redis.call('set', KEYS[1], 'v')", '1', 'k')).toBe('OK')
  expect(await say(client, 'GET', 'k')).toBe('v')
  const info = await say(client, 'INFO', 'everything')
  expect(info).not.toContain(node.directory)
  expect(info).toMatch(/^config_file:\r$/m)
})

test('the users of the agent and of replicas can do their work and no more', async () => {
  const node = await dataNode()
  await node.feed(databaseRow('db', HERE, 'pw'))
  const client = new RespClient(node.engineSocket('db'))
  clients.push(client)
  expect(await say(client, 'AUTH', 'nearcast-replication', 'replication of db')).toBe('OK')
  expect(await say(client, 'PING')).toBe('PONG')
  for (const words of [['GET', 'k'], ['KEYS', '*'], ['CONFIG', 'GET', '*'], ['EVAL', 'return 1', '0']]) expect(await say(client, ...words)).toMatch(/^NOPERM/)
  expect(await say(client, 'AUTH', 'nearcast-agent', 'pw')).toMatch(/^WRONGPASS/)
  const anonymous = new RespClient(node.engineSocket('db'))
  clients.push(anonymous)
  expect(await say(anonymous, 'PING')).toMatch(/^NOAUTH/)
})

test('killed with -9: unavailable at once, back by itself, and what was acknowledged under "always" is there', async () => {
  const node = await dataNode()
  await node.feed(databaseRow('db', HERE, 'pw', { appendFsync: 'always' }))
  await node.available('db')
  const client = await tenant(node, 'db', 'pw')
  let acknowledged = 0
  const writing = (async () => {
    for (;;) {
      await client.command(['SET', `k${acknowledged}`, 'v'], 5000)
      acknowledged++
    }
  })().catch(() => {})
  await until('some writes', () => acknowledged > 200)
  const before = node.enginePid('db')
  process.kill(before, 'SIGKILL')
  await until('unavailable', () => node.unavailable['db'] === 'redis.crashed')
  await writing
  await node.available('db')
  expect(node.unavailable).toEqual({})
  expect(node.enginePid('db')).not.toBe(before)
  expect(await node.metric('nearcast_agent_engine_restarts_total{service="db"}')).toBe(1)
  const again = await tenant(node, 'db', 'pw')
  expect(Number(await say(again, 'DBSIZE'))).toBeGreaterThanOrEqual(acknowledged)
  expect(await say(again, 'GET', `k${acknowledged - 1}`)).toBe('v')
})

test('one that is stopped is unavailable until it answers again; its neighbour notices nothing', async () => {
  const node = await dataNode()
  await node.feed(databaseRow('db', HERE, 'pw'), databaseRow('other', HERE, 'pw'))
  await until('both', () => Object.keys(node.unavailable).length === 0)
  const seen = new Set<string>()
  process.kill(node.enginePid('db'), 'SIGSTOP')
  await until('unavailable', () => {
    for (const service of Object.keys(node.unavailable)) seen.add(service)
    return node.unavailable['db'] === 'redis.not-answering'
  })
  process.kill(node.enginePid('db'), 'SIGCONT')
  await node.available('db')
  expect([...seen]).toEqual(['db'])
})

test('one that stays silent is killed and comes back with its data', async () => {
  const node = await dataNode({ redis: { silentTimeoutMs: 1000 } })
  await node.feed(databaseRow('db', HERE, 'pw'))
  expect(await say(await tenant(node, 'db', 'pw'), 'SET', 'k', 'v')).toBe('OK')
  const pid = node.enginePid('db')
  process.kill(pid, 'SIGSTOP')
  await until('another one runs', () => node.enginePid('db') !== pid && node.enginePid('db') !== 0)
  await node.available('db')
  expect(await say(await tenant(node, 'db', 'pw'), 'GET', 'k')).toBe('v')
  expect(node.log.some(({ code, msg }) => code === 'redis.not-answering' && msg === 'the engine is silent and is killed')).toBe(true)
})

test('answers that nobody reads cost their reader its connection, not the node its memory', async () => {
  const node = await dataNode()
  await node.feed(databaseRow('db', HERE, 'pw'))
  const client = await tenant(node, 'db', 'pw')
  await say(client, 'SET', 'big', 'x'.repeat(1 << 20))
  const unread = connect({ path: node.engineSocket('db') }).pause()
  unread.on('error', () => {})
  try {
    unread.write(`AUTH pw\r\n${'GET big\r\n'.repeat(300)}`)
    await expect.poll(() => say(client, 'INFO', 'stats'), { timeout: 10_000 }).toMatch(/^evicted_clients:1\r$/m)
    expect(Number(/^used_memory:(\d+)/m.exec(await say(client, 'INFO', 'memory'))?.[1])).toBeLessThan(64 << 20)
  } finally {
    unread.destroy()
  }
})

test('a crash loop backs off, is told in the acknowledgement, and heals when its cause is gone', async () => {
  const node = await dataNode({ redis: { backoffMinMs: 20, backoffMaxMs: 2000 } })
  await node.feed(databaseRow('db', HERE, 'pw'))
  const client = await tenant(node, 'db', 'pw')
  await say(client, 'SET', 'k', 'v')
  const manifest = manifestOf(node, 'db')
  const good = readFileSync(manifest)
  writeFileSync(manifest, 'nonsense\n')
  process.kill(node.enginePid('db'), 'SIGKILL')
  const restarts = (): Promise<number | null> => node.metric('nearcast_agent_engine_restarts_total{service="db"}')
  await expect.poll(restarts, { timeout: 5000 }).toBeGreaterThanOrEqual(4)
  expect(node.unavailable['db']).toBe('redis.crashed')
  expect(await node.feed(databaseRow('neighbour', HERE, 'pw'))).toEqual([])
  const pauses = node.log.filter((line) => line['service'] === 'db' && 'pauseMs' in line).map((line) => line['pauseMs'])
  expect(pauses.slice(0, 4)).toEqual([20, 40, 80, 160])
  writeFileSync(manifest, good)
  await node.available('db')
  expect(await say(await tenant(node, 'db', 'pw'), 'GET', 'k')).toBe('v')
})

test('one that is ended for its memory while it loads gets more: what a larger plan left has to load', async () => {
  const cgroup = mkdtempSync(join(tmpdir(), 'nearcast-cgroup-'))
  directories.push(cgroup)
  // A directory that looks like a cgroup: the kernel's part, who is ended and why, is played.
  writeFileSync(join(cgroup, 'cgroup.controllers'), 'memory pids')
  writeFileSync(join(cgroup, 'cgroup.subtree_control'), 'memory pids')
  const node = await dataNode({ redis: { backoffMinMs: 20, backoffMaxMs: 20, cgroup } })
  await node.feed(databaseRow('db', HERE, 'pw'))
  const limit = (): number => Number(readFileSync(join(cgroup, 'db', 'memory.max'), 'utf8'))
  const planned = limit()
  const manifest = manifestOf(node, 'db')
  const good = readFileSync(manifest)
  writeFileSync(manifest, 'nonsense\n')
  process.kill(node.enginePid('db'), 'SIGKILL')
  const restarts = (): Promise<number | null> => node.metric('nearcast_agent_engine_restarts_total{service="db"}')
  await expect.poll(restarts, { timeout: 10_000 }).toBeGreaterThanOrEqual(3)
  expect(limit()).toBe(planned)
  writeFileSync(join(cgroup, 'db', 'memory.events'), 'low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\noom_group_kill 0\n')
  await expect.poll(limit, { timeout: 10_000 }).toBeGreaterThanOrEqual(4 * planned)
  writeFileSync(join(cgroup, 'db', 'memory.events'), 'low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n')
  writeFileSync(manifest, good)
  await node.available('db')
  expect(node.log.some((line) => line['service'] === 'db' && String(line['msg']).includes('more memory to load'))).toBe(true)
})

test('two agents on one directory never run two engines in it', async () => {
  const first = await dataNode()
  await first.feed(databaseRow('db', HERE, 'pw'))
  const second = await dataNode({ dataDir: first.dataDir, redis: { startTimeoutMs: 300, backoffMinMs: 20, backoffMaxMs: 40 } })
  expect(await second.feed(databaseRow('db', HERE, 'pw'))).toMatchObject([{ service: 'db', code: 'redis.locked' }])
  expect(first.unavailable).toEqual({})
  await first.stop()
  await second.available('db')
})

test('an engine that an agent left behind is ended before the next one starts', async (context) => {
  const node = await dataNode({ redis: { backoffMinMs: 20, backoffMaxMs: 40 } })
  const home = join(node.dataDir, 'db')
  mkdirSync(join(home, 'data'), { recursive: true })
  // Its parent ends at once, so it becomes a child of init.
  const left = spawnSync('sh', ['-c', 'flock -F -n ../lock sleep 600 >/dev/null 2>&1 & echo $!'], { cwd: join(home, 'data'), encoding: 'utf8' })
  const pid = Number(left.stdout)
  const proc = (file: string): string => (existsSync(`/proc/${pid}/${file}`) ? readFileSync(`/proc/${pid}/${file}`, 'utf8') : '')
  const sleeps = (): boolean => /^Name:\tsleep\nUmask:.*\nState:\t[^Z]/.test(proc('status'))
  try {
    await until('it is behind flock', sleeps)
    if (!/^PPid:\t1$/m.test(proc('status'))) context.skip('orphans do not go to pid 1 here')
    await node.feed(databaseRow('db', HERE, 'pw'))
    await node.available('db')
    expect(sleeps()).toBe(false)
  } finally {
    if (sleeps()) process.kill(pid, 'SIGKILL')
  }
})

test('without redis-server the agent runs, and says for each database what to install', async () => {
  const node = await dataNode({ redis: { server: '/nonexistent/redis-server' } })
  const [failed] = await node.feed(databaseRow('db', HERE, 'pw'))
  expect(failed).toMatchObject({ service: 'db', code: 'redis.missing' })
  expect(failed?.message).toMatch(/install/)
  expect(node.unavailable).toEqual({ db: 'redis.missing' })
})

test('services that can not be served are refused one by one', async () => {
  const node = await dataNode()
  const tcp = { id: 'web', org: 'o', name: 'web', kind: 'tcp', port: 80, placements: [{ node: 'mad', role: 'peer' }] }
  const failed = await node.feed({ table: 'services', key: 'web', row: tcp }, databaseRow('../../etc', HERE, 'pw'), databaseRow('db', HERE, 'pw'))
  expect(failed.map(({ service, code }) => [service, code])).toEqual([
    ['../../etc', 'service.unsupported'],
    ['web', 'service.backend-missing'],
  ])
  expect(node.unavailable).toEqual({ web: 'service.backend-missing', '../../etc': 'service.unsupported' })
})

/** Connections stay, whatever password they logged in with. */
function kept(change: ReturnType<typeof databaseRow>): ReturnType<typeof databaseRow> {
  return { ...change, row: { ...(change.row as ServiceRow), live: 'keep' } }
}

test('password, memory and fsync change under open connections', async () => {
  const node = await dataNode()
  await node.feed(kept(databaseRow('db', HERE, 'old')))
  const pid = node.enginePid('db')
  const client = await tenant(node, 'db', 'old')
  await node.feed(kept(databaseRow('db', HERE, 'new', { maxMemoryBytes: 2 << 20, appendFsync: 'always', replicationSecret: 'another secret "\n' })))
  await until('the change', () => node.log.some((line) => line['live'] === true))
  expect(node.enginePid('db')).toBe(pid)
  expect(await say(client, 'AUTH', 'old')).toMatch(/^WRONGPASS/)
  expect(await say(client, 'AUTH', 'new')).toBe('OK')
  expect(await say(client, 'INFO', 'memory')).toMatch(new RegExp(`^maxmemory:${3 << 20}\r$`, 'm'))
  expect(await say(client, 'CONFIG', 'GET', 'dir')).toMatch(/^NOPERM/)
  // More than the plan is refused, not evicted.
  const replies = await Promise.all(Array.from({ length: 40 }, (_, index) => say(client, 'SET', `k${index}`, 'x'.repeat(100_000))))
  expect(replies.at(-1)).toMatch(/^OOM/)
  expect(Number(await say(client, 'DBSIZE'))).toBe(replies.filter((reply) => reply === 'OK').length)
})

test('a removed database ends, and its data is put away', async () => {
  const node = await dataNode()
  await node.feed(databaseRow('db', HERE, 'pw'), databaseRow('stays', HERE, 'pw'))
  await say(await tenant(node, 'db', 'pw'), 'SET', 'k', 'v')
  const pid = node.enginePid('db')
  await node.feed({ table: 'services', key: 'db', row: null })
  await until('it is put away', () => !existsSync(join(node.dataDir, 'db')))
  expect(existsSync(`/proc/${pid}`)).toBe(false)
  const [removed, ...others] = readdirSync(join(node.dataDir, 'removed'))
  expect(others).toEqual([])
  expect(removed).toMatch(/^db-\d{4}-/)
  expect(existsSync(join(node.dataDir, 'removed', removed ?? '', 'data', 'appendonlydir'))).toBe(true)
  expect(node.unavailable).toEqual({})
})

test('engines end with their agent, whatever ends it, and the next agent has their data', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'nearcast-data-'))
  const script = `
    const { DataNode, databaseRow } = await import(${JSON.stringify(new URL('../support/data-node.ts', import.meta.url).href)})
    const node = new DataNode({ id: 'mad', dataDir: ${JSON.stringify(dataDir)} })
    await node.feed(databaseRow('db', [{ node: 'mad', role: 'primary' }], 'pw'))
    console.log(JSON.stringify({ pid: node.enginePid('db'), directory: node.directory }))
  `
  const agent = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    const line = await new Promise<string>((resolve) => agent.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString())))
    const { pid, directory } = JSON.parse(line) as { pid: number; directory: string }
    const client = new RespClient(join(dataDir, 'db', 'data', 'redis.sock'))
    clients.push(client)
    await say(client, 'AUTH', 'pw')
    await say(client, 'SET', 'k', 'v')
    agent.kill('SIGKILL')
    await until('its engine is gone', () => !existsSync(`/proc/${pid}`) || /^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')))
    const node = await dataNode({ dataDir })
    expect(await node.feed(databaseRow('db', HERE, 'pw'))).toEqual([])
    expect(await say(await tenant(node, 'db', 'pw'), 'GET', 'k')).toBe('v')
    rmSync(directory, { recursive: true })
  } finally {
    agent.kill('SIGKILL')
    await Promise.all(nodes.splice(0).map((node) => node.close()))
    rmSync(dataDir, { recursive: true, force: true })
  }
})

/** On a file system of 1 MiB; null where this user may not mount one. */
async function onSmallDisk(use: (dataDir: string) => Promise<void>): Promise<'done' | 'denied'> {
  const dataDir = mkdtempSync(join(tmpdir(), 'nearcast-full-'))
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', dataDir], { stdio: 'ignore' }).status === 0
  try {
    if (mounted) await use(dataDir)
    return mounted ? 'done' : 'denied'
  } finally {
    await Promise.all(nodes.splice(0).map((node) => node.close()))
    if (mounted) execFileSync('umount', ['-l', dataDir])
    rmSync(dataDir, { recursive: true, force: true })
  }
}

test('a full disk, everysec: reads go on, writes are refused, and it is told', async (context) => {
  const outcome = await onSmallDisk(async (dataDir) => {
    const node = await dataNode({ dataDir })
    await node.feed(databaseRow('db', HERE, 'pw'))
    await node.available('db')
    const client = await tenant(node, 'db', 'pw')
    let acknowledged = 0
    while (acknowledged < 200 && (await say(client, 'SET', `k${acknowledged}`, 'x'.repeat(20_000))) === 'OK') acknowledged++
    expect(acknowledged).toBeGreaterThan(10)
    expect(await say(client, 'SET', 'no', 'v')).toMatch(/^MISCONF/)
    expect(await say(client, 'STRLEN', 'k0')).toBe('20000')
    await until('it is told', () => node.log.some((line) => line['code'] === 'redis.disk-full'))
    expect(node.unavailable).toEqual({})
    expect(await node.metric('nearcast_agent_engine_writes_refused{service="db"}')).toBe(1)
  })
  if (outcome === 'denied') context.skip('this user may not mount a file system')
})

test('a full disk, always: unavailable with that reason; with space again, all that was acknowledged is there', async (context) => {
  const outcome = await onSmallDisk(async (dataDir) => {
    const node = await dataNode({ dataDir })
    await node.feed(databaseRow('db', HERE, 'pw', { appendFsync: 'always' }))
    await node.available('db')
    const client = await tenant(node, 'db', 'pw')
    let acknowledged = 0
    try {
      while (acknowledged < 200 && (await say(client, 'SET', `k${acknowledged}`, 'x'.repeat(20_000))) === 'OK') acknowledged++
    } catch {
      // Redis ends rather than acknowledge what it can't write.
    }
    expect(acknowledged).toBeGreaterThan(10)
    expect(acknowledged).toBeLessThan(200)
    await until('the reason', () => node.log.some((line) => line['code'] === 'redis.disk-full'))
    execFileSync('mount', ['-o', 'remount,size=8m', dataDir])
    await node.available('db')
    const again = await tenant(node, 'db', 'pw')
    for (let index = 0; index < acknowledged; index++) expect(await say(again, 'STRLEN', `k${index}`)).toBe('20000')
    expect(await say(again, 'SET', 'more', 'v')).toBe('OK')
  })
  if (outcome === 'denied') context.skip('this user may not mount a file system')
})

test('nothing of a secret is on the disk or in the log', async () => {
  const node = await dataNode()
  await node.feed(dialerChange('proxy/mad-1'), databaseRow('db', HERE, 'pw-of-db'))
  const hash = createHash('sha256').update('pw-of-db').digest('hex')
  const found = spawnSync('grep', ['-rlE', `pw-of-db|replication of|${hash}`, node.directory], { encoding: 'utf8' })
  expect({ status: found.status, files: found.stdout }).toEqual({ status: 1, files: '' })
  expect(JSON.stringify(node.log)).not.toMatch(/pw-of-db|replication of|5a5a5a5a/)
})

test('a file that has doubled is written anew, by the agent: Redis itself would not', async () => {
  const node = await dataNode({ redis: { healthIntervalMs: 50, forksAtOnce: 1 } })
  await node.feed(databaseRow('db', HERE, 'pw', { maxMemoryBytes: 256 << 20 }))
  const client = await tenant(node, 'db', 'pw')
  const persistence = async (name: string): Promise<number> => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(await say(client, 'INFO', 'everything'))?.[1])
  for (let index = 0; index < 70; index++) await say(client, 'SET', 'k', 'x'.repeat(1 << 20))
  await expect.poll(() => persistence('aof_rewrites'), { timeout: 10_000 }).toBe(1)
  await expect.poll(() => persistence('aof_current_size'), { timeout: 10_000 }).toBeLessThan(4 << 20)
  await expect.poll(() => node.metric('nearcast_agent_engine_forks{state="running"}'), { timeout: 10_000 }).toBe(0)
})
