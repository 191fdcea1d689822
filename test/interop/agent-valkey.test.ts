/**
 * A true valkey-server beside a redis-server on one node: who runs on which, and what goes from one to the other. `npm run valkey`
 * puts all tests of databases on Valkey.
 */
import { spawnSync } from 'node:child_process'
import { afterEach, expect, test } from 'vitest'
import { RespClient } from '../../agent/redis/resp/client.ts'
import { databaseRow, DataNode } from '../support/data-node.ts'
import { until } from '../support/until.ts'

const HERE = [{ node: 'mad', role: 'primary' as const }]
const KEY = 'ab'.repeat(32)
const isMissing = spawnSync('valkey-server', ['--version']).error !== undefined
const closing: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

async function say(node: DataNode, service: string, ...words: string[]): Promise<string> {
  const client = new RespClient(node.engineSocket(service))
  try {
    await client.command(['AUTH', 'pw'], 5000)
    const reply = await client.command(words, 5000)
    return reply.kind === 'text' || reply.kind === 'error' ? reply.text : reply.kind
  } finally {
    client.close()
  }
}

test.skipIf(isMissing)(`Valkey beside Redis: its own commands, walls, rest and return; a copy moves to the newer engine, and no further${isMissing ? ' (skipped: no valkey-server)' : ''}`, { timeout: 60_000 }, async () => {
  const node = await new DataNode({ id: 'mad', redis: { server: 'redis-server' } }).listen()
  closing.push(() => node.close())
  expect(await node.feed(databaseRow('old', HERE, 'pw', { engine: 'redis' }), databaseRow('new', HERE, 'pw', { engine: 'valkey' }))).toEqual([])
  await node.available('old')
  await node.available('new')
  const known = (await node.agent.answer('redis.commands', { service: 'new' })) as { server: string; commands: { name: string; kind: string }[] }
  expect(known.server).toMatch(/^valkey \d+\./)
  expect(known.commands).toContainEqual({ name: 'waitaof', kind: 'other' })
  expect(await say(node, 'new', 'CONFIG', 'GET', '*')).toMatch(/^NOPERM/)
  expect(await say(node, 'new', 'ACL', 'WHOAMI')).toBe('default')

  expect(await say(node, 'old', 'SET', 'k', 'from redis')).toBe('OK')
  const copy = async (from: string, backup: string): Promise<object> => ({ service: from, backup, key: KEY, ...(await node.agent.answer('redis.backup', { service: from, backup, key: KEY }) as object) })
  const restore = async (target: string, taken: object): Promise<unknown> => {
    const { service, backup, key, bytes, sha256 } = taken as Record<string, unknown>
    return await node.agent.answer('redis.restore', { target, service, backup, key, bytes, sha256 })
  }
  expect(await restore('new', await copy('old', 'b1'))).toEqual({})
  await node.available('new')
  expect(await say(node, 'new', 'GET', 'k')).toBe('from redis')
  expect(await say(node, 'new', 'SET', 'k', 'from valkey')).toBe('OK')
  // Debian's Redis of that day is 7.0; a newer one takes it.
  const answer = await restore('old', await copy('new', 'b2'))
  await node.available('old')
  expect([JSON.stringify(answer).includes('too old for this copy') && 'from redis', JSON.stringify(answer) === '{}' && 'from valkey']).toContain(await say(node, 'old', 'GET', 'k'))

  const supervisor = node.agent.tenants.supervisors.get('new')
  supervisor?.rest()
  await until('it rests', () => supervisor?.resting === true && supervisor.pid === null)
  expect(await node.agent.tenants.engine({ service: 'new', purpose: 'client' }, 5000)).not.toHaveProperty('unavailable')
  expect(await say(node, 'new', 'GET', 'k')).toBe('from valkey')
})
