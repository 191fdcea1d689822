/** Faults between the programs: a paused proxy, a router that is away, a node that goes in mid-stream. */
import t from 'tap'
import { Cluster, eventually } from '../support/cluster.ts'
import type { Database } from '../support/cluster.ts'
import { Wire } from '../support/wire.ts'

interface Status {
  readonly programs: readonly { readonly id: string; readonly state: string; readonly restarts: number }[]
}

const cluster = await Cluster.start({ topology: 'pair' })
t.teardown(() => cluster.end())
const [demo] = cluster.facts.databases
if (demo === undefined) throw new Error('no demo database')

/** Every node's engine has a run_id of its own. */
async function engine(place: string, database: Database): Promise<string> {
  return /run_id:(\w+)/.exec(await cluster.redis(place, database, 'info', 'server'))?.[1] ?? 'none'
}

const PROGRAMS = ['mad-1/agent', 'mad-1/proxy', 'ams-1/agent', 'ams-1/proxy']

async function restarts(): Promise<ReadonlyMap<string, number>> {
  const { programs } = await cluster.json<Status>('dev', 'status')
  return new Map(programs.map((each) => [each.id, each.state === 'running' ? each.restarts : -1]))
}

await t.test('a proxy that does not answer is named, and catches up', async (t) => {
  await cluster.dev('pause', 'ams/proxy')
  const created = await cluster.json<Database>('redis', 'create', '--org', 'acme', '--name', 'late', '--region', 'mad')
  t.same(created.provisioning?.missing, ['proxy/ams-1'], 'create answers, and says who is missing')
  t.ok((created.provisioning?.ms ?? 0) >= 4900, 'after it has waited 5 s')
  t.ok((created.provisioning?.ms ?? 0) < 10_000, 'and not much longer')
  t.equal(await cluster.redis('acme/mad', created, 'set', 'k', 'v'), 'OK', 'where the proxy answers, it serves')
  await cluster.dev('resume', 'ams/proxy')
  await eventually('the proxy knows it', async () => (await cluster.redis('acme/ams', created, 'get', 'k')) === 'v')
  t.pass('the proxy catches up by itself')
})

if (t.passing()) await t.test('a node that goes in mid-stream ends its connections; the next go elsewhere', async (t) => {
  const other = await engine('acme/mad', demo)
  // Its proxy was paused a moment ago: it measures first.
  await eventually('ams is served by its own node', async () => ![other, 'none'].includes(await engine('acme/ams', demo)))
  const wire = new Wire(cluster, 'acme/ams', demo.address, demo.port)
  t.teardown(() => wire.close())
  await wire.until('connect')
  wire.tell({ send: `AUTH ${demo.password}\r\nSUBSCRIBE news\r\n` })
  await wire.until({ text: ':1\r\n' })
  await cluster.dev('kill', 'ams/agent')
  // The kernel closes what a killed process had open, as it does for a server that is dialled directly.
  await eventually('the client is told', () => wire.saw('end') || wire.saw('close'), () => JSON.stringify(wire.events))
  t.pass('the client is told at once')
  await cluster.dev('stop', 'ams/agent')
  t.equal(await engine('acme/ams', demo), other, 'the next connection is served in mad')
  await cluster.dev('start', 'ams/agent')
  await eventually('ams serves itself', async () => ![other, 'none'].includes(await engine('acme/ams', demo)))
  t.pass('later by its own node again')
})

if (t.passing()) await t.test('without the router everything that was made serves, also after restarts', async (t) => {
  await cluster.dev('stop', 'mad/router')
  t.teardown(() => cluster.dev('start', 'mad/router'))
  t.equal(await cluster.redis('acme/mad', demo, 'set', 'kept', 'yes'), 'OK', 'databases serve')
  const before = await restarts()
  await Promise.all(PROGRAMS.map((id) => cluster.dev('kill', id)))
  await eventually('they run again', async () => {
    const now = await restarts()
    return PROGRAMS.every((id) => (now.get(id) ?? 0) > (before.get(id) ?? 0))
  })
  await eventually('mad serves', async () => (await cluster.redis('acme/mad', demo, 'get', 'kept')) === 'yes')
  await eventually('ams serves', async () => (await cluster.redis('acme/ams', demo, 'get', 'kept')) === 'yes')
  t.pass('agents and proxies that were started again serve from what they kept on disk')
  const refused = await cluster.run('globex/mad', ['redis-cli', '-h', demo.address, 'ping'])
  t.not(refused.code, 0, 'and the wall stands')
  const create = await cluster.nearcast(['redis', 'create', '--org', 'acme', '--name', 'never', '--region', 'mad'])
  t.equal(create.code, 1, 'a create fails')
  t.match(create.stderr, /^api\.unreachable: [^\n]+\n$/, 'with a code and one line')
})

if (t.passing()) await t.test('when the router is back, all is as before', async (t) => {
  await eventually('a create works', async () => (await cluster.nearcast(['redis', 'create', '--org', 'acme', '--name', 'after', '--region', 'ams'])).code === 0)
  const after = await cluster.json<Database>('redis', 'status', 'after', '--org', 'acme')
  // A proxy that isn't connected yet isn't waited for: it learns of the new address when it is.
  await eventually('mad serves it', async () => (await cluster.redis('acme/mad', after, 'set', 'k', 'v')) === 'OK')
  await eventually('ams serves it', async () => (await cluster.redis('acme/ams', after, 'get', 'k')) === 'v')
  t.pass('a new database serves everywhere')
})
