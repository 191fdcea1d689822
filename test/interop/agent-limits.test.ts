/** Limits of a database, each met by a real client through the agent; and everything else of Redis through the same way. */
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import { afterEach, expect, test } from 'vitest'
import type { RedisStatistics } from '../../lib/feed/questions.ts'
import { redisStatistics } from '../../lib/feed/questions.ts'
import type { RedisLimits } from '../../lib/redis-limits.ts'
import { startBareRedis, talk } from '../support/bare-redis.ts'
import { addressChange, databaseRow, DataNode, dialerChange } from '../support/data-node.ts'
import { startHopRelay } from '../support/hop-relay.ts'
import { Random, testSeed } from '../support/random.ts'
import { pieces } from '../support/resp.ts'
import { until } from '../support/until.ts'

const HERE = [{ node: 'mad', role: 'primary' as const }]
const ADDRESS = 'fdaa:0:1:0:1::2'
const closing: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

type Changes = Parameters<typeof databaseRow>[3]

interface Place {
  readonly node: DataNode
  readonly port: number
  readonly set: (limits: RedisLimits, changes?: Changes) => Promise<void>
  readonly client: (options?: object) => Redis
}

async function place(limits: RedisLimits, changes: Changes = {}): Promise<Place> {
  const node = new DataNode({ id: 'mad', redis: { healthIntervalMs: 100 } })
  closing.push(() => node.close())
  await node.listen()
  const set = async (now: RedisLimits, more: Changes = {}): Promise<void> => {
    await node.feed(databaseRow('db', HERE, 'pw', { limits: now, ...more }))
  }
  await node.feed(addressChange(ADDRESS, 'db'), dialerChange('proxy/mad-1'), databaseRow('db', HERE, 'pw', { limits, ...changes }))
  await node.available('db')
  const relay = await startHopRelay(node.socket, 'mad', 'db', ADDRESS)
  closing.push(() => relay.close())
  const client = (options: object = {}): Redis => {
    const made = new Redis({ port: relay.port, password: 'pw', retryStrategy: () => null, ...options })
    made.on('error', () => {})
    closing.push(() => made.disconnect())
    return made
  }
  return { node, port: relay.port, set, client }
}

const failed = (promise: Promise<unknown>): Promise<string> => promise.then((value) => `it answered ${String(value)}`, (error: Error) => error.message)

const isOver = (received: Buffer): boolean => received.includes('the-very-end\r\n')
const text = (bytes: Buffer): string => bytes.toString('latin1').replaceAll(/\$2\r\nid\r\n:\d+/g, 'id')

test('commands per second, a day and a month: refused with the numbers, counted, warned of; a pipeline keeps its order', async () => {
  const { node, set, client } = await place({ commandsPerDay: 10, commandsPerMonth: 15 })
  const redis = client()
  const answers = await redis.pipeline(Array.from({ length: 12 }, (_each, index) => ['set', `k${index}`, String(index)])).exec()
  expect(answers?.map(([error, value]) => error?.message ?? value)).toEqual([...Array.from({ length: 10 }, () => 'OK'), ...Array.from({ length: 2 }, () => 'ERR max daily request limit exceeded. Limit: 10, Usage: 10.')])
  // Nobody is kept from finding out.
  expect(await redis.ping()).toBe('PONG')
  await set({ commandsPerMonth: 15 })
  expect(await Promise.all(Array.from({ length: 5 }, (_each, index) => redis.get(`k${index}`)))).toEqual(['0', '1', '2', '3', '4'])
  expect(await failed(redis.get('k'))).toBe('ERR max monthly request limit exceeded. Limit: 15, Usage: 15.')
  expect(node.log.filter(({ limit }) => limit === 'commandsPerDay').map(({ used }) => used)).toEqual([8, 10])
  expect(await node.metric('nearcast_agent_limited_total{service="db",limit="commandsPerDay"}')).toBe(2)
  await set({ commandsPerSecond: 50 })
  const many = await redis.pipeline(Array.from({ length: 200 }, () => ['incr', 'n'])).exec()
  const refused = many?.filter(([error]) => error !== null) ?? []
  expect(refused.length).toBeGreaterThan(100)
  expect(refused[0]?.[0]?.message).toBe('ERR max commands per second exceeded. Limit: 50.')
  expect(many?.filter(([error]) => error === null).map(([, value]) => value)).toEqual(Array.from({ length: 200 - refused.length }, (_each, index) => index + 1))
})

