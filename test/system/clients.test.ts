/** What real clients do through an address: ioredis in all its ways, and what TCP allows. */
import t from 'tap'
import { Cluster, eventually } from '../support/cluster.ts'
import type { Database } from '../support/cluster.ts'
import type { ClientCase } from '../support/redis-clients.ts'
import { Wire } from '../support/wire.ts'

const CLIENTS = new URL('../support/redis-clients.ts', import.meta.url).pathname

const cluster = await Cluster.start({ topology: 'pair' })
t.teardown(() => cluster.end())
const [demo] = cluster.facts.databases
if (demo === undefined) throw new Error('no demo database')
/** In mad alone: whatever moves the choice, all connections meet the same engine. */
const alone = await cluster.json<Database>('redis', 'create', '--org', 'acme', '--name', 'alone', '--region', 'mad')

await t.test('ioredis', async (t) => {
  const { stdout, stderr, code } = await cluster.run('acme/mad', [process.execPath, CLIENTS], { REDIS_URL: alone.url })
  const cases = stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line) as ClientCase)
  for (const { name, ok, detail } of cases) t.ok(ok, ok ? name : `${name}: ${detail}`)
  t.equal(cases.length, 8, 'every case ran')
  t.equal(code, 0, `it ended by itself ${stderr}`)
})

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
