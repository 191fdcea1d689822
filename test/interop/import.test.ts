/** Imports from a plain redis-server that is written to, through the API, into a real engine. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { parseImportSource } from '../../agent/redis/copies/import-source.ts'
import { RespClient } from '../../agent/redis/resp/client.ts'
import { DataNode } from '../support/data-node.ts'
import { SOURCE_SERVER } from '../support/engine-server.ts'
import type { Answer, TestRegistry } from '../support/registry.ts'
import { startRegistry } from '../support/registry.ts'
import { until } from '../support/until.ts'

const PATH = '/v1/orgs/acme/redis/cache'
let registry: TestRegistry
const node = new DataNode({ id: 'mad', redis: { importFrom: ['127.0.0.0/8:*'] } })
let id = ''
let password = ''
const closing: (() => unknown)[] = []

beforeAll(async () => {
  registry = await startRegistry()
  await registry.made('/v1/orgs', { name: 'acme' })
  const identity = await registry.join('agent', 'mad')
  await registry.reader(identity, { apply: (table, changes) => node.agent.apply(table, changes), ask: (question, params) => node.agent.answer(question, params) }).start()
  const made = await registry.made('/v1/orgs/acme/redis', { name: 'cache', region: 'mad' })
  id = String(made['id'])
  password = String(made['password'])
  await node.available(id)
})
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})
afterAll(async () => {
  await registry.remove()
  await node.close()
})

async function plainRedis(...options: string[]): Promise<{ readonly port: number; readonly socket: string }> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  const directory = mkdtempSync(join(tmpdir(), 'nearcast-source-'))
  const socket = join(directory, 's')
  const server = spawn(SOURCE_SERVER, ['--port', String(port), '--bind', '127.0.0.1', '--unixsocket', socket, '--dir', directory, '--save', '', '--repl-diskless-sync-delay', '0', '--requirepass', 'source-pw', ...options], { stdio: 'ignore' })
  closing.push(async () => {
    server.kill('SIGKILL')
    if (server.exitCode === null && server.signalCode === null) await once(server, 'exit')
    rmSync(directory, { recursive: true, force: true })
  })
  await expect.poll(() => say(socket, 'source-pw', 'PING').catch(() => 'no'), { timeout: 10_000 }).toBe('PONG')
  return { port, socket }
}

async function say(path: string, secret: string, ...words: string[]): Promise<string> {
  const client = new RespClient(path)
  try {
    await client.command(['AUTH', secret], 5000)
    const reply = await client.command(words, 5000)
    return reply.kind === 'text' || reply.kind === 'error' ? reply.text : reply.kind === 'number' ? String(reply.value) : reply.kind
  } finally {
    client.close()
  }
}

const here = (...words: string[]): Promise<string> => say(node.engineSocket(id), password, ...words)
const call = (method: string, path = '', body?: unknown): Promise<Answer> => registry.call(method, `${PATH}/import${path}`, body)
const phase = async (): Promise<unknown> => (await call('GET')).body['phase']

test('a Redis under load is followed and cut over without losing an acknowledged write; then it is a primary of its own', async () => {
  const source = await plainRedis()
  await say(source.socket, 'source-pw', 'EVAL', "for i = 1, 20000 do redis.call('set', 'k' .. i, string.rep('x', 100)) end redis.call('rpush', 'list', 'a', 'b')", '0')
  await here('SET', 'goes', 'away')
  const stop = new AbortController()
  let acknowledged = 0
  const writing = (async () => {
    const client = new RespClient(source.socket)
    await client.command(['AUTH', 'source-pw'], 5000)
    while (!stop.signal.aborted) {
      await client.command(['SADD', 'written', String(acknowledged)], 5000)
      acknowledged++
      await delay(1)
    }
    client.close()
  })()
  expect((await call('POST', '', { from: `redis://:source-pw@127.0.0.1:${source.port}` })).status).toBe(201)
  expect((await call('POST', '', { from: `redis://:source-pw@127.0.0.1:${source.port}` })).body['code']).toBe('redis.import-running')
  await expect.poll(phase, { timeout: 15_000 }).toBe('following')
  expect(node.unavailable[id]).toBe('redis.importing')
  const before = acknowledged
  await until('writes go on', () => acknowledged > before + 20)
  expect((await call('GET')).body).toMatchObject({ phase: 'following', lagBytes: expect.any(Number), sourceKeys: expect.any(Number) })
  stop.abort()
  await writing
  await call('POST', '/cut-over', {})
  await expect.poll(phase, { timeout: 15_000 }).toBe('done')
  expect((await call('GET')).body).toMatchObject({ keys: 20_002, sourceKeys: 20_002, samples: 100, differing: 0 })
  await node.available(id)
  expect([await here('SCARD', 'written'), await here('EXISTS', 'goes'), await here('SET', 'mine', 'v')]).toEqual([String(acknowledged), '0', 'OK'])
  expect(JSON.stringify(node.log)).not.toContain('source-pw')

  process.kill(node.enginePid(id), 'SIGKILL')
  await until('unavailable', () => node.unavailable[id] === 'redis.crashed')
  await node.available(id)
  expect([await here('SCARD', 'written'), await here('GET', 'mine')]).toEqual([String(acknowledged), 'v'])
})

test('where PSYNC is denied keys are copied one by one: any bytes, expiries, several databases; once more at the cut-over', async () => {
  const source = await plainRedis()
  await say(source.socket, 'source-pw', 'ACL', 'SETUSER', 'app', 'on', '>app-pw', '~*', '+@all', '-psync', '-sync', '-replconf')
  await say(source.socket, 'source-pw', 'EVAL', "for i = 1, 2000 do redis.call('set', 'k' .. i, i) end redis.call('hset', 'h', 'a', string.char(0, 255, 13, 10)) redis.call('select', 3) redis.call('set', string.char(255, 0, 10) .. 'key', string.char(128)) redis.call('set', 'soon', 'v', 'px', 600000)", '0')
  await here('SET', 'goes', 'away')
  expect((await call('POST', '', { from: `redis://app:app-pw@127.0.0.1:${source.port}` })).body).toMatchObject({ phase: 'connecting' })
  await expect.poll(phase, { timeout: 15_000 }).toBe('following')
  expect((await call('GET')).body).toMatchObject({ way: 'keys', keys: 2003, sourceKeys: 2003, lagBytes: null })
  await say(source.socket, 'source-pw', 'SET', 'late', 'v')
  await say(source.socket, 'source-pw', 'DEL', 'k1')
  await call('POST', '/cut-over', {})
  await expect.poll(phase, { timeout: 15_000 }).toBe('done')
  expect((await call('GET')).body).toMatchObject({ keys: 2003, sourceKeys: 2003, samples: 100, differing: 0 })
  await node.available(id)
  expect([await here('GET', 'late'), await here('EXISTS', 'k1'), await here('EXISTS', 'goes'), await here('GET', 'k2000')]).toEqual(['v', '0', '0', '2000'])
  const script = "local h = redis.call('hget', 'h', 'a') redis.call('select', 3) return h == string.char(0, 255, 13, 10) and redis.call('get', string.char(255, 0, 10) .. 'key') == string.char(128) and redis.call('pttl', 'soon') > 500000 and 'same'"
  expect(await here('EVAL', script, '0')).toBe('same')
})

test('what may not be dialled, does not answer or refuses the password is told; the database goes on as it was', async () => {
  await here('SET', 'stays', 'v')
  const code = async (from: string): Promise<unknown> => (await call('POST', '', { from })).body['code']
  expect(await code('redis://10.0.0.1:6379')).toBe('redis.import-refused')
  expect(await code('redis://localhost:6379')).toBe('redis.import-refused')
  expect(await code('http://127.0.0.1')).toBe('api.body-invalid')
  const source = await plainRedis()
  for (const [from, why] of [[`redis://:wrong@127.0.0.1:${source.port}`, /WRONGPASS/], ['redis://127.0.0.1:1', /does not answer/]] as const) {
    expect((await call('POST', '', { from })).status).toBe(201)
    await expect.poll(phase, { timeout: 15_000 }).toBe('failed')
    expect((await call('GET')).body['error']).toMatch(why)
    await node.available(id)
    expect(await here('GET', 'stays')).toBe('v')
  }
  expect((await call('POST', '', { from: `redis://:source-pw@127.0.0.1:${source.port}` })).status).toBe(201)
  await expect.poll(phase, { timeout: 15_000 }).toBe('following')
  expect((await call('DELETE')).status).toBe(200)
  await expect.poll(phase, { timeout: 15_000 }).toBe('stopped')
  await node.available(id)
  expect(await here('SET', 'again', 'v')).toBe('OK')
})

test('a source is read from its URL', () => {
  expect(parseImportSource('rediss://us%40er:p%3Aw@[::1]:7000')).toEqual({ host: '::1', port: 7000, tls: true, user: 'us@er', password: 'p:w' })
  expect(parseImportSource('redis://old.internal')).toEqual({ host: 'old.internal', port: 6379, tls: false, user: '', password: '' })
  for (const text of ['', 'redis://', 'http://a', 'nonsense']) expect(() => parseImportSource(text)).toThrow(expect.objectContaining({ code: 'redis.import-refused' }))
})
