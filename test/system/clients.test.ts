/** What real clients do through an address, unchanged, on a database that is passed on and on one that is read; and what TCP allows. */
import { spawnSync } from 'node:child_process'
import t from 'tap'
import { Cluster, eventually } from '../support/cluster.ts'
import type { Database, Finished } from '../support/cluster.ts'
import type { ClientCase } from '../support/redis-clients.ts'
import { Wire } from '../support/wire.ts'

const support = (name: string): string => new URL(`../support/${name}`, import.meta.url).pathname
/** Debian's, which has Debian's python3-redis. */
const PYTHON = '/usr/bin/python3'
const BENCHMARKS = 'ping_mbulk,set,get,incr,lpush,rpop,sadd,hset,zadd,lrange_100,mset'

const cluster = await Cluster.start({ topology: 'pair' })
t.teardown(() => cluster.end())
const [demo] = cluster.facts.databases
if (demo === undefined) throw new Error('no demo database')
/** In mad alone: whatever moves the choice, all connections meet the same engine. */
const alone = await cluster.json<Database>('redis', 'create', '--org', 'acme', '--name', 'alone', '--region', 'mad')

/** The same, with a limit that nobody meets: the agent reads what is said. */
const read = await cluster.json<Database>('redis', 'create', '--org', 'acme', '--name', 'read', '--region', 'mad')
const limited = await cluster.nearcast(['redis', 'set', 'read', '--org', 'acme', '--commands-per-second', '1000000'])
if (limited.code !== 0) throw new Error(limited.stderr)
const withPython = spawnSync(PYTHON, ['-c', 'import redis']).status === 0

interface Runs {
  readonly ioredis: Finished
  readonly others: Finished
  readonly cli: string
  readonly benchmark: Finished
  readonly python: Finished | null
}

/** One after the other: some look at how many are connected. */
async function runsOn(database: Database): Promise<Runs> {
  const run = (...command: string[]): Promise<Finished> => cluster.run('acme/mad', command, { REDIS_URL: database.url })
  return {
    ioredis: await run(process.execPath, support('redis-clients.ts')),
    others: await run(process.execPath, support('more-redis-clients.ts')),
    cli: await cluster.redis('acme/mad', database, '-3', 'EVAL', 'return {KEYS[1], ARGV[1]}', '1', 'k', 'a'),
    benchmark: await run('redis-benchmark', '-u', database.url, '-q', '-n', '1000', '-c', '20', '-P', '8', '-t', BENCHMARKS),
    python: withPython ? await run(PYTHON, support('redis-py-client.py')) : null,
  }
}

const [passed, asRead] = await Promise.all([runsOn(alone), runsOn(read)])
for (const [way, { ioredis, others, cli, benchmark, python }] of [['passed on', passed], ['read', asRead]] as const) {
  await t.test(`ioredis, node-redis and BullMQ, ${way}`, async (t) => {
    for (const [{ stdout, stderr, code }, count] of [[ioredis, 8], [others, 3]] as const) {
      const cases = stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line) as ClientCase)
      for (const { name, ok, detail } of cases) t.ok(ok, ok ? name : `${name}: ${detail}`)
      t.equal(cases.length, count, `every case ran ${stderr}`)
      t.equal(code, 0, 'it ended by itself')
    }
  })
  await t.test(`redis-cli and redis-benchmark, ${way}`, async (t) => {
    t.equal(cli, 'k\na', 'redis-cli')
    t.equal(benchmark.code, 0, `redis-benchmark ended well ${benchmark.stderr}`)
    t.ok((benchmark.stdout.match(/requests per second/g) ?? []).length >= 11, `each of its tests ran: ${benchmark.stdout}`)
    t.notMatch(benchmark.stdout + benchmark.stderr, /error/i, 'without an error')
  })
  await t.test(`redis-py, ${way}`, { skip: withPython ? false : `${PYTHON} has no redis module (Debian: python3-redis)` }, async (t) => {
    t.equal(python?.stdout.trim(), 'all well', python?.stderr ?? '')
  })
}

await t.test('what redis connect says to type works as it stands', async (t) => {
  const { stdout } = await cluster.nearcast(['redis', 'connect', 'alone', '--org', 'acme'])
  const line = stdout.split('\n').find((each) => /^\S*nearcast\S* dev exec /.test(each)) ?? ''
  const typed = await cluster.nearcast([...line.split(' ').slice(1), 'ping'])
  t.match(typed.stdout, /PONG/, `${line} ${typed.stderr}`)
})

for (const place of ['acme/mad', 'acme/ams']) {
  await t.test(`half-close, from ${place}`, async (t) => {
    const wire = new Wire(cluster, place, demo.address, demo.port)
    t.teardown(() => wire.close())
    await wire.until('connect')
    // All is said before the first answer: like `printf … | nc -N`.
    wire.tell({ send: `AUTH ${demo.password}\r\nPING\r\nECHO last\r\n` })
    wire.tell({ end: true })
    await wire.until('close')
    t.equal(wire.text, '+OK\r\n+PONG\r\n$4\r\nlast\r\n', 'the answers come after the half-close')
    t.ok(wire.saw('end'), 'then the other half is closed')
    t.notOk(wire.saw('error'), 'without a reset')
  })
}

await t.test('a client that resets is gone from Redis, too', async (t) => {
  const connected = async (): Promise<number> => Number(/connected_clients:(\d+)/.exec(await cluster.redis('acme/mad', alone, 'info', 'clients'))?.[1])
  const before = await connected()
  const wire = new Wire(cluster, 'acme/mad', alone.address, alone.port)
  await wire.until('connect')
  wire.tell({ send: `AUTH ${alone.password}\r\n` })
  await wire.until({ text: '+OK\r\n' })
  t.equal(await connected(), before + 1, 'it was there')
  wire.tell({ reset: true })
  await wire.until('close')
  await eventually('it is gone', async () => (await connected()) === before)
  t.pass('and is gone')
})
