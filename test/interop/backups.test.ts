/** Backups from the API to real engines on two nodes: taken, read, restored on the other node, kept by days, removed. */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { RespClient } from '../../agent/redis/resp/client.ts'
import { Backups } from '../../router/registry/backups.ts'
import { DataNode } from '../support/data-node.ts'
import type { Answer, TestRegistry } from '../support/registry.ts'
import { QUIET, startRegistry } from '../support/registry.ts'
import { until } from '../support/until.ts'

const BASE = '/v1/orgs/acme/redis'
let registry: TestRegistry
let acme = ''
let look = ''
let aheadMs = 0
const nodes = new Map<string, DataNode>()
const databases = new Map<string, { readonly id: string; readonly password: string; readonly node: DataNode }>()

beforeAll(async () => {
  registry = await startRegistry({ clock: () => new Date(Date.now() + aheadMs) })
  await registry.made('/v1/orgs', { name: 'acme' })
  acme = String((await registry.made('/v1/tokens', { name: 'ci', role: 'member', org: 'acme' }))['token'])
  look = String((await registry.made('/v1/tokens', { name: 'look', role: 'member', org: 'acme', scopes: ['read'] }))['token'])
  for (const [name, id] of [['one', 'mad'], ['two', 'ams']] as const) {
    const node = new DataNode({ id })
    nodes.set(id, node)
    const identity = await registry.join('agent', id, id)
    await registry.reader(identity, { apply: (table, changes) => node.agent.apply(table, changes), ask: (question, params) => node.agent.answer(question, params) }).start()
    const made = await registry.made(BASE, { name, region: id }, acme)
    databases.set(name, { id: String(made['id']), password: String(made['password']), node })
    await node.available(String(made['id']))
  }
}, 20_000)
afterAll(async () => {
  await registry.remove()
  for (const node of nodes.values()) await node.close()
})

function database(name: string): { readonly id: string; readonly password: string; readonly node: DataNode } {
  const found = databases.get(name)
  if (found === undefined) throw new Error(`no ${name}`)
  return found
}

async function say(name: string, ...words: string[]): Promise<string> {
  const { id, password, node } = database(name)
  await node.available(id)
  const client = new RespClient(node.engineSocket(id))
  try {
    await client.command(['AUTH', password], 5000)
    const reply = await client.command(words, 10_000)
    return reply.kind === 'text' || reply.kind === 'error' ? reply.text : reply.kind === 'number' ? String(reply.value) : reply.kind
  } finally {
    client.close()
  }
}

const call = (method: string, path: string, body?: unknown, token = acme): Promise<Answer> => registry.call(method, `${BASE}${path}`, body, token)
const listed = async (name: string): Promise<{ id: string; kind: string; state: string }[]> => (await call('GET', `/${name}/backups`)).body as unknown as { id: string; kind: string; state: string }[]
const files = (name: string, holder = name): string[] => {
  const directory = join(database(holder).node.directory, 'backups', database(name).id)
  return existsSync(directory) ? readdirSync(directory) : []
}

async function content(name: string, backup: string): Promise<Buffer> {
  const parts: Buffer[] = []
  for (let offset: number | null = 0; offset !== null; ) {
    const { body } = await call('GET', `/${name}/backups/${backup}/content?offset=${offset}`)
    parts.push(Buffer.from(String(body['data']), 'base64'))
    offset = z.int().nullable().parse(body['next'])
  }
  return Buffer.concat(parts)
}

