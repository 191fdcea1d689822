/** Engines that nobody uses rest, and are there again for whoever asks: with real redis-server. */
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { RespClient } from '../../agent/redis/resp/client.ts'
import { addressChange, databaseRow, DataNode, dialerChange } from '../support/data-node.ts'
import { Random, testSeed } from '../support/random.ts'
import { HopDialer } from '../support/hop-dialer.ts'
import { KillDrill } from '../support/kill-drill.ts'
import { until } from '../support/until.ts'

const HERE = [{ node: 'mad', role: 'primary' as const }]
const ADDRESS = 'fdaa:0:1:0:1::2'
const closing: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

async function dataNode(redis: Record<string, unknown>, dataDir?: string): Promise<DataNode> {
  const node = new DataNode({ id: 'mad', redis, ...(dataDir !== undefined && { dataDir }) })
  closing.push(() => node.close())
  return await node.listen()
}

/** What a client's connection does: asks for the engine, then talks to it. */
async function say(node: DataNode, service: string, ...words: string[]): Promise<string> {
  const answer = await node.agent.tenants.engine({ service, purpose: 'client' }, 5000)
  if ('unavailable' in answer) return answer.unavailable
  const client = new RespClient(node.engineSocket(service))
  try {
    await client.command(['AUTH', 'pw'], 5000)
    const reply = await client.command(words, 5000)
    return reply.kind === 'text' || reply.kind === 'error' ? reply.text : reply.kind
  } finally {
    client.close()
  }
}

test('an unused engine rests without being unavailable, and the next one who asks finds its data', async () => {
  const node = await dataNode({ idleStopMinutes: 1 / 60 })
  expect(await node.feed(databaseRow('db', HERE, 'pw'), addressChange(ADDRESS, 'db'), dialerChange('proxy/mad-1'))).toEqual([])
  expect(await say(node, 'db', 'SET', 'k', 'kept')).toBe('OK')
  const pid = node.enginePid('db')
  const supervisor = node.agent.tenants.supervisors.get('db')
  await until('it rests', () => supervisor?.resting === true)
  await until('its process is gone', () => supervisor?.pid === null && !existsSync(`/proc/${pid}`))
  expect(node.unavailable).toEqual({})
  expect(await node.metric('nearcast_agent_engine_resting{service="db"}')).toBe(1)
  expect(await node.metric('nearcast_agent_engine_up{service="db"}')).toBeNull()
  expect(await node.feed(databaseRow('db', HERE, 'pw', { appendFsync: 'always' }))).toEqual([])
  expect(supervisor?.resting).toBe(true)
  expect(await Promise.all([say(node, 'db', 'GET', 'k'), say(node, 'db', 'GET', 'k')])).toEqual(['kept', 'kept'])
  expect(node.unavailable).toEqual({})
  expect(await node.metric('nearcast_agent_engine_restarts_total{service="db"}')).toBeNull()
  expect(await say(node, 'db', 'PING')).toBe('PONG')
})

test('before it rests its file is written anew, so that it is read fast', async () => {
  const node = await dataNode({ idleStopMinutes: 1 / 60 })
  await node.feed(databaseRow('db', HERE, 'pw'))
  expect(await say(node, 'db', 'EVAL', "for i = 1, 20000 do redis.call('set', 'key:' .. i, 'a value') end return 'done'", '0')).toBe('done')
  const files = join(node.dataDir, 'db', 'data', 'appendonlydir')
  const bytes = (end: string): number => readdirSync(files).filter((name) => name.endsWith(end)).reduce((sum, name) => sum + statSync(join(files, name)).size, 0)
  expect(bytes('.incr.aof')).toBeGreaterThan(500_000)
  const supervisor = node.agent.tenants.supervisors.get('db')
  await until('it rests', () => supervisor?.resting === true && supervisor.pid === null)
  expect(bytes('.base.rdb')).toBeGreaterThan(200_000)
  expect(bytes('.incr.aof')).toBe(0)
  expect(await say(node, 'db', 'GET', 'key:20000')).toBe('a value')
})

