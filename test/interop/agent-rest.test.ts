/** Engines that nobody uses rest, and are there again for whoever asks: with real redis-server. */
import { existsSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { NearcastError } from '../../lib/errors.ts'
import { RespClient } from '../../agent/redis/resp/client.ts'
import { addressChange, databaseRow, DataNode, dialerChange } from '../support/data-node.ts'
import { Random, testSeed } from '../support/random.ts'
import { HopDialer } from '../support/hop-dialer.ts'
import { until } from '../support/until.ts'

const HERE = [{ node: 'mad', role: 'primary' as const }]
const ADDRESS = 'fdaa:0:1:0:1::2'
const closing: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

async function dataNode(redis: Record<string, unknown>): Promise<DataNode> {
  const node = new DataNode({ id: 'mad', redis })
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

test('killed at any moment of resting and waking: nothing that was acknowledged is lost, nobody sees LOADING', async () => {
  const seed = testSeed('parking')
  const random = new Random(seed)
  const rounds = Number(process.env['NEARCAST_PARK_KILLS'] ?? 12)
  const node = await dataNode({ backoffMinMs: 5, backoffMaxMs: 20 })
  await node.feed(databaseRow('db', HERE, 'pw', { appendFsync: 'always' }))
  await node.available('db')
  const supervisor = node.agent.tenants.supervisors.get('db')
  const kill = (): void => {
    const pid = node.enginePid('db')
    if (pid !== 0) process.kill(pid, 'SIGKILL')
  }
  const acknowledged = new Map<string, string>()
  /** A client's connection ends with the engine; what it sees otherwise must be a reply to what it said. */
  const ask = async (...words: string[]): Promise<string | null> => {
    try {
      const reply = await say(node, 'db', ...words)
      expect([seed, reply]).not.toEqual([seed, expect.stringMatching(/LOADING/)])
      return reply
    } catch (error) {
      if (error instanceof NearcastError) return null
      throw error
    }
  }
  await say(node, 'db', 'EVAL', "for i = 1, 20000 do redis.call('set', 'bulk' .. i, string.rep('x', 50)) end", '0')
  for (let round = 0; round < rounds; round++) {
    const [key, value] = [`k${random.below(5)}`, `${round}-${random.below(1_000_000)}`]
    // Not acknowledged, it may be there or not: the key is written again before it is read.
    if ((await ask('SET', key, value)) === 'OK') acknowledged.set(key, value)
    else acknowledged.delete(key)
    await until('it can rest', () => supervisor?.reason === null && supervisor.answers)
    supervisor?.rest()
    // From before the engine has had its signal until after the next one serves.
    const killed = delay(random.below(40)).then(kill)
    const woken = delay(random.below(40)).then(() => ask('PING'))
    await Promise.all([killed, woken])
    for (const [known, wanted] of acknowledged) {
      await expect.poll(() => ask('GET', known), { timeout: 10_000, message: `seed ${seed}, round ${round}, ${known}` }).toBe(wanted)
    }
  }
  expect(await say(node, 'db', 'GET', 'bulk20000')).toBe('x'.repeat(50))
})
