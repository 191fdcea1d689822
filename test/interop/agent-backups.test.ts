/** Backups against real redis-server: taken while it is written to, sealed on disk, restored here and elsewhere, killed in between. */
import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { RespClient } from '../../agent/redis/resp/client.ts'
import type { Reply } from '../../agent/redis/resp/reply-decoder.ts'
import { databaseRow, DataNode } from '../support/data-node.ts'
import { ENGINE_SERVER } from '../support/engine-server.ts'
import { until } from '../support/until.ts'

const HERE = [{ node: 'mad', role: 'primary' as const }]
const KEY = 'ab'.repeat(32)
const closing: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

async function dataNode(redis: Record<string, unknown> = {}): Promise<DataNode> {
  const node = new DataNode({ id: 'mad', redis })
  closing.push(() => node.close())
  return await node.listen()
}

async function login(node: DataNode, service: string, path = node.engineSocket(service)): Promise<RespClient> {
  const client = new RespClient(path)
  closing.push(() => client.close())
  expect(await say(client, 'AUTH', 'pw')).toBe('OK')
  return client
}

async function say(client: RespClient, ...words: string[]): Promise<string> {
  return textOf(await client.command(words, 10_000))
}

function textOf(reply: Reply): string {
  if (reply.kind === 'list') return reply.items.map(textOf).join(' ')
  if (reply.kind === 'null') return '(nil)'
  return reply.kind === 'text' || reply.kind === 'error' ? reply.text : reply.kind === 'number' ? String(reply.value) : reply.kind
}

interface Taken {
  readonly bytes: number
  readonly sha256: string
  readonly storedBytes: number
}

const take = (node: DataNode, service: string, backup: string): Promise<Taken> => node.agent.answer('redis.backup', { service, backup, key: KEY }) as Promise<Taken>

function restore(node: DataNode, target: string, service: string, backup: string, { bytes, sha256 }: Taken, key = KEY): Promise<unknown> {
  return node.agent.answer('redis.restore', { target, service, backup, key, bytes, sha256 })
}

const file = (node: DataNode, service: string, backup: string): string => join(node.directory, 'backups', service, backup)

test('a copy of one moment under load, sealed; restored into another database, which keeps it through a kill', async () => {
  const node = await dataNode()
  await node.feed(databaseRow('db', HERE, 'pw'), databaseRow('other', HERE, 'pw'))
  await node.available('db')
  await node.available('other')
  const client = await login(node, 'db')
  // Both keys get the same number in one transaction: a copy of one moment has them equal.
  const stop = new AbortController()
  let written = 0
  const writer = (async () => {
    const own = await login(node, 'db')
    while (!stop.signal.aborted) await say(own, 'EVAL', "redis.call('set','a',ARGV[1]) redis.call('rpush','list',ARGV[1]) redis.call('set','b',ARGV[1])", '0', String(++written))
  })()
  await say(client, 'SET', 'secret-of-tenant', 'x'.repeat(200_000))
  await say(client, 'FUNCTION', 'LOAD', "#!lua name=l\nredis.register_function('f', function() return 'from a function' end)")
  await until('some writes', () => written > 50)
  const taken = await take(node, 'db', 'b1')
  stop.abort()
  await writer
  expect(taken.bytes).toBeGreaterThan(1000)
  const stored = readFileSync(file(node, 'db', 'b1'))
  expect(stored.length).toBe(taken.storedBytes)
  expect(stored.includes('secret-of-tenant')).toBe(false)
  expect(readdirSync(join(node.directory, 'backups', 'db'))).toEqual(['b1'])

  const open = await login(node, 'other')
  await say(open, 'SET', 'goes', 'away')
  expect(await restore(node, 'other', 'db', 'b1', taken)).toEqual({})
  await until('open connections have ended', () => open.closed)
  await node.available('other')
  const inside = async (): Promise<string[]> => {
    const other = await login(node, 'other')
    return [await say(other, 'GET', 'a'), await say(other, 'GET', 'b'), await say(other, 'LINDEX', 'list', '-1'), await say(other, 'STRLEN', 'secret-of-tenant'), await say(other, 'EXISTS', 'goes'), await say(other, 'FCALL', 'f', '0'), await say(other, 'SET', 'new', 'v')]
  }
  const [a = '', ...rest] = await inside()
  expect(Number(a)).toBeGreaterThan(50)
  expect(rest).toEqual([a, a, '200000', '0', 'from a function', 'OK'])
  process.kill(node.enginePid('other'), 'SIGKILL')
  await until('unavailable', () => node.unavailable['other'] === 'redis.crashed')
  await node.available('other')
  expect(await inside()).toEqual([a, ...rest])
  expect(await say(client, 'GET', 'a')).toBe(String(written))
})

