/**
 * What leaves a host is sealed: looked at on the link between the regions, with a text that clients write and read
 * meanwhile, to a database with a replica and to a foreign node that speaks in the clear. Then hosts change their keys, go
 * and come under load, and nobody's connection ends. As an ordinary user where there is another one to be.
 *
 *   npm run backbone
 */
import { randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import t from 'tap'
import { Cluster, eventually } from '../support/cluster.ts'
import type { Database } from '../support/cluster.ts'
import { Load } from '../support/load.ts'
import { Room } from '../support/room.ts'

interface Way {
  readonly from: string
  readonly to: string
  readonly kinds: Readonly<Record<string, { readonly packets: number; readonly bytes: number }>>
  readonly marked: number
}

interface OnBackbone {
  readonly id: string
  readonly publicKey: string
  readonly reaches?: readonly string[]
  readonly rekey?: object
}

t.setTimeout(600_000)

const FOREIGN_NODE = new URL('../support/foreign-node.ts', import.meta.url).pathname
const HOSTS = ['ams-1', 'mad-1', 'mad-2']
const room = await Room.open()
t.teardown(() => room.close())
const ordinary = process.getuid?.() === 0 ? ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', '--'] : []
const cluster = await Cluster.start({ topology: 'backbone', prefix: [...room.prefix, ...ordinary], root: room.repository, env: { HOME: '/tmp/home' } })
t.teardown(() => cluster.end())

const onBackbone = async (): Promise<OnBackbone[]> => cluster.json<OnBackbone[]>('fleet', 'backbone', 'list')

async function reached(hosts = HOSTS): Promise<void> {
  let last: readonly OnBackbone[] = []
  await eventually(
    `${hosts.join(', ')} reach each other`,
    async () => {
      last = await onBackbone()
      return hosts.every((id) => hosts.filter((other) => other !== id).every((other) => last.find((host) => host.id === id)?.reaches?.includes(other)))
    },
    () => JSON.stringify(last),
  )
}

/** A multitenant server in ams, which proxies reach in the clear. */
async function foreignNode(): Promise<{ readonly address: string }> {
  const underlay = (await cluster.run('ams-1', ['cat', '/run/nearcast/hosts/ams-1'])).stdout.trim()
  const node = cluster.on('ams-1', [process.execPath, FOREIGN_NODE.replace(/^.*(?=\/test\/support)/, room.repository), '--port', '0', '--allow', 'fd0c::/16', '--version', 'v2'])
  t.teardown(() => node.kill('SIGTERM'))
  const port = await new Promise<number>((resolve) => createInterface({ input: node.stdout ?? process.stdin }).once('line', (line) => resolve((JSON.parse(line) as { port: number }).port)))
  await cluster.json('nodes', 'create', '--id', 'foreign', '--region', 'ams', '--hop', 'v2', '--endpoint', `[${underlay}]:${port}`)
  return cluster.json('services', 'create', '--org', 'acme', '--name', 'foreign', '--port', '6379', '--nodes', 'foreign')
}

const foreign = await foreignNode()
const [demo] = cluster.facts.databases
if (demo === undefined) throw new Error('no database')
const remote = await cluster.json<Database>('redis', 'create', '--org', 'acme', '--name', 'remote', '--region', 'ams')

/** Commands on an app host, again and again until `end`; `answers` is what they printed. */
function repeat(place: string, env: Readonly<Record<string, string>>, command: string): { readonly answers: () => readonly string[]; end(): Promise<void> } {
  const child = cluster.on(place, ['sh', '-c', `while sleep 0.05; do ${command}; done`], env)
  const lines: string[] = []
  createInterface({ input: child.stdout ?? process.stdin }).on('line', (line) => lines.push(line))
  return {
    answers: () => lines,
    end: async () => {
      child.kill('SIGTERM')
      await eventually('the commands have ended', () => child.exitCode !== null || child.signalCode !== null)
    },
  }
}

/** What passes between the regions while both servers are written to and read from all the time. */
async function look(): Promise<{ readonly kinds: Set<string>; readonly marked: number; readonly packets: number }> {
  const mark = `secret-${randomBytes(8).toString('hex')}`
  const env = { MARK: mark, URL: demo?.url ?? '', HOST: foreign.address }
  const loops = [
    repeat('acme/mad', env, 'redis-cli -h $HOST set k $MARK; redis-cli --no-auth-warning -u $URL get k'),
    repeat('acme/ams', env, 'redis-cli --no-auth-warning -u $URL set k $MARK'),
  ]
  const goesOn = async (): Promise<void> => {
    const since = loops.map(({ answers }) => answers().length)
    await eventually('commands are answered', () => loops.every(({ answers }, index) => answers().length > (since[index] ?? 0) + 4))
  }
  await eventually('the replica has it', () => loops[0]?.answers().includes(mark) === true)
  const before = loops.map(({ answers }) => answers().length)
  await goesOn()
  const ways = await cluster.json<Way[]>('dev', 'capture', '--seconds', '3', '--find', mark)
  await goesOn()
  await Promise.all(loops.map((loop) => loop.end()))
  t.same(new Set(loops.flatMap(({ answers }, index) => answers().slice(before[index]))), new Set(['OK', mark]), 'written and read all the time')
  t.same(ways.map(({ from, to }) => `${from} ${to}`).toSorted(), ['ams mad', 'mad ams'], 'both ways are looked at')
  return {
    kinds: new Set(ways.flatMap(({ kinds }) => Object.keys(kinds))),
    marked: ways.reduce((sum, way) => sum + way.marked, 0),
    packets: ways.reduce((sum, way) => sum + Object.values(way.kinds).reduce((all, { packets }) => all + packets, 0), 0),
  }
}

await t.test('between regions passes nothing but the backbone', async (step) => {
  await reached()
  const { kinds, marked, packets } = await look()
  step.same([...kinds], ['backbone'], 'every packet is sealed: hop, replication, feed, probes, and what goes to the foreign node')
  step.equal(marked, 0, 'and nothing is to be seen in it')
  step.ok(packets > 20, `among ${packets} packets`)
  const big = 'head -c 2000000 /dev/zero | tr "\\0" x | redis-cli --no-auth-warning -u $URL -x set big; redis-cli --no-auth-warning -u $URL get big | wc -c'
  step.equal((await cluster.run('acme/mad', ['sh', '-c', big], { URL: remote.url })).stdout.trim(), 'OK\n2000001', 'what is longer than a packet comes through whole')
})

await t.test('keys change, hosts go and come, and nobody notices', async (step) => {
  const near = new Load(cluster, 'acme/ams', demo, 'replicated')
  const far = new Load(cluster, 'acme/mad', remote, 'remote')
  await far.more(200)
  for (const id of ['ams-1', 'mad-1']) {
    const before = (await onBackbone()).find((host) => host.id === id)?.publicKey
    const { publicKey } = await cluster.json<{ publicKey: string }>('fleet', 'backbone', 'rekey', id)
    step.not(publicKey, before, `${id} has made another key`)
    await eventually(`${id} uses it, and it alone`, async () => (await onBackbone()).some((host) => host.id === id && host.publicKey === publicKey && host.rekey === undefined))
    await reached()
    await far.more(100)
  }
  await cluster.json('fleet', 'backbone', 'revoke', 'mad-2')
  step.same((await onBackbone()).map(({ id }) => id).toSorted(), ['ams-1', 'mad-1'], 'one is gone')
  await reached(['ams-1', 'mad-1'])
  await far.more(100)
  const { token } = await cluster.json<{ token: string }>('fleet', 'join-tokens', 'create', '--kind', 'backbone', '--id', 'mad-2', '--region', 'mad', '--host', 'mad-2')
  await cluster.dev('stop', 'mad-2/backbone')
  const joinAgain = `cd /run/nearcast/state/mad-2/backbone && rm -f identity.json wireguard.key feed.json* && printf %s ${token} > join-token`
  step.equal((await cluster.run('mad-2', ['sh', '-c', joinAgain])).code, 0, 'it is to join again')
  await cluster.dev('start', 'mad-2/backbone')
  await reached()
  await cluster.dev('kill', 'mad-2/backbone')
  await far.more(100)
  await reached()
  step.same((await far.verdict()).lost, [], 'nothing is lost')
  step.same([near.books.errors, far.books.errors], [{}, {}], 'no connection ended, no command failed')
  step.same((await near.verdict()).lost, [], 'nor there')
})

await t.test('required: what can not be sealed does not leave', async (step) => {
  const mad = ['mad-1', 'mad-2']
  const configure = async (change: string): Promise<void> => {
    for (const id of mad) await cluster.run(id, ['sed', '-i', change, `/run/nearcast/config/${id}-backbone.toml`])
  }
  await configure('1i required = true')
  for (const id of mad) await cluster.dev('stop', `${id}/backbone`)
  for (const id of mad) await cluster.dev('start', `${id}/backbone`)
  await reached()
  const ask = async (): Promise<string> => (await cluster.run('acme/mad', ['redis-cli', '-h', foreign.address, 'ping'])).stdout.trim()
  step.equal(await ask(), 'PONG', 'sealed it goes')
  for (const id of ['ams-1', ...mad]) {
    await cluster.dev('stop', `${id}/backbone`)
    step.not(await ask(), 'PONG', `without that of ${id} it does not`)
  }
  const ways = await cluster.json<Way[]>('dev', 'capture', '--seconds', '2')
  const left = ways.flatMap(({ from, kinds }) => (from === 'mad' ? Object.keys(kinds) : []))
  step.same(left.filter((kind) => kind !== 'tcp 7300' && kind !== 'backbone'), [], 'and the feed alone leaves the host')
  await configure('1d')
  for (const id of HOSTS) await cluster.dev('start', `${id}/backbone`)
  await reached()
  step.equal(await ask(), 'PONG', 'with it, it does again')
})

await t.test('without it the same look sees the text, and connections go on', async (step) => {
  const load = new Load(cluster, 'acme/mad', remote, 'load')
  await load.more(50)
  for (const id of HOSTS) await cluster.dev('stop', `${id}/backbone`)
  await load.more(50)
  const { kinds, marked } = await look()
  step.ok(marked > 0, `the text is in ${marked} packets`)
  step.notOk(kinds.has('backbone'), 'nothing is sealed')
  step.ok(kinds.has('tcp 7400') && kinds.has('tcp 7300'), 'the hop and the feed go their ordinary way')
  for (const id of HOSTS) await cluster.dev('start', `${id}/backbone`)
  await reached()
  await load.more(50)
  step.same(load.books.errors, {}, 'open connections moved there and back')
  await load.verdict()
})
