/** The plan of a development cluster: checks of its file, addresses, routes, and the commands that build its network. */
import { describe, expect, test } from 'vitest'
import { appHostAddress } from '../../cli/dev/app-address.ts'
import { planNetwork } from '../../cli/dev/network-plan.ts'
import { networkScript } from '../../cli/dev/network-script.ts'
import { nextRegions, planTopology, topologySchema } from '../../cli/dev/topology.ts'
import { readTopology } from '../../cli/dev/topology-file.ts'
import { planProxy, planRouter } from '../../cli/dev/programs.ts'

const small = {
  router: 'a-1',
  region: [{ id: 'aa', hosts: ['a-1', 'a-2'] }, { id: 'bb', hosts: ['b-1'] }],
  link: [{ between: ['aa', 'bb'], rttMs: 10 }],
  org: [{ name: 'acme' }, { name: 'globex', beside: 'last' }],
  database: [{ org: 'acme', name: 'demo', region: 'aa', replicas: ['bb'] }],
}
const plan = (change: object) => planTopology(topologySchema.parse({ ...small, ...change }))

test('the default topology is what the README says', () => {
  const topology = readTopology(undefined)
  expect(topology.hosts.map(({ id, agent, address }) => [id, agent, address])).toEqual([
    ['mad-1', true, 'fd0c:0:1::1'],
    ['mad-2', false, 'fd0c:0:1::2'],
    ['ams-1', true, 'fd0c:0:2::1'],
    ['gru-1', true, 'fd0c:0:3::1'],
  ])
  expect(topology.links.map(({ id, rttMs }) => [id, rttMs])).toEqual([['mad-ams', 30], ['mad-gru', 190], ['ams-gru', 210]])
  expect(topology.appHosts.map(({ id, host, ingress }) => [id, host, ingress])).toEqual([
    ['acme-mad', 'mad-1', 'in-acme'],
    ['acme-ams', 'ams-1', 'in-acme'],
    ['acme-gru', 'gru-1', 'in-acme'],
    ['globex-mad', 'mad-2', 'in-globex'],
    ['globex-ams', 'ams-1', 'in-globex'],
    ['globex-gru', 'gru-1', 'in-globex'],
  ])
  expect(topology.router.id).toBe('mad-1')
  expect(topology.databases.map(({ org, name }) => `${org}/${name}`)).toEqual(['acme/demo', 'globex/demo'])
})

test('a file that is missing or misspelt is a coded error', () => {
  expect(() => readTopology('/no/such/file.toml')).toThrowError(expect.objectContaining({ code: 'config.missing' }))
})

describe('contradictions are refused, each with its own sentence', () => {
  const cases: readonly (readonly [string, object, RegExp])[] = [
    ['router elsewhere', { router: 'c-1' }, /router on "c-1"/],
    ['a name twice', { region: [{ id: 'aa', hosts: ['a-1', 'a-1'] }, { id: 'bb', hosts: ['b-1'] }] }, /"a-1" twice/],
    ['unknown region in a link', { link: [{ between: ['aa', 'cc'], rttMs: 1 }] }, /region "cc"/],
    ['a link with itself', { link: [{ between: ['aa', 'aa'], rttMs: 1 }] }, /"aa" with itself/],
    ['a link twice, the other way round', { link: [{ between: ['aa', 'bb'], rttMs: 1 }, { between: ['bb', 'aa'], rttMs: 2 }] }, /"aa-bb" twice/],
    ['no path', { link: [] }, /no path from "aa" to "bb"/],
    ['an org twice', { org: [{ name: 'acme' }, { name: 'acme' }] }, /"acme" twice/],
    ['a database of nobody', { database: [{ org: 'x', name: 'd', region: 'aa' }] }, /"x\/d" to an organization/],
    ['a database nowhere', { database: [{ org: 'acme', name: 'd', region: 'cc' }] }, /"acme\/d" into "cc"/],
    ['a replica beside its primary', { database: [{ org: 'acme', name: 'd', region: 'aa', replicas: ['aa'] }] }, /into "aa" twice/],
  ]
  test.each(cases)('%s', (_name, change, message) => {
    expect(() => plan(change)).toThrowError(expect.objectContaining({ code: 'topology.invalid', message: expect.stringMatching(message) }))
  })
  test('names that no interface could carry', () => {
    expect(topologySchema.safeParse({ ...small, region: [{ id: 'toolong', hosts: ['a-1'] }] }).success).toBe(false)
    expect(topologySchema.safeParse({ ...small, org: [{ name: 'a; reboot' }] }).success).toBe(false)
    expect(topologySchema.safeParse({ ...small, misspelt: 1 }).success).toBe(false)
  })
})

