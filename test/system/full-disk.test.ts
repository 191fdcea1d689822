/** A data node's full disk: writes are refused, nothing acknowledged is lost, and it mends itself when there is space. */
import t from 'tap'
import { Cluster, eventually } from '../support/cluster.ts'
import type { Database } from '../support/cluster.ts'
import { Load } from '../support/load.ts'
import { SmallDisk } from '../support/small-disk.ts'

const BALLAST_BYTES = 8000

const cluster = await Cluster.start({ topology: 'single' })
t.teardown(() => cluster.end())

const create = (name: string): Promise<Database> =>
  cluster.json<Database>('redis', 'create', '--org', 'acme', '--name', name, '--region', 'mad', '--append-fsync', name)
const [always, everysec] = [await create('always'), await create('everysec')]
const disk = await SmallDisk.mount(cluster, 'mad-1', 8)
await eventually('the agent serves again', async () => (await cluster.redis('acme/mad', everysec, 'set', 'before', 'yes')) === 'OK')
const loads = [new Load(cluster, 'acme/mad', always, 'load', BALLAST_BYTES), new Load(cluster, 'acme/mad', everysec, 'load', BALLAST_BYTES)]

await t.test('while the disk is full', async (t) => {
  await loads[1]?.error(/MISCONF/)
  t.pass('append-fsync everysec: writes are answered with an error')
  // Redis ends itself: it can't promise anything any more.
  await loads[0]?.error(/ECONNRESET|Reached|MISCONF/)
  t.pass('append-fsync always: writes get no answer, or an error')
  t.equal(await cluster.redis('acme/mad', everysec, 'get', 'before'), 'yes', 'what was written is read')
  let said = ''
  await eventually('the agent says so', async () => (said = await cluster.dev('logs', 'mad/agent')).includes('redis.disk-full'), () => said)
  t.pass('the log names it: redis.disk-full')
})

if (t.passing()) await t.test('once there is space again', async (t) => {
  await disk.resize(400)
  await Promise.all(loads.map((load) => load.more(50)))
  t.pass('both databases take writes again, by themselves')
})

for (const [index, name] of ['always', 'everysec'].entries()) {
  await t.test(`books of append-fsync ${name}`, async (t) => {
    await cluster.dev('kill', `mad/redis:acme/${name}`)
    const verdict = await loads[index]?.verdict()
    t.comment(`${verdict?.acknowledged} acknowledged; errors met: ${JSON.stringify(loads[index]?.books.errors)}`)
    t.same(verdict?.lost, [], 'no acknowledged write is lost, also after another crash')
    t.same(verdict?.wrong, [], 'none is damaged')
  })
}
