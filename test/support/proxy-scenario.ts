/**
 * Runs inside a private namespace, which is a proxy's host: a real proxy process that serves from its cache alone (there
 * is no router), agents built from lib/hop on Unix sockets, customers in namespaces of their own. Prints one JSON object;
 * test/contract/proxy.test.ts judges it.
 *
 *   acme   fdaa:0:1:2::2 ── acme0 ┐                        ┌ near.sock, far.sock (agents, in this process)
 *                                 ├ host: proxy, guard ────┤
 *   globex fdaa:0:2:2::2 ── glob0 ┘                        └ back0 ── node (a provider's data node, fd00::2)
 */
import { execFile, execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { createServer } from 'node:net'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { FeedCache } from '../../lib/feed/cache.ts'
import { asNetworkId, formatIpv6, machineAddress } from '../../lib/address.ts'
import { Dialer } from './dialer.ts'
import type { DialRequest, DialResult } from './dialer.ts'
import { FakeAgent } from './fake-agent.ts'
import { until } from './until.ts'

/** The io_uring plane runs with a data thread per processor. */
const [PLANE = 'portable', INTERCEPT = 'local'] = process.argv.slice(2)
const ADDRESS = 'fdaa:0:1:0:1::2'
const UNKNOWN = 'fdaa:0:1:0:1::3'
const PORT = 6379
const OTHER_PORT = 2222
const OPERATOR_PORT = 8099

function ip(words: string): void {
  execFileSync('ip', words.split(' '), { stdio: ['ignore', 'inherit', 'inherit'] })
}

const appAddress = (network: number): string => formatIpv6(machineAddress(asNetworkId(network), 0x2_0000, 0))

function build(): void {
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run'])
  ip('link set lo up')
  writeFileSync('/proc/sys/net/ipv6/conf/all/forwarding', '1')
  for (const [name, network] of [['acme', 1], ['globex', 2]] as const) {
    const port = name === 'acme' ? 'acme0' : 'glob0'
    ip(`netns add ${name}`)
    ip(`link add ${port} type veth peer name eth0 netns ${name}`)
    ip(`link set ${port} up`)
    ip(`address add fe80::1/64 dev ${port} nodad`)
    ip(`route add fdaa:0:${network}:2::/64 dev ${port}`)
    ip(`-n ${name} link set lo up`)
    ip(`-n ${name} link set eth0 up`)
    ip(`-n ${name} address add ${appAddress(network)}/128 dev eth0 nodad`)
    ip(`-n ${name} route add default via fe80::1 dev eth0`)
  }
  // A root app host that gives itself an address of another network, and uses it when told to.
  ip(`-n globex address add fdaa:0:1:2::66/128 dev eth0 nodad preferred_lft 0`)
  ip('netns add node')
  ip('link add back0 type veth peer name eth0 netns node')
  ip('link set back0 up')
  ip('address add fd00::1/64 dev back0 nodad')
  ip('-n node link set eth0 up')
  ip('-n node address add fd00::2/64 dev eth0 nodad')
  ip('-n node route add default via fd00::1')
}

class Proxy {
  readonly #child: ChildProcess
  readonly lines: Record<string, unknown>[] = []

  constructor(config: string) {
    this.#child = spawn(process.execPath, ['proxy/main.ts', '--config', config], { stdio: ['ignore', 'pipe', 'inherit'] })
    const { stdout } = this.#child
    if (stdout) createInterface({ input: stdout }).on('line', (line) => this.lines.push(JSON.parse(line) as Record<string, unknown>))
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  find(msg: string): Record<string, unknown> | undefined {
    return this.lines.findLast((line) => line['msg'] === msg)
  }

  async stop(): Promise<number | null> {
    const ended = new Promise<number | null>((resolve) => void this.#child.once('exit', resolve))
    this.#child.kill('SIGTERM')
    return await ended
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }
}

function fetchText(port: number, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => (text += part)).on('end', () => resolve(text))
    }).on('error', reject)
  })
}

const metric = (text: string, name: string): number => Number(text.split('\n').find((line) => line.startsWith(name))?.split(' ').at(-1) ?? Number.NaN)

