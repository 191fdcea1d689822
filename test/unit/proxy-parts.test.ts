/** The proxy's smaller parts: configuration, entrance, denials, headers, listeners, the host's routes and rules. */
import { spawnSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { asNetworkId, parseIpv6 } from '../../lib/address.ts'
import { loadConfig } from '../../lib/config.ts'
import { NearcastError } from '../../lib/errors.ts'
import type { NodeRow } from '../../lib/feed/messages.ts'
import { decodeOpening, verifyConnection } from '../../lib/hop/header.ts'
import { verifyingKeys } from '../../lib/hop/keys.ts'
import { createLogger } from '../../lib/log.ts'
import { decode } from '../../lib/proxy-protocol/decode.ts'
import { proxyConfig } from '../../proxy/config.ts'
import { Denials } from '../../proxy/denials.ts'
import { Entrance } from '../../proxy/entrance.ts'
import { openingFor } from '../../proxy/headers.ts'
import { contains, parseCidr } from '../../proxy/host/cidr.ts'
import { runCommand } from '../../lib/host-command.ts'
import { Guard } from '../../proxy/host/guard.ts'
import { Prefixes } from '../../proxy/host/prefixes.ts'
import { GATEWAY, ruleset } from '../../proxy/host/ruleset.ts'
import { Listeners, MAX_PORTS } from '../../proxy/listeners.ts'
import type { Decision } from '../../proxy/decision.ts'

/** Without limits. */
const OPEN = { enter: () => 'in' as const, leave: () => undefined }
let hits = 0
const LOG = createLogger('test', 'silent')
const network = asNetworkId(1)
const address = (text: string, port = 1): { ip: ReturnType<typeof parseIpv6>; port: number } => ({ ip: parseIpv6(text), port })

describe('configuration', () => {
  const least = { id: 'mad-1', host: 'h', region: 'mad', stateDir: '/s', router: 'https://[::1]:7300' }
  const parse = (more: object): ReturnType<typeof proxyConfig.parse> => proxyConfig.parse({ ...least, ...more })

  test('has a default for whatever need not be said', () => {
    expect(parse({})).toMatchObject({
      prefix: 'fdaa', plane: 'auto', manageHost: true, ingress: [],
      dial: { connectTimeoutMs: 1000, deadlineMs: 5000 },
      health: { intervalMs: 2000, timeoutMs: 2000, failures: 3, successes: 2 },
      nearest: { hysteresisPercent: 20, hysteresisMs: 1 },
      limits: { maxConnections: 10_000 }, log: { level: 'info' },
    })
  })

  test.each([
    [{ healt: {} }, /healt/],
    [{ health: { interval: 1 } }, /health.*interval/],
    [{ router: 'http://x' }, /router: use https/],
    [{ id: 'Mad' }, /id: use 1 to 40/],
    [{ ingress: [{ interface: 'a', network: 'fdaa:0:1::/64' }] }, /ingress.0.network: .*must be a network/],
    [{ ingress: [{ interface: 'a', network: 'fdaa:0:1:2::/48' }] }, /ingress.0.network/],
    [{ ingress: [{ interface: 'a', network: 'fdaa::/48' }] }, /ingress.0.network/],
    [{ ingress: [{ interface: 'a" accept', network: 'fdaa:0:1::/48' }] }, /ingress.0.interface: use the name/],
    [{ ingress: [{ interface: 'a', network: 'fdaa:0:1::/48' }, { interface: 'a', network: 'fdaa:0:2::/48' }] }, /one network/],
  ])('names the key that is wrong: %j', (more, message) => {
    const result = proxyConfig.safeParse({ ...least, ...more })
    expect(result.success).toBe(false)
    const said = result.error?.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ') ?? ''
    expect(said).toMatch(message)
  })

  test('takes its values from the environment too', () => {
    const env = Object.fromEntries(Object.entries(least).map(([key, value]) => [`NEARCAST_PROXY_${key.replace('Dir', '_DIR').toUpperCase()}`, value]))
    expect(loadConfig(proxyConfig, { program: 'PROXY', env: { ...env, NEARCAST_PROXY_HEALTH_FAILURES: '5' } }).health.failures).toBe(5)
  })
})

describe('entrance', () => {
  const route = { address: 'fdaa:0:1:0:1::2', generation: 1, network, org: 'o', service: 's', name: 'n', kind: 'tcp' as const, port: 1, placements: [] }
  const open = (maxConnections: number, perNetworkConnections: number): Entrance =>
    new Entrance({ decide: (source): Decision => ({ allowed: true, route: { ...route, network: asNetworkId(source[5] ?? 0) } }), maxConnections, perNetworkConnections, turnstile: OPEN, onHit: () => hits++ })
  const destination = address('fdaa:0:1:0:1::2')

  test('limits each network, then all together, and what is released is free again', () => {
    const entrance = open(3, 2)
    const admit = (id: number, source: string): string => {
      const admission = entrance.admit(id, address(source), destination)
      return admission.allowed ? 'in' : admission.reason
    }
    hits = 0
    expect(['fdaa:0:1::2', 'fdaa:0:1::3', 'fdaa:0:1::4'].map((source, id) => admit(id, source))).toEqual(['in', 'in', 'limit'])
    expect([admit(10, 'fdaa:0:2::1'), admit(11, 'fdaa:0:2::1')]).toEqual(['in', 'limit'])
    entrance.release(2)
    expect(admit(12, 'fdaa:0:1::2')).toBe('limit')
    entrance.release(0)
    entrance.release(0)
    expect([admit(13, 'fdaa:0:1::2'), entrance.open]).toEqual(['in', 3])
    entrance.drain()
    entrance.release(13)
    expect(admit(14, 'fdaa:0:1::2')).toBe('draining')
  })

  test('finds open connections by address, service and node', () => {
    const entrance = open(9, 9)
    entrance.admit(1, address('fdaa:0:1::2'), destination)
    entrance.admit(2, address('fdaa:0:1::2'), destination)
    entrance.served(2, 'mad-1')
    entrance.served(2, 'gru-1')
    entrance.served(3, 'mad-1')
    expect([entrance.of('address', route.address), entrance.of('service', 's'), entrance.of('node', 'mad-1'), entrance.of('node', 'gru-1')]).toEqual([[1, 2], [1, 2], [2], []])
    expect(entrance.connection(2)).toMatchObject({ service: 's', generation: 1, node: 'mad-1' })
    entrance.release(2)
    expect([entrance.of('address', route.address), entrance.of('node', 'mad-1'), entrance.ids(), entrance.connection(2)]).toEqual([[1], [], [1], undefined])
  })

  test('beyond a limit of the address it waits or is refused, and leaves when it ends', () => {
    const left: number[] = []
    const entries = ['in', 'waiting', 'refused'] as const
    const turnstile = { enter: (id: number) => entries[id] ?? 'in', leave: (id: number) => void left.push(id) }
    const entrance = new Entrance({ decide: () => ({ allowed: true, route }), maxConnections: 9, perNetworkConnections: 9, turnstile, onHit: () => hits++ })
    const admissions = [0, 1, 2].map((id) => entrance.admit(id, address('fdaa:0:1::2'), destination))
    expect(admissions[0]).not.toHaveProperty('waits')
    expect(admissions.slice(1)).toMatchObject([{ allowed: true, waits: true }, { allowed: false, reason: 'limit', network }])
    for (const id of [0, 1, 2]) entrance.release(id)
    expect([entrance.open, left]).toEqual([0, [0, 1]])
  })

  test('leaves nothing of a denied connection', () => {
    const entrance = new Entrance({ decide: () => ({ allowed: false, reason: 'foreign-network', sourceNetwork: null, network }), maxConnections: 1, perNetworkConnections: 1, turnstile: OPEN, onHit: () => hits++ })
    for (let id = 0; id < 5; id++) expect(entrance.admit(id, address('fdaa:0:2::2'), destination)).toMatchObject({ reason: 'foreign-network' })
    expect([entrance.open, entrance.ids()]).toEqual([0, []])
  })
})

test('denials: a few lines per network and window, the rest counted; memory is bounded', () => {
  const denials = new Denials({ windowMs: 100, perWindow: 2, maxSources: 3 })
  expect([1, 2, 3, 4].map((at) => denials.admit(7, at))).toEqual([0, 0, null, null])
  expect(denials.admit(8, 5)).toBe(0)
  expect(denials.admit(7, 102)).toBe(2)
  expect(denials.admit(7, 103)).toBe(0)
  for (let source = 100; source < 200; source++) denials.admit(source, 104)
  expect(denials.admit(7, 105)).toBe(0)
})

describe('headers', () => {
  const key = 'ab'.repeat(32)
  const route = { address: 'fdaa:0:1:0:1::2', generation: 9, network, org: 'o', service: 'svc' }
  const [source, destination] = [address('fdaa:0:1:5::2', 40_000), address('fdaa:0:1:0:1::2', 6379)]
  const node = (hop: NodeRow['hop'], session: Uint8Array | null, keys = [{ epoch: 3, key }]): Parameters<typeof openingFor>[1] => {
    let counter = 0n
    return {
      row: { id: 'mad-1', region: 'mad', host: 'h', hop, endpoint: '[::1]:1', keys },
      target: { kind: 'unix', path: '/x' },
      session: hop === 'signed-v2' ? { session, worker: 0, nextCounter: () => counter++ } : null,
    }
  }

  test('signed: the newest key, each header with its own number', () => {
    const signed = node('signed-v2', new Uint8Array(16).fill(7), [{ epoch: 3, key }, { epoch: 2, key: 'cd'.repeat(32) }])
    const openings = [1, 2].map(() => openingFor('proxy/mad-1', signed, route, source, destination))
    const decoded = openings.map((each) => decodeOpening(each?.bytes ?? new Uint8Array()))
    for (const [index, each] of decoded.entries()) {
      if (each.state !== 'done' || each.opening.kind !== 'connection') throw new Error('no connection header')
      expect(each.opening.connection).toMatchObject({ dialer: 'proxy/mad-1', agent: 'mad-1', service: 'svc', generation: 9, epoch: 3, counter: BigInt(index), source, destination })
      expect(verifyConnection(each.opening, verifyingKeys([{ epoch: 3, key }]))).toBe(true)
    }
    expect(openings[0]).toMatchObject({ expectsStatus: true, session: new Uint8Array(16).fill(7) })
  })

  test('none without a session, a key or a target', () => {
    const nodes = [node('signed-v2', null), node('signed-v2', new Uint8Array(16), []), { ...node('v2', null), target: null }]
    for (const each of nodes) expect(openingFor('proxy/mad-1', each, route, source, destination)).toBeNull()
  })

  test('foreign nodes get the plain header, v1 or v2', () => {
    const v1 = openingFor('proxy/mad-1', node('v1', null), route, source, destination)
    expect(Buffer.from(v1?.bytes ?? []).toString('latin1')).toBe('PROXY TCP6 fdaa:0:1:5::2 fdaa:0:1:0:1::2 40000 6379\r\n')
    const v2 = openingFor('proxy/mad-1', node('v2', null), route, source, destination)
    expect(decode(v2?.bytes ?? new Uint8Array(), { version: 'v2' })).toMatchObject({ state: 'done', header: { command: 'proxy', addresses: { source, destination } } })
    expect([v1?.expectsStatus, v2?.expectsStatus]).toEqual([false, false])
  })
})

const fixture = (refuse: ReadonlySet<number> = new Set()): { listeners: Listeners; closed: number[] } => {
  const closed: number[] = []
  const plane = {
    listen: ({ target }: { target: { kind: string } & Partial<{ host: string; port: number }> }) => {
      const { host, port = 0 } = target
      expect(host).toBe('::')
      if (refuse.has(port)) return Promise.reject(new NearcastError('listen.in-use', `${port} is in use.`))
      return Promise.resolve({ port, rejected: { limit: 1, handshake: 0 }, close: () => Promise.resolve(void closed.push(port)) })
    },
  }
  const accept = { brain: () => ({ on: () => [] }) }
  return { listeners: new Listeners({ plane, accept, log: LOG }), closed }
}

describe('listeners', () => {
  test('opens what is new, keeps what stays, closes what went', async () => {
    const { listeners, closed } = fixture()
    expect(await listeners.open([1, 2])).toEqual(new Map())
    await listeners.open([2, 3])
    await listeners.closeExcept([2, 3])
    expect([listeners.ports(), closed, listeners.rejected]).toEqual([[2, 3], [1], 3])
  })

  test('a port that is taken is told, and tried again; the others serve', async () => {
    const refused = new Set([2])
    const { listeners } = fixture(refused)
    const failed = await listeners.open([1, 2, 3])
    expect([failed.get(2)?.code, failed.size, listeners.ports()]).toEqual(['listen.in-use', 1, [1, 3]])
    refused.clear()
    expect((await listeners.open([1, 2, 3])).size).toBe(0)
  })

  test('refuses more ports than it has', async () => {
    const { listeners } = fixture()
    const failed = await listeners.open(Array.from({ length: MAX_PORTS + 2 }, (_, index) => 1000 + index))
    expect([...failed.keys()]).toEqual([1000 + MAX_PORTS, 1001 + MAX_PORTS])
    expect(listeners.ports()).toHaveLength(MAX_PORTS)
  })
})

const within = (outer: string, inner: string): boolean => contains(parseCidr(outer)!, parseCidr(inner)!)

test('prefixes contain what their bits say', () => {
  expect(within('fdaa::/16', 'fdaa:0:1::/48')).toBe(true)
  expect(within('fdaa::/16', 'fdab::/48')).toBe(false)
  expect(within('fdaa:0:1::/48', 'fdaa::/16')).toBe(false)
  expect(within('fda8::/13', 'fdaa:1::1')).toBe(true)
  expect(within('::/0', '::1')).toBe(true)
  for (const wrong of ['default', 'fdaa::/129', 'fdaa::/1/2', '10.0.0.0/8', 'x']) expect(parseCidr(wrong)).toBeNull()
})

const line = (verb: string, id: number): string => `route ${verb} local fdaa:0:${id}:0:1::/80 dev lo table local proto 78\n`
const listing = (routes: object[]) => (): Promise<string> => Promise.resolve(JSON.stringify(routes))
const prepare = (routes: object[]): Promise<void> => new Prefixes({ prefix: 0xfdaa, ingress: ['acme0'], run: listing(routes) }).prepare()

describe('host', () => {
  test('refuses to start where the host routes addresses of the plan elsewhere', async () => {
    const elsewhere = [{ dst: 'fdaa::/16', dev: 'wg0' }, { dst: 'fdaa:0:1::5', dev: 'eth0' }, { dst: 'fda0::/12', dev: 'eth0' }]
    for (const route of elsewhere) await expect(prepare([route])).rejects.toMatchObject({ code: 'host.overlap' })
  })

  test('accepts ways back to clients, its own routes, infrastructure, and what has nothing to do with it', async () => {
    await prepare([
      { dst: 'default', dev: 'eth0' }, { dst: 'fdaa:0:1:2::/64', dev: 'acme0' }, { dst: 'fdaa:0:1:0:1::/80', dev: 'lo', protocol: '78' },
      { dst: 'fdaa:0:0:7::/64', dev: 'back0' }, { dst: 'fe80::/64', dev: 'eth0' }, { dst: 'fdab::/16', dev: 'eth0' }, { type: 'unreachable', dst: 'fdaa::/16' },
    ])
  })

  test('asks for each change once, in one batch', async () => {
    const inputs: string[] = []
    const run = (_program: string, args: readonly string[], input = ''): Promise<string> => {
      if (args.includes('-batch')) inputs.push(input)
      return Promise.resolve(args.includes('show') ? JSON.stringify([{ dst: 'fdaa:0:9:0:1::/80' }, { dst: 'fdaa:0:1:0:1::/80' }]) : '')
    }
    const prefixes = new Prefixes({ prefix: 0xfdaa, ingress: [], run })
    await prefixes.replace([asNetworkId(1), asNetworkId(2)])
    await prefixes.change([asNetworkId(2), asNetworkId(3)], [asNetworkId(1), asNetworkId(8)])
    await prefixes.change([asNetworkId(3)], [])
    expect(inputs).toEqual([line('del', 9) + line('replace', 2), line('del', 1) + line('replace', 3)])
    expect(prefixes.count).toBe(2)
  })

  test('a command that is refused, missing or wrong becomes an error that names it', async () => {
    const guard = new Guard({ prefix: 0xfdaa, ingress: [], run: () => Promise.resolve('{"nonsense":1}') })
    await expect(guard.dropped()).rejects.toMatchObject({ code: 'host.failed' })
    await expect(runCommand('ip', ['-6', 'route', 'add', 'nonsense'])).rejects.toMatchObject({ code: 'host.failed', message: expect.stringContaining('"ip -6 route add nonsense"') })
    const path = process.env['PATH']
    process.env['PATH'] = '/nonexistent'
    try {
      await expect(runCommand('nft', ['list', 'ruleset'])).rejects.toMatchObject({ code: 'host.command-missing', message: expect.stringContaining('nftables') })
    } finally {
      process.env['PATH'] = path
    }
  })

  const isolated = ['--user', '--map-root-user', '--net']
  const able = spawnSync('unshare', [...isolated, 'nft', 'list', 'ruleset']).status === 0

  test.skipIf(!able)(`nft takes the rules, with and without interfaces${able ? '' : ' (skipped: needs user namespaces and nft)'}`, () => {
    const odd = [{ interface: 'a.b-c_1', network }, { interface: '0x', network: asNetworkId(0xffff_ffff) }, { interface: 'wg', network: GATEWAY } as const]
    for (const rules of [ruleset([], 0xfdaa, []), ruleset(odd, 0xfd0a, [1, 65_535]), ruleset(odd, 0xfd0a, [1], { port: 2 })]) {
      const { status, stderr } = spawnSync('unshare', [...isolated, 'nft', '-f', '-'], { input: rules + rules })
      expect({ status, stderr: stderr.toString() }).toEqual({ status: 0, stderr: '' })
    }
  })

  test.skipIf(!able)('without the privilege the error says what to do', async () => {
    // A user namespace of one's own gives no right over the network of the one outside.
    const script = `import('./lib/host-command.ts').then(({ runCommand }) => runCommand('nft', ['-f', '-'], 'add table inet nearcast_test')).then(() => console.log('installed'), (error) => console.log(error.code))`
    const { stdout } = spawnSync('unshare', ['--user', '--map-root-user', process.execPath, '-e', script], { encoding: 'utf8' })
    expect(stdout.trim()).toBe('host.denied')
  })
})
