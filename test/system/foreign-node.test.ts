/**
 * Data nodes that aren't ours: registered through the command line, they get a PROXY header and tell tenants apart by its
 * destination. A small multitenant server of the tests, HAProxy and nginx.
 */
import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import t from 'tap'
import { Cluster, eventually } from '../support/cluster.ts'
import type { ForeignEvent } from '../support/foreign-node.ts'
import { ForeignProxy, foreignVersion, freePort, nginxStreamModule } from '../support/foreign-proxy.ts'
import { Wire } from '../support/wire.ts'

const FOREIGN_NODE = new URL('../support/foreign-node.ts', import.meta.url).pathname
const HOST = 'mad-1'

interface Service {
  readonly address: string
  readonly port: number
}

const cluster = await Cluster.start({ topology: 'single' })
t.teardown(() => cluster.end())
const underlay = (await cluster.run(HOST, ['cat', `/run/nearcast/hosts/${HOST}`])).stdout.trim()
const appAddress = (org: string): string => cluster.facts.appHosts.find((app) => app.org === org)?.address ?? 'none'

/** Registers a node at `port` of the host and gives acme and globex a service on it. */
async function register(id: string, hop: 'v1' | 'v2', port: number, orgs = ['acme', 'globex']): Promise<Service[]> {
  await cluster.json('nodes', 'create', '--id', id, '--region', 'mad', '--hop', hop, '--endpoint', `[${underlay}]:${port}`)
  return Promise.all(orgs.map((org) => cluster.json<Service>('services', 'create', '--org', org, '--name', id, '--port', '6379', '--nodes', id)))
}

/** A server on the cluster's host. */
function serve(command: readonly string[]): ChildProcess {
  const child = cluster.on(HOST, command)
  t.teardown(() => child.kill('SIGTERM'))
  return child
}

function cli(service: Service, words: string): string {
  return `redis-cli -h ${service.address} -p ${service.port} ${words}`
}

/** What each command printed on an app host, and what it ended with. */
async function say(org: string, ...commands: string[]): Promise<string[]> {
  const script = commands.map((command) => `timeout 5 ${command} 2>&1; echo "=$?"`).join('; echo --; ')
  return (await cluster.run(`${org}/mad`, ['sh', '-c', script])).stdout.split('\n--\n').map((text) => text.trim())
}

for (const hop of ['v1', 'v2'] as const) {
  await t.test(`a multitenant server that reads PROXY ${hop}`, async (t) => {
    const id = `foreign-${hop}`
    const events: (ForeignEvent | { readonly port: number })[] = []
    const child = serve([process.execPath, FOREIGN_NODE, '--port', '0', '--allow', 'fd0c::/16', '--version', hop])
    createInterface({ input: child.stdout ?? process.stdin }).on('line', (line) => events.push(JSON.parse(line) as ForeignEvent))
    await eventually('it listens', () => events.length > 0)
    const [first] = events
    const port = first !== undefined && 'port' in first ? first.port : 0
    const [acme, globex] = await register(id, hop, port)
    if (acme === undefined || globex === undefined) throw new Error('no service')
    const [set, get, info, direct] = await say('acme', cli(acme, 'set k acme'), cli(acme, 'get k'), cli(acme, 'info'), `redis-cli -h ${underlay} -p ${port} ping`)
    t.equal(set, 'OK\n=0', 'acme writes')
    t.equal(get, 'acme\n=0', 'and reads')
    t.match(info, `tenant:${acme.address}`, 'the tenant is named by the destination')
    t.notMatch(direct, /=0$/, "the node's own address can't be dialled")
    const [other, otherInfo, foreign] = await say('globex', cli(globex, 'get k'), cli(globex, 'info'), cli(acme, 'get k'))
    t.equal(other, '=0', 'globex has an address of its own there, and sees another tenant')
    t.match(otherInfo, `tenant:${globex.address}`, 'named by its own destination')
    t.notMatch(foreign, /=0$/, "globex can't dial acme's address")
    const named = events.filter((event) => 'event' in event && event.event === 'header' && event.tenant !== null)
    const sources = new Set(named.map((event) => ('source' in event ? `${event.tenant} ${event.source}` : '')))
    t.same([...sources].toSorted(), [`${acme.address} ${appAddress('acme')}`, `${globex.address} ${appAddress('globex')}`].toSorted(), 'the node saw the true sources')
    t.ok(named.every((event) => 'version' in event && `v${event.version}` === hop), `in PROXY ${hop}`)
  })
}

const judges = {
  haproxy: {
    missing: foreignVersion('haproxy') === null && 'haproxy is not installed',
    hop: 'v2',
    config: (port: number, ready: string) => `global
  maxconn 100
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen front
  bind [${underlay}]:${port} accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src] %[dst]"
listen ready
  mode tcp
  bind unix@${ready}
`,
    ask: 'GET / HTTP/1.0\r\n\r\n',
  },
  nginx: {
    missing: nginxStreamModule() === null && 'nginx with its stream module is not installed',
    hop: 'v1',
    config: (port: number, ready: string) => `${nginxStreamModule() ?? ''}
daemon off;
# The only user that there is inside.
user root root;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 64; }
stream {
  server { listen [${underlay}]:${port} proxy_protocol; return "$proxy_protocol_addr $proxy_protocol_server_addr"; }
  server { listen unix:${ready}; return ready; }
}
`,
    ask: '',
  },
} as const

for (const program of ['haproxy', 'nginx'] as const) {
  const { missing, hop, config, ask } = judges[program]
  await t.test(`${program} as a node`, { skip: missing }, async (t) => {
    const foreign = new ForeignProxy()
    t.teardown(() => foreign.stop())
    const port = await freePort()
    await foreign.start(program, config(port, foreign.ready), cluster.enter(HOST))
    const [service] = await register(program, hop, port, ['acme'])
    if (service === undefined) throw new Error('no service')
    const wire = new Wire(cluster, 'acme/mad', service.address, service.port)
    t.teardown(() => wire.close())
    await wire.until('connect')
    if (ask !== '') wire.tell({ send: ask })
    await wire.until({ text: `${appAddress('acme')} ${service.address}` })
    t.pass('it saw the true source and the Flycast address')
  })
}