test('regions without a link of their own are reached by the shortest path', () => {
  const region = ['aa', 'bb', 'cc', 'dd'].map((id) => ({ id, hosts: [`${id}-1`] }))
  const link = [{ between: ['aa', 'bb'], rttMs: 10 }, { between: ['bb', 'cc'], rttMs: 10 }, { between: ['aa', 'cc'], rttMs: 50 }, { between: ['cc', 'dd'], rttMs: 1 }]
  const next = nextRegions(planTopology(topologySchema.parse({ router: 'aa-1', region, link })))
  expect(next.get('aa')?.get('cc')).toBe('bb')
  expect(next.get('aa')?.get('dd')).toBe('bb')
  expect(next.get('dd')?.get('aa')).toBe('cc')
  expect(next.get('aa')?.has('aa')).toBe(false)
})

test('hosts do not forward, region routers do, the links carry no address', () => {
  const { setups } = planNetwork(plan({}), 'relay')
  const forwarding = setups.map(({ namespace, settings }) => [namespace, new Map(settings).get('ipv6/conf/all/forwarding')])
  expect(forwarding.filter(([, value]) => value === '1').map(([namespace]) => namespace)).toEqual(['region-aa', 'region-bb'])
  const links = setups.find(({ namespace }) => namespace === 'links')
  expect(new Map(links?.settings).get('ipv6/conf/default/disable_ipv6')).toBe('1')
  expect(links?.commands).toEqual(['link set lo up', 'link set aa-bb up', 'link set bb-aa up'])
})

test('no duplicate address detection anywhere, no name of an interface is too long', () => {
  for (const kind of ['relay', 'netem'] as const) {
    const { setups, namespaces } = planNetwork(readTopology(undefined), kind)
    const commands = setups.flatMap((setup) => setup.commands)
    expect(commands.filter((command) => command.startsWith('address add') && !command.endsWith('nodad'))).toEqual([])
    const interfaces = commands.flatMap((command) => [...command.matchAll(/(?:link add|peer name|dev) (\S+)/g)].map((match) => match[1] ?? ''))
    expect(interfaces.length).toBeGreaterThan(20)
    expect(interfaces.filter((name) => name.length > 15)).toEqual([])
    expect(namespaces.includes('links')).toBe(kind === 'relay')
  }
})

test('every pair is made before anything is done with its ends', () => {
  const script = networkScript(planNetwork(plan({}), 'relay')).split('\n')
  const last = script.findLastIndex((line) => line.startsWith('link add'))
  expect(last).toBeGreaterThan(0)
  expect(script.findIndex((line) => line.startsWith('address add'))).toBeGreaterThan(last)
  expect(script.findLastIndex((line) => line.startsWith('ip netns add'))).toBeLessThan(script.findIndex((line) => line.startsWith('link add')))
})

test("app hosts have addresses of their own network, outside the parts that are reserved", () => {
  const topology = plan({})
  const addresses = topology.appHosts.map((app) => appHostAddress(topology, app, app.org === 'acme' ? 'fdaa:0:1::/48' : 'fdaa:1:2::/48'))
  expect(addresses).toEqual(['fdaa:0:1:0:2:0:1:2', 'fdaa:0:1:0:3:0:1:2', 'fdaa:1:2:0:2:0:1:2', 'fdaa:1:2:0:3:0:1:2'])
  const [app] = topology.appHosts
  expect(() => app && appHostAddress(topology, app, 'fd00:0:1::/48')).toThrowError(expect.objectContaining({ code: 'dev.failed' }))
})

test('programs learn their networks and never a link time', () => {
  const topology = readTopology(undefined)
  const host = topology.hosts[1]
  if (host === undefined) throw new Error('no second host')
  const networks = new Map([['acme', 'fdaa:0:1::/48'], ['globex', 'fdaa:0:2::/48']])
  const proxy = planProxy(topology, host, 'njt_x_y', networks)
  const text = proxy.files.map((file) => file.text).join('\n')
  expect(text).toContain('interface = "in-globex"')
  expect(text).toContain('network = "fdaa:0:2::/48"')
  expect(text).not.toContain('in-acme')
  expect(proxy.spec.command.join(' ')).not.toContain('njt_x_y')
  const router = planRouter(topology, 4, 't'.repeat(40))
  expect(router.spec.command.join(' ')).not.toContain('ttt')
  for (const file of [...proxy.files, ...router.files]) expect(file.text).not.toMatch(/190|210|rtt/)
})