test('what is damaged, cut off, of another key or not there changes nothing', async () => {
  const node = await dataNode()
  await node.feed(databaseRow('db', HERE, 'pw'))
  await node.available('db')
  const client = await login(node, 'db')
  await say(client, 'SET', 'k', randomBytes(150_000).toString('hex'))
  const taken = await take(node, 'db', 'b1')
  await say(client, 'SET', 'now', 'v')
  const path = file(node, 'db', 'b1')
  const whole = readFileSync(path)
  const damaged = { refused: { code: 'redis.backup-damaged' } }
  const flipped = Buffer.from(whole)
  flipped[100_000] = (flipped[100_000] ?? 0) ^ 1
  writeFileSync(path, flipped)
  expect(await restore(node, 'db', 'db', 'b1', taken)).toMatchObject(damaged)
  writeFileSync(path, whole)
  truncateSync(path, whole.length - 1)
  expect(await restore(node, 'db', 'db', 'b1', taken)).toMatchObject(damaged)
  writeFileSync(path, whole)
  expect(await restore(node, 'db', 'db', 'b1', taken, 'cd'.repeat(32))).toMatchObject(damaged)
  expect(await restore(node, 'db', 'db', 'b1', { ...taken, sha256: '0'.repeat(64) })).toMatchObject(damaged)
  expect(await restore(node, 'db', 'db', 'b2', taken)).toMatchObject({ refused: { code: 'redis.backup-missing' } })
  expect(await restore(node, 'db', 'db', '../db/b1', taken)).toMatchObject({ refused: { code: 'redis.backup-missing' } })
  expect(client.closed).toBe(false)
  expect(await say(client, 'GET', 'now')).toBe('v')
  expect(await restore(node, 'db', 'db', 'b1', taken)).toEqual({})
})

test('an engine that is killed in the middle of a restore holds what it held, or what it was given, never a mixture', async () => {
  const rounds = Number(process.env['NEARCAST_RESTORE_KILLS'] ?? 4)
  const node = await dataNode({ backoffMinMs: 10, backoffMaxMs: 20 })
  await node.feed(databaseRow('db', HERE, 'pw', { appendFsync: 'always' }))
  await node.available('db')
  const client = await login(node, 'db')
  for (let index = 0; index < 40; index++) await say(client, 'SET', `old${index}`, randomBytes(20_000).toString('hex'))
  const old = await take(node, 'db', 'old')
  await say(client, 'FLUSHALL')
  for (let index = 0; index < 30; index++) await say(client, 'SET', `new${index}`, randomBytes(20_000).toString('hex'))
  await take(node, 'db', 'new')
  for (let round = 0; round < rounds; round++) {
    const pid = node.enginePid('db')
    const ended = restore(node, 'db', 'db', 'old', old)
    // Earlier and later in the copy; it may be over by then.
    const killed = delay(1 + ((round * 37) % 60)).then(() => existsSync(`/proc/${pid}`) && process.kill(pid, 'SIGKILL'))
    await Promise.all([ended, killed])
    await until('another engine', () => node.enginePid('db') !== pid && node.enginePid('db') !== 0)
    await node.available('db')
    const again = await login(node, 'db')
    const keys = (await say(again, 'KEYS', '*')).split(' ')
    const kinds = new Set(keys.map((name) => name.slice(0, 3)))
    expect([round, kinds.size, keys.length]).toEqual([round, 1, kinds.has('old') ? 40 : 30])
    expect(await say(again, 'SET', keys[0] ?? '', randomBytes(10).toString('hex'))).toBe('OK')
  }
})

test.each([
  ['of a newer engine', 'REDIS0099', 'too old for this copy: it loads RDB'],
  ['that it finds out it cannot load', 'REDISxxxx', 'does not load this copy'],
])('a copy %s costs a database nothing of what it held', async (_what, header, says) => {
  const node = await dataNode()
  await node.feed(databaseRow('db', HERE, 'pw', { appendFsync: 'always' }))
  await node.available('db')
  expect(await say(await login(node, 'db'), 'SET', 'k', 'held')).toBe('OK')
  const bytes = Buffer.from(`${header}and the rest`)
  const content = { bytes: bytes.length, pieces: async function* () { yield bytes } }
  await expect(node.agent.tenants.supervisors.get('db')?.takeCopy(content)).rejects.toThrow(says)
  await node.available('db')
  expect(await say(await login(node, 'db'), 'GET', 'k')).toBe('held')
})

test("a backup opens as an RDB that a plain server loads; a removed database's backups go with it", async () => {
  const node = await dataNode()
  await node.feed(databaseRow('db', HERE, 'pw'))
  await node.available('db')
  const client = await login(node, 'db')
  await say(client, 'HSET', 'h', 'field', 'value')
  const taken = await take(node, 'db', 'b1')
  const { openChunk } = await import('../../lib/sealed-chunks.ts')
  const { data } = (await node.agent.answer('redis.backup-read', { service: 'db', backup: 'b1', offset: 0, maxBytes: 65_552 })) as { data: string }
  const directory = mkdtempSync(join(tmpdir(), 'nearcast-plain-'))
  closing.push(() => rmSync(directory, { recursive: true, force: true }))
  writeFileSync(join(directory, 'dump.rdb'), openChunk({ key: Buffer.from(KEY, 'hex'), backup: 'b1' }, 0, true, Buffer.from(data, 'base64')))
  expect(taken.bytes).toBe(readFileSync(join(directory, 'dump.rdb')).length)
  expect(execFileSync(ENGINE_SERVER.replace(/server$/, 'check-rdb'), [join(directory, 'dump.rdb')], { encoding: 'utf8' })).toContain('RDB looks OK')
  const plain = spawn(ENGINE_SERVER, ['--port', '0', '--unixsocket', join(directory, 's'), '--dir', directory], { stdio: 'ignore' })
  closing.push(() => plain.kill('SIGKILL'))
  // Its socket is there before it listens, and it listens before it has loaded.
  const asked = async (): Promise<unknown> => {
    const there = new RespClient(join(directory, 's'))
    try {
      return await say(there, 'HGET', 'h', 'field')
    } finally {
      there.close()
    }
  }
  await expect.poll(asked, { timeout: 15_000 }).toBe('value')

  await node.feed({ table: 'services', key: 'db', row: null })
  await until('the backups are gone', () => !existsSync(join(node.directory, 'backups', 'db')))
})