test('refusals among other replies, said in any pieces; where the client wants no replies there are none', async () => {
  const { port } = await place({ requestBytes: 1024 })
  const random = new Random(testSeed('refusals'))
  const large = `SET k ${'x'.repeat(2000)}`
  const words = ['AUTH pw', 'SET k v', large, 'GET k', 'CLIENT REPLY OFF', large, large, 'CLIENT REPLY ON', large, 'MULTI', 'INCR n', large, 'EXEC', 'HELLO 3', large, 'SUBSCRIBE c', large, 'ECHO the-very-end', ''].join('\r\n')
  const refused = '-ERR max request size exceeded. Limit: 1024 bytes, Actual: 2004 bytes.\r\n'
  for (let round = 0; round < 4; round++) {
    const said = text(await talk({ port }, round === 0 ? words : pieces(random, Buffer.from(words)), isOver))
    expect(said.replace(/%7[^]*?role\r\n\$6\r\nmaster\r\n\$7\r\nmodules\r\n\*0\r\n/, 'HELLO')).toBe(`+OK\r\n+OK\r\n${refused}$1\r\nv\r\n+OK\r\n${refused}+OK\r\n+QUEUED\r\n${refused}-EXECABORT Transaction discarded because of previous errors.\r\nHELLO${refused}>3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n${refused}$12\r\nthe-very-end\r\n`)
  }
})

test('a transaction that holds a refused command is aborted, as by any command that Redis refuses', async () => {
  const { client } = await place({ requestBytes: 1024 })
  const redis = client()
  const long = 'x'.repeat(2000)
  expect(await failed(redis.multi().set('a', '1').set('b', long).exec())).toMatch(/^EXECABORT/)
  expect(await redis.exists('a')).toBe(0)
  expect(await redis.multi().set('a', '1').get('a').exec()).toEqual([[null, 'OK'], [null, '1']])
})

test('sizes of requests and entries, in one piece and in many; the connection lives on when it can', async () => {
  const { client } = await place({ requestBytes: 200_000, entryBytes: 1 << 20 })
  const redis = client()
  expect(await failed(redis.set('k', Buffer.alloc(300_000)))).toBe('ERR max request size exceeded. Limit: 200000 bytes, Actual: 300004 bytes.')
  expect(await redis.set('k', Buffer.alloc(150_000))).toBe('OK')
  expect((await redis.getBuffer('k'))?.length).toBe(150_000)
  // Not known before most of it has gone.
  expect(await failed(redis.mset(...Array.from({ length: 400 }, (_each, index) => [`m${index}`, 'v'.repeat(1000)]).flat()))).toMatch(/^ERR max request size exceeded|closed/)
  const other = client()
  expect(await other.exists('m0')).toBe(0)
})

test('entries: refused before they are read, and none grows beyond', async () => {
  const { client } = await place({ entryBytes: 1 << 20 })
  const redis = client()
  expect(await failed(redis.set('k', Buffer.alloc((1 << 20) + 1)))).toBe('ERR max entry size exceeded. Limit: 1048576 bytes, Actual: 1048577 bytes.')
  expect(await redis.set('k', Buffer.alloc(1 << 20))).toBe('OK')
  expect(await failed(redis.append('k', 'x'))).toMatch(/string exceeds maximum allowed size/)
  expect(await failed(redis.setrange('k', 1 << 20, 'x'))).toMatch(/string exceeds maximum allowed size/)
})

test('clients: one too many reads it, and is let in when another has gone', async () => {
  const { node, port, client } = await place({ maxClients: 2 })
  const [one, two] = [client(), client()]
  expect([await one.ping(), await two.ping()]).toEqual(['PONG', 'PONG'])
  // ioredis tells no more than that the connection was closed.
  expect((await promisify(execFile)('redis-cli', ['-p', String(port), 'PING'])).stdout).toContain('ERR max number of clients reached')
  one.disconnect()
  await until('it has gone', () => node.agent.ingress.openConnections === 1)
  expect(await client().ping()).toBe('PONG')
})

