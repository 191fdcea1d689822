/** Who may use a database: passwords, users and sources, against real redis-server and through the agent's hop. */
import { createHash } from 'node:crypto'
import { afterEach, expect, test } from 'vitest'
import { DENIED_COMMANDS } from '../../agent/redis/engine/acl.ts'
import { RespClient } from '../../agent/redis/resp/client.ts'
import type { Reply } from '../../agent/redis/resp/reply-decoder.ts'
import { parseIpv6 } from '../../lib/address.ts'
import type { ServiceRow } from '../../lib/feed/messages.ts'
import { addressChange, databaseRow, DataNode, dialerChange } from '../support/data-node.ts'
import { HopDialer } from '../support/hop-dialer.ts'
import { until } from '../support/until.ts'

const HERE = [{ node: 'mad', role: 'primary' as const }]
const ADDRESS = 'fdaa:0:1:0:1::2'
const closing: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

async function dataNode(): Promise<DataNode> {
  const node = new DataNode({ id: 'mad' })
  closing.push(() => node.close())
  return await node.listen()
}

function row(password: string, redis: Parameters<typeof databaseRow>[3] = {}, live?: string): ReturnType<typeof databaseRow> {
  const change = databaseRow('db', HERE, password, redis)
  return { ...change, row: { ...(change.row as ServiceRow), ...(live !== undefined && { live }) } }
}

function user(name: string, password: string, rules: string): NonNullable<NonNullable<ServiceRow['redis']>['users']>[number] {
  return { name, passwordSha256: createHash('sha256').update(password).digest('hex'), rules: rules.split(' ') }
}

async function login(node: DataNode, ...words: string[]): Promise<RespClient> {
  const client = new RespClient(node.engineSocket('db'))
  closing.push(() => client.close())
  expect(await say(client, 'AUTH', ...words)).toBe('OK')
  return client
}

async function say(client: RespClient, ...words: string[]): Promise<string> {
  return textOf(await client.command(words, 5000))
}

function textOf(reply: Reply): string {
  if (reply.kind === 'list') return reply.items.map(textOf).join(' ')
  if (reply.kind === 'null') return '(nil)'
  return reply.kind === 'text' || reply.kind === 'error' ? reply.text : reply.kind === 'number' ? String(reply.value) : reply.kind
}

test('a new password counts at once; connections under the old one end, those of other users stay', async () => {
  const node = await dataNode()
  const users = [user('app', 'app-pw', '~* &* +@all')]
  await node.feed(row('old', { users }))
  await node.available('db')
  const [mine, other] = [await login(node, 'old'), await login(node, 'app', 'app-pw')]
  await node.feed(row('new', { users }))
  await until('the connection under the old password has ended', () => mine.closed)
  expect(await say(other, 'PING')).toBe('PONG')
  const fresh = new RespClient(node.engineSocket('db'))
  closing.push(() => fresh.close())
  expect(await say(fresh, 'AUTH', 'old')).toMatch(/^WRONGPASS/)
  expect(await say(fresh, 'AUTH', 'new')).toBe('OK')
  await expect.poll(() => node.metric('nearcast_agent_cut_total{reason="password-reset"}')).toBe(1)
  await node.feed(row('new', { users: [user('app', 'app-pw-2', '~* &* +@all')] }))
  await until("the user's connection has ended", () => other.closed)
  expect(await say(fresh, 'PING')).toBe('PONG')
})

test('with "keep" connections stay; with "drain" they end later, and newer ones stay', async () => {
  const node = await dataNode()
  await node.feed(row('one', {}, 'keep'))
  await node.available('db')
  const kept = await login(node, 'one')
  await node.feed(row('two', {}, 'keep'))
  await until('the change', () => node.log.some((line) => line['live'] === true))
  expect(await say(kept, 'PING')).toBe('PONG')
  await node.feed(row('two', {}, 'drain:1'))
  await until('the policy', () => node.log.filter((line) => line['live'] === true).length === 2)
  await node.feed(row('three', {}, 'drain:1'))
  await until('the new password', () => node.log.filter((line) => line['live'] === true).length === 3)
  expect(await say(kept, 'PING')).toBe('PONG')
  const newer = await login(node, 'three')
  await until('the old one has ended', () => kept.closed)
  expect(await say(newer, 'PING')).toBe('PONG')
})