/** The last of at most 50 results. */
async function dialUntil(dialer: Dialer, request: DialRequest, received: string): Promise<DialResult> {
  let result = await dialer.dial(request)
  for (let count = 1; count < 50 && result.received !== received; count++) result = await dialer.dial(request)
  return result
}

async function pings(namespace: string, target: string): Promise<boolean> {
  try {
    await promisify(execFile)('ip', ['netns', 'exec', namespace, 'ping', '-6', '-n', '-c', '1', '-W', '1', target])
    return true
  } catch {
    return false
  }
}

/** Nobody checks it: there is no router, and the agents are on the proxy's own host. */
function selfSigned(directory: string): string {
  const [key, certificate] = [join(directory, 'self.key'), join(directory, 'self.pem')]
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key]
  execFileSync('openssl', ['req', '-x509', ...newKey, '-out', certificate, '-days', '2', '-subj', '/CN=self'], { stdio: 'pipe' })
  return readFileSync(certificate, 'utf8')
}

async function prepareState(directory: string, near: string, far: string): Promise<string> {
  const key = randomBytes(32).toString('hex')
  const certificate = selfSigned(directory)
  const privateKey = readFileSync(join(directory, 'self.key'), 'utf8')
  const identity = { identity: 'proxy/mad-1', certificate, key: privateKey, ca: certificate }
  writeFileSync(join(directory, 'identity.json'), JSON.stringify(identity), { mode: 0o600 })
  const node = (id: string, socket: string) => ({ id, region: id, host: 'here', hop: 'signed-v2', endpoint: '[fd00::9]:7400', socket, keys: [{ epoch: 1, key }] })
  const networks = [1, 2].map((id) => ({ table: 'networks', key: String(id), row: { id, org: `o${id}`, name: 'default' } }))
  const placements = [{ node: 'near', role: 'primary' }, { node: 'far', role: 'replica' }]
  const rows = [
    ...networks,
    { table: 'nodes', key: 'near', row: node('near', near) },
    { table: 'nodes', key: 'far', row: node('far', far) },
    { table: 'services', key: 'svc', row: { id: 'svc', org: 'o1', name: 'cache', kind: 'redis', port: PORT, placements } },
    { table: 'addresses', key: ADDRESS, row: { address: ADDRESS, network: 1, generation: 5, service: 'svc' } },
  ]
  const reader = createHash('sha256').update(certificate).digest('hex')
  await new FeedCache(join(directory, 'feed.json')).save({ revision: 42, reader, rows })
  const config = `
id = "mad-1"
host = "here"
region = "mad"
plane = "${PLANE}"
intercept = "${INTERCEPT}"
stateDir = "${directory}"
router = "https://[::1]:1"
[[ingress]]
interface = "acme0"
network = "fdaa:0:1::/48"
[[ingress]]
interface = "glob0"
network = "fdaa:0:2::/48"
[dial]
connectTimeoutMs = 300
# Both agents are equally near; on a busy machine the choice would go to and fro.
[nearest]
hysteresisMs = 1000
[health]
intervalMs = 200
failures = 3
timeoutMs = 150
[limits]
perNetworkConnections = 3
[admin]
listen = "127.0.0.1:${OPERATOR_PORT}"
`
  writeFileSync(join(directory, 'proxy.toml'), config)
  return key
}

/** Each data thread fails twice; first that ends what is still open, then who dials meanwhile waits for the next thread. */
async function drill(proxy: Proxy, acme: Dialer): Promise<unknown> {
  const dial = { host: ADDRESS, port: PORT, send: 'hello' }
  const said = (words: string): number => proxy.lines.filter(({ msg }) => String(msg).startsWith(words)).length
  const threads = availableParallelism()
  const received: unknown[] = []
  for (let round = 1; round <= 2 * threads; round++) {
    proxy.signal('SIGUSR2')
    await until('the thread fails', () => said('defect in a data thread') === round)
    if (round > threads) received.push((await acme.dial({ ...dial, timeoutMs: 5000 })).received)
    await until('the thread is replaced', () => said('data thread replaced') === round)
    if (round > threads) received.push((await acme.dial(dial)).received)
  }
  const metrics = await fetchText(OPERATOR_PORT, '/metrics')
  return { received: received.map((words) => String(words).split(':')[1]), replaced: metric(metrics, 'nearcast_proxy_data_threads_replaced') }
}