test('taken, read whole, restored into a database on another node; secrets stay secret', async () => {
  for (let index = 0; index < 8; index++) await say('one', 'SET', `k${index}`, createHash('sha512').update(String(index)).digest('hex').repeat(1000) + index)
  await say('one', 'EVAL', "for i = 1, 3000 do redis.call('set', 'r' .. i, redis.sha1hex(i)) end", '0')
  const made = await registry.made(`${BASE}/one/backups`, {}, acme)
  expect(made).toMatchObject({ database: 'one', kind: 'manual', state: 'ready' })
  const id = String(made['id'])
  const rdb = await content('one', id)
  expect(rdb.subarray(0, 5).toString()).toBe('REDIS')
  expect([rdb.length, createHash('sha256').update(rdb).digest('hex')]).toEqual([made['bytes'], made['sha256']])
  expect((await call('GET', `/one/backups/${id}/content`, undefined, look)).body['code']).toBe('token.scope-missing')
  expect(await listed('one')).toEqual([made])

  await say('two', 'SET', 'mine', 'v')
  const restored = await call('POST', '/two/restore', { backup: id })
  expect(restored.body).toMatchObject({ database: 'two', backup: id, state: 'restored' })
  expect(await say('two', 'GET', 'r7')).toBe(createHash('sha1').update('7').digest('hex'))
  expect(await say('two', 'DBSIZE')).toBe('3008')
  expect(files('one', 'two')).toEqual([])
  const audit = JSON.stringify((await registry.call('GET', '/v1/audit?limit=1000')).body)
  expect(audit).toContain('backup.restore')
  expect(audit).not.toMatch(/"sealed"/)

  expect((await call('DELETE', `/one/backups/${id}`)).status).toBe(200)
  expect([await listed('one'), files('one')]).toEqual([[], []])
  for (const [method, path, body] of [['DELETE', `/one/backups/${id}`], ['POST', '/one/restore', { backup: id }], ['GET', `/one/backups/${id}/content`]] as const) {
    expect((await call(method, path, body)).body['code']).toBe('redis.backup-missing')
  }
})

test('daily ones: taken when due, kept as many as told, ended with null', async () => {
  const { backups } = registry.registry
  await backups.tick()
  expect(await listed('one')).toEqual([])
  expect((await call('PATCH', '/one', { dailyBackups: 2 })).body['dailyBackups']).toBe(2)
  for (let day = 0; day < 4; day++) {
    await backups.tick()
    await backups.tick()
    aheadMs += 86_400_000
  }
  const kept = await listed('one')
  expect(kept.map(({ kind, state }) => [kind, state])).toEqual([['daily', 'ready'], ['daily', 'ready']])
  expect(files('one').toSorted()).toEqual(kept.map(({ id }) => id).toSorted())
  expect((await call('PATCH', '/one', { dailyBackups: null })).body['dailyBackups']).toBeUndefined()
  await backups.tick()
  expect(await listed('one')).toEqual(kept)
  for (const dailyBackups of [0, 31, 'x']) expect((await call('PATCH', '/one', { dailyBackups })).body['code']).toBe('api.body-invalid')
})

test('what was being taken when the router ended has failed; so does one of an engine that is down; neither can be restored', async () => {
  const { id, node } = database('two')
  process.kill(node.enginePid(id), 'SIGSTOP')
  const pid = node.enginePid(id)
  try {
    await until('it is known', () => node.unavailable[id] === 'redis.not-answering')
    const { body } = await call('POST', '/two/backups', {})
    expect(body).toMatchObject({ state: 'failed', error: expect.stringMatching(/^redis\./) })
    expect((await call('POST', '/two/restore', { backup: body['id'] })).body['code']).toBe('redis.backup-unfinished')
    expect(files('two')).toEqual([])
  } finally {
    process.kill(pid, 'SIGCONT')
  }
  const before = await listed('one')
  const { store } = registry.registry
  const [known] = registry.registry.backups.of(database('one').id)
  store.write({ who: 'test', what: 'test' }, (transaction) => known && transaction.put('backups', { ...known, state: 'running' }))
  const again = new Backups({ ...registry.registry, log: QUIET })
  expect(again.of(database('one').id).map(({ state }) => state)).toEqual(['failed', ...before.slice(1).map(({ state }) => state)])
})

test("a destroyed database's backups are gone", async () => {
  expect(files('one')).toHaveLength(2)
  const [backup] = await listed('one')
  expect((await call('DELETE', '/one')).status).toBe(200)
  expect((await call('POST', '/two/restore', { backup: backup?.id })).body['code']).toBe('redis.backup-missing')
  await until('the files are gone', () => files('one').length === 0)
})