test('data size: refused by Redis itself without eviction; with it keys go, those that expire first', async () => {
  const { set, client } = await place({}, { maxMemoryBytes: 4 << 20 })
  const value = Buffer.alloc(10_000)
  const redis = client()
  let wrote = 0
  const full = await (async () => {
    for (;;) {
      const said = await failed(redis.set(`k${wrote++}`, value))
      if (said !== 'it answered OK') return said
    }
  })()
  expect(full).toBe("OOM command not allowed when used memory > 'maxmemory'.")
  await set({}, { maxMemoryBytes: 4 << 20, eviction: true })
  const again = client()
  await again.flushall()
  expect(await again.set('kept', 'v')).toBe('OK')
  for (let index = 0; index < 200; index++) await again.set(`short${index}`, value, 'EX', 1000)
  // Those that expire could make room; they went first.
  for (let index = 0; index < 300; index++) expect(await again.set(`e${index}`, value, 'EX', 1000)).toBe('OK')
  expect(await again.get('kept')).toBe('v')
  // And now for keys that don't expire: never an error.
  for (let index = 0; index < 800; index++) expect(await failed(again.set(`l${index}`, value))).toBe('it answered OK')
  expect(await again.dbsize()).toBeLessThan(600)
})

test('bandwidth: a rate holds back, a day’s amount ends it', async () => {
  const { node, set, client } = await place({ bytesPerSecond: 500_000 })
  const redis = client()
  await redis.ping()
  const startMs = performance.now()
  await redis.set('k', Buffer.alloc(300_000))
  await redis.getBuffer('k')
  expect(performance.now() - startMs).toBeGreaterThan(400)
  await set({ bytesPerDay: 1_000_000 })
  await until('connections on the former way have ended', () => redis.status === 'end')
  const other = client()
  await other.getBuffer('k')
  await other.getBuffer('k')
  expect(await failed(other.get('k'))).toMatch(/^ERR max daily bandwidth exceeded. Limit: 1000000 bytes, Usage: \d+ bytes.$/)
  expect(await node.metric('nearcast_agent_cut_total{reason="limits-changed"}')).toBe(1)
})

test('an idle connection is closed; a script that runs too long is ended, one that has written too', async () => {
  const { node, client } = await place({ idleSeconds: 1, scriptMs: 50 })
  const idle = client()
  await idle.ping()
  const redis = client()
  await redis.set('k', 'before')
  expect(await failed(redis.eval('while true do end', 0))).toMatch(/Script killed by user/)
  expect(await redis.get('k')).toBe('before')
  const pid = node.enginePid('db')
  void failed(client().eval("redis.call('set', 'k', 'during') while true do end", 0))
  await until('the engine was ended', () => node.log.some(({ ended }) => ended === 'killed'))
  await until('and is there again', () => node.enginePid('db') > 0 && node.enginePid('db') !== pid && node.agent.tenants.supervisors.get('db')?.answers === true)
  await node.available('db')
  expect(await client().get('k')).toBe('before')
  const lonely = client()
  await lonely.ping()
  await until('closed', () => lonely.status === 'end')
})

test('counts of the day live on', async () => {
  const { node, client } = await place({ commandsPerDay: 1000 })
  const redis = client()
  for (let index = 0; index < 5; index++) await redis.incr('n')
  await node.stop()
  const file = join(node.dataDir, 'db', 'usage')
  const kept = JSON.parse(readFileSync(file, 'utf8')) as { dayCommands: number }
  expect(kept.dayCommands).toBe(5)
  writeFileSync(file, JSON.stringify({ ...kept, dayCommands: 999 }))
  const next = new DataNode({ id: 'mad', dataDir: node.dataDir })
  closing.push(() => next.close())
  await next.listen()
  await next.feed(addressChange(ADDRESS, 'db'), dialerChange('proxy/mad-1'), databaseRow('db', HERE, 'pw', { limits: { commandsPerDay: 1000 } }))
  await next.available('db')
  const relay = await startHopRelay(next.socket, 'mad', 'db', ADDRESS)
  closing.push(() => relay.close())
  const later = new Redis({ port: relay.port, password: 'pw', retryStrategy: () => null })
  closing.push(() => later.disconnect())
  expect(await later.get('n')).toBe('5')
  expect(await failed(later.get('n'))).toBe('ERR max daily request limit exceeded. Limit: 1000, Usage: 1000.')
})