test('asked for while it is about to rest, it comes back; a stop ends a rest', async () => {
  const node = await dataNode({})
  expect(await node.feed(databaseRow('db', HERE, 'pw'))).toEqual([])
  const supervisor = node.agent.tenants.supervisors.get('db')
  const pid = node.enginePid('db')
  expect(supervisor?.rest()).toBe(true)
  expect(supervisor?.rest()).toBe(false)
  expect(await say(node, 'db', 'SET', 'k', 'v')).toBe('OK')
  expect(node.enginePid('db')).not.toBe(pid)
  expect(node.unavailable).toEqual({})
  expect(supervisor?.rest()).toBe(true)
  await until('it is gone', () => supervisor?.pid === null)
  expect(await node.stop()).toEqual([])
})

test('a rest goes on over the end of its agent; what ran is started', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'nearcast-rest-'))
  closing.push(() => rmSync(dataDir, { recursive: true, force: true }))
  const rows = [databaseRow('db', HERE, 'pw'), databaseRow('other', HERE, 'pw')]
  const before = await dataNode({}, dataDir)
  expect(await before.feed(...rows)).toEqual([])
  expect(await say(before, 'db', 'SET', 'k', 'v')).toBe('OK')
  await before.available('db')
  expect(before.agent.tenants.supervisors.get('db')?.rest()).toBe(true)
  await until('it rests', () => existsSync(join(dataDir, 'db', 'resting')))
  await before.stop()
  const after = await dataNode({}, dataDir)
  expect(await after.feed(...rows)).toEqual([])
  expect([after.enginePid('db'), after.agent.tenants.supervisors.get('db')?.resting, after.unavailable]).toEqual([0, true, {}])
  expect(after.enginePid('other')).not.toBe(0)
  expect(await say(after, 'db', 'GET', 'k')).toBe('v')
  expect(existsSync(join(dataDir, 'db', 'resting'))).toBe(false)
})

test('an open connection, or a replica elsewhere, keeps an engine up', async () => {
  const node = await dataNode({ maxRunning: 1 })
  const followed = [...HERE, { node: 'gru', role: 'replica' as const }]
  await node.feed(databaseRow('held', HERE, 'pw'), addressChange(ADDRESS, 'held'), databaseRow('followed', followed, 'pw'), databaseRow('idle', HERE, 'pw'), dialerChange('proxy/mad-1'))
  const dialer = await new HopDialer({ path: node.socket, agent: 'mad' }).open()
  closing.push(() => dialer.close())
  const held = dialer.connect('held', ADDRESS)
  expect(await held.status()).toBe(0)
  await until('the idle one rests', () => node.agent.tenants.supervisors.get('idle')?.resting === true)
  expect(node.agent.tenants.supervisors.get('held')?.resting).toBe(false)
  expect(node.agent.tenants.supervisors.get('followed')?.resting).toBe(false)
})

test("a database's own policy: one rests, one never does, on a node that rests none by itself", async () => {
  const node = await dataNode({})
  await node.feed(databaseRow('rests', HERE, 'pw', { parkAfterMinutes: 1 / 60 }), databaseRow('never', HERE, 'pw', { parkAfterMinutes: 'never' }), databaseRow('plain', HERE, 'pw'))
  const resting = (service: string): boolean | undefined => node.agent.tenants.supervisors.get(service)?.resting
  await until('it rests', () => resting('rests') === true)
  expect([resting('never'), resting('plain')]).toEqual([false, false])
  expect(await say(node, 'rests', 'PING')).toBe('PONG')
  await node.feed(databaseRow('rests', HERE, 'pw', { parkAfterMinutes: 'never' }), databaseRow('never', HERE, 'pw', { parkAfterMinutes: 1 / 60 }))
  await until('the other one rests', () => resting('never') === true)
})

test('agent and engine killed after any step of resting and waking: nothing that was acknowledged is lost, nobody sees LOADING', async () => {
  const kills = Number(process.env['NEARCAST_PARK_KILLS'] ?? 3)
  const dataDir = mkdtempSync(join(tmpdir(), 'nearcast-rest-'))
  closing.push(() => rmSync(dataDir, { recursive: true, force: true }))
  const drill = new KillDrill({ dataDir, appendFsync: 'always', random: new Random(testSeed('parking')) })
  closing.push(() => drill.end())
  await drill.begin()
  while (drill.kills < kills) await drill.round()
  expect(await drill.bulkIsThere()).toBe(true)
  expect(drill.wrong).toEqual([])
}, 120_000)