test('users have their own rules; no rule reaches what is denied; a removed one is out at once; a restart keeps them', async () => {
  const node = await dataNode()
  const users = [user('reader', 'r', '~app:* +@read'), user('greedy', 'g', '+@all ~* &* +config|get +debug|sleep +acl|setuser +client|kill +swapdb|0'), user('broken', 'b', '+nonsense')]
  await node.feed(row('pw', { users }))
  await node.available('db')
  const reader = await login(node, 'reader', 'r')
  expect(await say(reader, 'GET', 'app:k')).toBe('(nil)')
  expect(await say(reader, 'GET', 'other')).toMatch(/^NOPERM/)
  expect(await say(reader, 'SET', 'app:k', 'v')).toMatch(/^NOPERM/)
  const greedy = await login(node, 'greedy', 'g')
  const examples: Record<string, string[]> = { config: ['CONFIG', 'GET', 'dir'], debug: ['DEBUG', 'SLEEP', '0'], module: ['MODULE', 'LIST'], cluster: ['CLUSTER', 'INFO'], migrate: ['MIGRATE', '127.0.0.1', '1', 'k', '0', '1'], replicaof: ['REPLICAOF', 'NO', 'ONE'], slaveof: ['SLAVEOF', 'NO', 'ONE'], psync: ['PSYNC', '?', '-1'], replconf: ['REPLCONF', 'listening-port', '1'], pfdebug: ['PFDEBUG', 'GETREG', 'k'], 'client|pause': ['CLIENT', 'PAUSE', '1'], 'client|no-evict': ['CLIENT', 'NO-EVICT', 'on'], 'script|debug': ['SCRIPT', 'DEBUG', 'YES'], acl: ['ACL', 'SETUSER', 'x'], swapdb: ['SWAPDB', '0', '1'], 'client|kill': ['CLIENT', 'KILL', 'ID', '1'] }
  for (const denied of DENIED_COMMANDS) {
    expect(await say(greedy, ...(examples[denied] ?? denied.toUpperCase().split('|'))), denied).toMatch(/^NOPERM|^ERR (DEBUG|MODULE) command not allowed/)
  }
  expect(await say(greedy, 'SET', 'k', 'v')).toBe('OK')
  const broken = new RespClient(node.engineSocket('db'))
  closing.push(() => broken.close())
  expect(await say(broken, 'AUTH', 'broken', 'b')).toMatch(/^WRONGPASS/)
  expect(node.log.some(({ code, user: name }) => code === 'redis.user-rules' && name === 'broken')).toBe(true)

  await node.feed(row('pw', { users: users.slice(1, 2) }))
  await until("the removed user's connection has ended", () => reader.closed)
  process.kill(node.enginePid('db'), 'SIGKILL')
  await until('unavailable', () => node.unavailable['db'] === 'redis.crashed')
  await node.available('db')
  expect(await say(await login(node, 'greedy', 'g'), 'GET', 'k')).toBe('v')
})

test('the engine is asked whether it takes rules, and keeps nothing of the question', async () => {
  const node = await dataNode()
  await node.feed(row('pw'))
  const check = (rules: string[]): Promise<unknown> => node.agent.answer('redis.check-rules', { service: 'db', rules })
  expect(await check(['~*', '+@read'])).toEqual({})
  expect(await check(['+nonsense'])).toMatchObject({ refused: { code: 'redis.user-rules', message: expect.stringMatching(/nonsense/) } })
  expect(await check(['+@nonsense'])).toMatchObject({ refused: { code: 'redis.user-rules' } })
  expect(await node.agent.answer('redis.check-rules', { service: 'nobody', rules: [] })).toMatchObject({ refused: { code: 'redis.not-found' } })
  await expect(node.agent.answer('nonsense', {})).rejects.toMatchObject({ code: 'feed.ask-failed' })
  const trial = new RespClient(node.engineSocket('db'))
  closing.push(() => trial.close())
  expect(await say(trial, 'AUTH', 'nearcast-trial', '')).toMatch(/^WRONGPASS/)
})

test("a client that isn't on the allow-list reads why; one that no longer is, is cut", async () => {
  const node = await dataNode()
  await node.feed(row('pw', { allowedSources: ['10.0.0.0/8', 'fdaa:0:1::/48'] }), addressChange(ADDRESS, 'db'), dialerChange('proxy/mad-1'))
  await node.available('db')
  const dialer = await new HopDialer({ path: node.socket, agent: 'mad' }).open()
  closing.push(() => dialer.close())
  const from = (source: string): ReturnType<HopDialer['connect']> => dialer.connect('db', ADDRESS, { source: { ip: parseIpv6(source), port: 5000 } })
  const inside = from('fdaa:0:1:0:5::7')
  expect(await inside.status()).toBe(0)
  expect(await inside.send('AUTH pw\r\n').reply()).toBe('+OK\r\n')
  expect(await from('::ffff:a01:203').status()).toBe(0)
  for (const source of ['fdaa:0:2::7', '::ffff:b00:1', '::a00:1']) {
    const outside = from(source)
    expect(await outside.status()).toBe(0)
    outside.send('AUTH pw\r\n')
    await until('it has ended', () => outside.closed)
    expect(await outside.reply()).toMatch(/^-DENIED redis\.source-not-allowed: \S+ is not on the allow-list/)
  }
  await expect.poll(() => node.metric('nearcast_agent_refused_total{reason="source-not-allowed"}')).toBe(3)
  await node.feed(row('pw', { allowedSources: ['10.0.0.0/8'] }))
  await until('it was cut', () => inside.closed)
  expect(await node.metric('nearcast_agent_cut_total{reason="source-not-allowed"}')).toBe(1)
})