test('everything else of Redis through a connection that is read', async () => {
  const { port, client } = await place({ commandsPerSecond: 1_000_000 })
  const [redis, blocked, subscriber, watcher] = [client(), client(), client(), client()]
  const popped = blocked.blpop('list', 5)
  const messages: string[] = []
  subscriber.on('message', (_channel, message: string) => messages.push(message))
  await subscriber.subscribe('news')
  const seen: string[] = []
  const monitor = await watcher.monitor()
  monitor.on('monitor', (_time: string, words: string[]) => seen.push(words.join(' ')))
  closing.push(() => monitor.disconnect())
  await redis.publish('news', 'hello')
  await redis.rpush('list', 'item')
  expect(await popped).toEqual(['list', 'item'])
  await until('message and monitor', () => messages[0] === 'hello' && seen.includes('rpush list item'))
  expect(await subscriber.unsubscribe('news')).toBe(0)
  const big = Buffer.alloc(3_000_000, 'ab')
  await redis.set('big', big)
  expect((await redis.getBuffer('big'))?.equals(big)).toBe(true)
  const piped = await redis.pipeline(Array.from({ length: 5000 }, (_each, index) => ['set', `p${index}`, 'v'])).exec()
  expect(piped?.every(([error]) => error === null)).toBe(true)
  const three = await promisify(execFile)('redis-cli', ['-p', String(port), '--pass', 'pw', '--no-auth-warning', '--no-raw', '-3', 'HGETALL', 'nothing'])
  expect(three.stdout).toContain('empty hash')
})

test('statistics: of databases that are read and of those that are not; they live on, and wake nobody', async () => {
  const { node, set, client } = await place({ commandsPerDay: 1000, maxClients: 5 })
  const redis = client()
  await redis.mset('a', '1', 'b', '2')
  await Promise.all(['a', 'b', 'c', 'a'].map((key) => redis.get(key)))
  const ask = async (): Promise<RedisStatistics> => redisStatistics.parse(await node.agent.answer('redis.statistics', { service: 'db' }))
  expect(await ask()).toMatchObject({ node: 'mad', role: 'primary', connections: 1, commands: { total: 5, day: 5, month: 5 }, hits: 3, misses: 1, engine: { keys: 2 }, latency: { read: { count: 4 }, write: { count: 1 } }, engineLatency: { read: { count: 4 }, write: { count: 1 } } })
  expect((await ask()).limits).toEqual([{ limit: 'maxClients', allowed: 5, used: 1, hits: 0 }, { limit: 'commandsPerDay', allowed: 1000, used: 5, hits: 0 }])
  expect((await ask()).diskBytes).toBeGreaterThan(10)
  await set({})
  await until('it has gone', () => redis.status === 'end')
  const plain = client()
  await plain.eval('for i = 1, 3e7 do end return 1', 0)
  await plain.get('a')
  await plain.ping()
  // SLOWLOG holds what took 10 ms.
  expect(await node.agent.answer('redis.slow', { service: 'db' })).toMatchObject({ commands: [{ command: expect.stringMatching(/^eval for i = 1, 3e7/) }] })
  // An engine that was busy for so long may count as not answering for a moment, and isn't asked then.
  await expect.poll(ask, { timeout: 10_000 }).toMatchObject({ commands: { total: 7 } })
  const [before, after] = [await ask(), await ask()]
  expect([before.commands.total, after.commands.total, after.hits, after.latency]).toEqual([7, 7, 4, null])
  // Nobody reads its clients now, and the engine has measured all the same; a script is neither.
  expect(after.engineLatency).toMatchObject({ read: { count: 5 }, write: { count: 1 } })
  const engine = node.agent.tenants.supervisors.get('db')
  plain.disconnect()
  await until('nobody is there', () => node.agent.ingress.openConnections === 0)
  engine?.rest()
  await until('it rests', () => node.enginePid('db') === 0)
  expect(await ask()).toMatchObject({ resting: true, commands: { total: 7 }, engine: { keys: 2 } })
  expect(await client().get('a')).toBe('1')
  await until('its second run counts, too', () => node.enginePid('db') > 0)
  expect(await ask()).toMatchObject({ resting: false, commands: { total: 8 }, hits: 5 })
})

