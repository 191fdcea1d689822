/** What real clients do through an address: ioredis in all its ways, and what TCP allows. */
import t from 'tap'
import { Cluster, eventually } from '../support/cluster.ts'
import type { ClientCase } from '../support/redis-clients.ts'
import { Wire } from '../support/wire.ts'

const CLIENTS = new URL('../support/redis-clients.ts', import.meta.url).pathname

const cluster = await Cluster.start({ topology: 'pair' })
t.teardown(() => cluster.end())
const [demo] = cluster.facts.databases
if (demo === undefined) throw new Error('no demo database')

await t.test('ioredis beside the primary', async (t) => {
  const { stdout, stderr, code } = await cluster.run('acme/mad', [process.execPath, CLIENTS], { REDIS_URL: demo.url })
  const cases = stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line) as ClientCase)
  for (const { name, ok, detail } of cases) t.ok(ok, ok ? name : `${name}: ${detail}`)
  t.equal(cases.length, 8, 'every case ran')
  t.equal(code, 0, `it ended by itself ${stderr}`)
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
  const connected = async (): Promise<number> => Number(/connected_clients:(\d+)/.exec(await cluster.redis('acme/mad', demo, 'info', 'clients'))?.[1])
  const alone = await connected()
  const wire = new Wire(cluster, 'acme/mad', demo.address, demo.port)
  await wire.until('connect')
  wire.tell({ send: `AUTH ${demo.password}\r\n` })
  await wire.until({ text: '+OK\r\n' })
  t.equal(await connected(), alone + 1, 'it was there')
  wire.tell({ reset: true })
  await wire.until('close')
  await eventually('it is gone', async () => (await connected()) === alone)
  t.pass('and is gone')
})
