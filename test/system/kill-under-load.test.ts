/**
 * SIGKILL of any one process under load loses no acknowledged write and heals by itself: the writers go on and the
 * victim is back, without a hand. With append-fsync always and, since only a process dies, with everysec alike.
 */
import t from 'tap'
import { Cluster, eventually } from '../support/cluster.ts'
import type { Database } from '../support/cluster.ts'
import { Load } from '../support/load.ts'

const VICTIMS = ['mad-1/agent', 'ams-1/proxy', 'mad-1/proxy', 'mad-1/router', 'ams-1/agent', 'links/relay', 'mad/redis:acme/always', 'mad/redis:acme/everysec']
const ENOUGH = 60

interface Status {
  readonly programs: readonly { readonly id: string; readonly state: string; readonly restarts: number }[]
}

const cluster = await Cluster.start({ topology: 'pair' })
t.teardown(() => cluster.end())
const create = (name: string, ...more: string[]): Promise<Database> =>
  cluster.json<Database>('redis', 'create', '--org', 'acme', '--name', name, '--region', 'mad', '--append-fsync', name, ...more)
// One writer beside its primary (which has a replica), one across the link.
const loads = [
  new Load(cluster, 'acme/ams', await create('always'), 'load'),
  new Load(cluster, 'acme/mad', await create('everysec', '--replicas', 'ams'), 'load'),
]

for (const victim of VICTIMS) {
  if (!t.passing()) break
  await t.test(victim, async (t) => {
    await Promise.all(loads.map((load) => load.more(ENOUGH)))
    await cluster.dev('kill', victim)
    await Promise.all(loads.map((load) => load.more(ENOUGH)))
    t.pass('both databases acknowledge writes again')
  })
}

await t.test('every program runs again', async (t) => {
  let programs: Status['programs'] = []
  await eventually('all run', async () => {
    programs = (await cluster.json<Status>('dev', 'status')).programs
    return programs.every(({ state }) => state === 'running')
  }, () => JSON.stringify(programs))
  const killed = programs.filter(({ restarts }) => restarts > 0).map(({ id }) => id)
  t.same(killed.toSorted(), VICTIMS.filter((victim) => !victim.includes('redis:')).toSorted(), 'those that were killed were started again')
})

for (const [index, name] of ['always', 'everysec'].entries()) {
  await t.test(`books of append-fsync ${name}`, async (t) => {
    const verdict = await loads[index]?.verdict()
    t.comment(`${verdict?.acknowledged} acknowledged; errors met: ${JSON.stringify(loads[index]?.books.errors)}`)
    t.same(verdict?.lost, [], 'no acknowledged write is lost')
  })
}