async function run(directory: string): Promise<Record<string, unknown>> {
  const seen: Record<string, unknown> = {}
  const [nearPath, farPath] = [join(directory, 'near.sock'), join(directory, 'far.sock')]
  const key = await prepareState(directory, nearPath, farPath)
  const near = await new FakeAgent('near', nearPath, key).listen()
  const far = await new FakeAgent('far', farPath, key).listen()
  const agents = [near, far]
  // What an earlier run has left behind, and what is none of ours.
  ip('-6 route add local fdaa:0:63:0:1::/80 dev lo table local proto 78')
  const other = createServer((socket) => socket.end('secret')).listen(OTHER_PORT, '::')
  const proxy = new Proxy(join(directory, 'proxy.toml'))
  const [acme, globex, host, node] = ['acme', 'globex', null, 'node'].map((name) => new Dialer(name)) as [Dialer, Dialer, Dialer, Dialer]
  try {
    await until('the proxy is ready', () => proxy.find('ready') !== undefined, 8000)
    seen['ready'] = proxy.find('ready')
    await until('both agents are measured', () => agents.every((agent) => agent.probes >= 3))
    await until('the sessions are open', () => agents.every((agent) => agent.sessionsOpened === 1))
    seen['routes'] = execFileSync('ip', ['-6', '-N', 'route', 'show', 'table', 'local', 'proto', '78']).toString().trim().split('\n').map((line) => line.split(' ')[1])
    seen['readyz'] = await fetchText(OPERATOR_PORT, '/readyz')

    const dial = { host: ADDRESS, port: PORT, send: 'hello' }
    seen['whole'] = await acme.dial(dial)
    seen['dialled'] = agents.flatMap((agent) => agent.dialled)
    seen['first'] = agents.find((agent) => agent.dialled.length > 0)?.id
    await until('its line', () => proxy.find('connection') !== undefined)
    seen['line'] = proxy.find('connection')

    /** Who has just served one, and the other. */
    const pair = async (): Promise<[FakeAgent, FakeAgent]> => ((await acme.dial(dial)).received.startsWith('near') ? [near, far] : [far, near])
    for (const mode of ['refusing', 'unavailable', 'silent'] as const) {
      const [failing, healthy] = await pair()
      failing.mode = mode
      const first = await acme.dial(dial)
      failing.mode = 'well'
      const probes = failing.probes
      await until('it has answered probes', () => failing.probes >= probes + 2)
      healthy.mode = 'refusing'
      const back = await acme.dial(dial)
      healthy.mode = 'well'
      seen[mode] = { first, back, names: [failing.id, healthy.id] }
      const since = healthy.probes
      await until('the other one has answered probes', () => healthy.probes >= since + 2)
    }

    const [chosen, next] = await pair()
    seen['chosen'] = chosen.id
    chosen.publish({ svc: 'crash-looping' })
    seen['published'] = await dialUntil(acme, dial, `${next.id}:hello`)
    const before = chosen.dialled.length
    seen['publishedStays'] = await acme.dial(dial)
    seen['publishedDials'] = chosen.dialled.length - before
    chosen.publish({})

    // Both restart at once: whichever is chosen, its session is unknown to it.
    const opened = agents.map((agent) => agent.sessionsOpened)
    for (const agent of agents) agent.forgetSessions()
    seen['forgotten'] = (await Promise.all([acme.dial(dial), acme.dial(dial), acme.dial(dial)])).map(({ received, error }) => error ?? received)
    seen['reopened'] = agents.map((agent, index) => agent.sessionsOpened - (opened[index] ?? 0)).toSorted((left, right) => left - right)

    // The wall.
    const dials = agents.reduce((sum, agent) => sum + agent.dialled.length, 0)
    seen['foreign'] = await globex.dial(dial)
    await until('the denial is logged', () => proxy.find('denied') !== undefined)
    seen['denial'] = proxy.find('denied')
    seen['unknown'] = await acme.dial({ host: UNKNOWN, port: PORT, send: 'x' })
    seen['foreignUnknownNetwork'] = await acme.dial({ host: 'fdaa:0:77:0:1::2', port: PORT, send: 'x' })
    seen['closedPort'] = await acme.dial({ host: ADDRESS, port: 7777, send: 'x' })
    seen['hostPort'] = await acme.dial({ host: ADDRESS, port: OTHER_PORT, send: 'x' })
    const late = { timeoutMs: 700, send: 'x' }
    const unanswered = await Promise.all([
      acme.dial({ host: 'fe80::1%eth0', port: OTHER_PORT, ...late }),
      acme.dial({ host: 'fd00::1', port: OTHER_PORT, ...late }),
      acme.dial({ host: 'fd00::2', port: OTHER_PORT, ...late }),
      acme.dial({ host: 'fdaa:0:1:2::77', port: PORT, ...late }),
      acme.dial({ host: appAddress(2), port: PORT, ...late }),
      globex.dial({ host: ADDRESS, port: PORT, localAddress: 'fdaa:0:1:2::66', ...late }),
      acme.datagram(ADDRESS, PORT),
      globex.datagram(ADDRESS, PORT),
    ])
    seen['unanswered'] = unanswered.map(({ error }) => error)
    await Promise.all([acme.listen(80), globex.listen(80)])
    seen['customerItself'] = await acme.dial({ host: appAddress(1), port: 80 })
    const intruders = [host, node].map((from) => from.dial({ host: appAddress(1), port: 80, timeoutMs: 700 }))
    intruders.push(node.dial({ host: ADDRESS, port: PORT, timeoutMs: 700 }))
    seen['intruders'] = (await Promise.all(intruders)).map(({ error }) => error)
    seen['pings'] = await Promise.all([
      pings('acme', ADDRESS), pings('globex', ADDRESS), pings('acme', 'fe80::1%eth0'), pings('acme', 'fd00::1'), pings('node', appAddress(1)),
    ])
    seen['wallDials'] = agents.reduce((sum, agent) => sum + agent.dialled.length, 0) - dials

    // A limit per network, and what it leaves alone.
    const held = []
    for (let count = 0; count < 3; count++) held.push(await acme.dial({ ...dial, hold: true }))
    seen['held'] = held.map(({ received }) => received)
    seen['limited'] = await acme.dial(dial)

    chosen.mode = 'stopped'
    await until('the stopped agent is noticed', () => proxy.find('node unhealthy') !== undefined)
    seen['unhealthy'] = proxy.find('node unhealthy')
    const counters = execFileSync('nft', ['-j', 'list', 'counters', 'table', 'inet', 'nearcast']).toString()
    const { nftables } = JSON.parse(counters) as { nftables: { counter?: { name: string; packets: number } }[] }
    seen['counters'] = Object.fromEntries(nftables.flatMap(({ counter }) => (counter && counter.packets > 0 ? [[counter.name, counter.packets]] : [])))
    const metrics = await fetchText(OPERATOR_PORT, '/metrics')
    seen['metrics'] = {
      foreign: metric(metrics, 'nearcast_proxy_denied_total{reason="foreign-network"}'),
      unknown: metric(metrics, 'nearcast_proxy_denied_total{reason="unknown-address"}'),
      limit: metric(metrics, 'nearcast_proxy_denied_total{reason="limit"}'),
      open: metric(metrics, 'nearcast_proxy_connections_open'),
      revision: metric(metrics, 'nearcast_proxy_feed_revision'),
      healthy: [chosen, next].map(({ id }) => metric(metrics, `nearcast_proxy_node_healthy{node="${id}"`)),
      up: metric(metrics, 'nearcast_proxy_bytes_total{network="1",service="svc",direction="up"}'),
    }
    seen['secrets'] = JSON.stringify(proxy.lines).includes(key) || metrics.includes(key)
    chosen.mode = 'well'
    await until('the agent is well again', () => proxy.find('node healthy again') !== undefined)
    if (PLANE === 'uring') seen['drill'] = await drill(proxy, acme)
    seen['exitCode'] = await proxy.stop()
    return seen
  } finally {
    proxy.kill()
    for (const dialer of [acme, globex, host, node]) dialer.close()
    for (const agent of agents) agent.close()
    other.close()
  }
}

const directory = mkdtempSync(join(tmpdir(), 'nearcast-proxy-'))
try {
  build()
  process.stdout.write(JSON.stringify(await run(directory)))
} finally {
  rmSync(directory, { recursive: true, force: true })
}
process.exit(0)