test('an engine that keeps a processor busy goes behind its neighbours, says so, and is back among them when its script has ended', async () => {
  const { node, client } = await place({ scriptMs: 700 })
  const pid = node.enginePid('db')
  // Of all the scheduler's policies: 0 is the ordinary one, 3 that of those who don't interrupt others.
  const policy = (): string | undefined => readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\) /s, '').split(' ')[38]
  const redis = client()
  await redis.ping()
  expect(policy()).toBe('0')
  const enough = new AbortController()
  const asking = (async () => {
    while (!enough.signal.aborted) expect(await failed(redis.eval('while true do end', 0))).toContain('Script killed')
  })()
  await until('it is held back', () => policy() === '3', 30_000)
  expect(await node.metric('nearcast_agent_engine_held_back{service="db"}')).toBe(1)
  enough.abort()
  await asking
  await until('it is no longer', () => policy() === '0', 20_000)
  const { heldBack } = redisStatistics.parse(await node.agent.answer('redis.statistics', { service: 'db' }))
  expect(heldBack?.now).toBe(false)
  expect(heldBack?.ms).toBeGreaterThan(900)
}, 60_000)

const SCRIPT = [
  'SET a 1', 'GET a', 'INCR a', 'NONSENSE x', 'GET', 'MULTI', 'INCR a', 'GET a', 'EXEC', 'MULTI', 'NONSENSE', 'INCR a', 'EXEC', 'MULTI', 'DISCARD', 'WATCH a', 'UNWATCH', 'LPUSH l 1 2 3', 'LRANGE l 0 -1',
  'HSET h f v', 'HGETALL h', 'ZADD z 1.5 m', 'ZSCORE z m', 'CLIENT REPLY SKIP', 'GET a', 'GET a', 'CLIENT REPLY OFF', 'GET a', 'NONSENSE', 'CLIENT REPLY ON', 'SUBSCRIBE c', 'PING', 'GET a', 'UNSUBSCRIBE', 'PUBLISH c m',
  'EVAL "return {1,2,redis.error_reply(\'MY error\')}" 0', 'EVAL "return redis.pcall(\'nonsense\')" 0', 'BLPOP l 0', 'BLPOP nothing 0.01', 'SET b "\\x00\\r\\n-ERR unknown command"', 'GET b', 'STRLEN b', 'TYPE l', 'OBJECT HELP', 'ECHO ""', '', 'SELECT 1', 'GET a', 'SELECT 0', 'RESET', 'AUTH pw', 'GET b', 'COMMAND COUNT', 'LOLWUT VERSION 9999', 'XADD s 1-1 k v', 'XREAD COUNT 1 STREAMS s 0',
]

test('the same words, said in any pieces, are answered as by a bare engine', async () => {
  const { port } = await place({ commandsPerSecond: 1_000_000 })
  const bare = await startBareRedis('--requirepass', 'pw')
  closing.push(() => bare.close())
  const random = new Random(testSeed('read connections'))
  for (const version of [2, 3]) {
    for (let round = 0; round < 3; round++) {
      const lines = ['AUTH pw', 'FLUSHALL', `HELLO ${version}`, ...(round === 0 ? SCRIPT : Array.from({ length: 60 }, () => random.pick(['PING', ...SCRIPT])).filter((line) => !line.startsWith('BLPOP')))]
      const words = `${lines.join('\r\n')}\r\nRESET\r\nAUTH pw\r\nECHO the-very-end\r\n`
      const wanted = text(await talk(bare.socket, words, isOver))
      const parts = pieces(random, Buffer.from(words))
      expect(text(await talk({ port }, parts, isOver))).toBe(wanted)
    }
  }
})
