/**
 * A real proxy process with its host's wall, in namespaces: what a customer, another customer and a provider's node see.
 * test/support/proxy-scenario.ts makes the world and looks; here is what it has to be.
 */
import { execFile, spawnSync } from 'node:child_process'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, test } from 'vitest'
import { probeIoUring } from '../../lib/kernel/io-uring-probe.ts'

const isolated = ['--user', '--map-root-user', '--net', '--mount', '--pid', '--fork', '--mount-proc', '--kill-child']
const probe = spawnSync('unshare', [...isolated, 'sh', '-c', 'command -v ip nft ping openssl && nft list ruleset'])
const missing = probe.status === 0 ? '' : ' (skipped: needs user namespaces, ip, nft, ping and openssl)'

const SCENARIO = new URL('../support/proxy-scenario.ts', import.meta.url).pathname
const uring = probeIoUring()
const PLANES = [
  { plane: 'portable', intercept: 'local', why: missing },
  { plane: 'uring', intercept: 'tproxy', why: missing || (uring.answer === 'yes' ? '' : ` (skipped: io_uring is ${uring.kind} here)`) },
]

describe.each(PLANES)('a proxy beside its clients, $plane plane, $intercept$why', ({ plane, intercept, why }) => {
  if (why !== '') {
    test.skip('needs more than is here', () => undefined)
    return
  }

  let seen: Record<string, unknown> = {}

  beforeAll(async () => {
    const { stdout } = await promisify(execFile)('unshare', [...isolated, process.execPath, SCENARIO, plane, intercept], { timeout: 40_000, killSignal: 'SIGKILL' })
    seen = JSON.parse(stdout) as Record<string, unknown>
  }, 45_000)

  const names = (): [string, string] => (seen['chosen'] === 'near' ? ['near', 'far'] : ['far', 'near'])

  test('starts and serves from its cache without a router', () => {
    expect(seen['ready']).toMatchObject({ id: 'mad-1', ports: [6379], adminPort: 8099 })
    expect(seen['readyz']).toBe('ready\n')
  })

  const local = intercept === 'local'

  test('makes the Flycast part of each network local, or none of it, and removes what an earlier run left', () => {
    expect(seen['routes']).toEqual(local ? ['fdaa:0:1:0:1::/80', 'fdaa:0:2:0:1::/80'] : [null])
  })

  test('carries a connection over a signed hop that names the true client and the address', () => {
    expect(seen['whole']).toMatchObject({ received: `${String(seen['first'])}:hello`, error: null })
    expect(seen['dialled']).toEqual([{ service: 'svc', generation: 5, source: 'fdaa:0:1:2::2', destination: '[fdaa:0:1:0:1::2]:6379' }])
  })

  test('logs one line for it', () => {
    const first = String(seen['first'])
    expect(seen['line']).toMatchObject({
      outcome: 'carried', network: 1, org: 'o1', service: 'svc', node: first, region: first,
      bytesUp: 5, bytesDown: `${first}:hello`.length, source: expect.stringMatching(/^\[fdaa:0:1:2::2\]:\d+$/), destination: '[fdaa:0:1:0:1::2]:6379',
    })
  })

  test.each(['refusing', 'unavailable', 'silent'])('goes to the next node, unseen by the client, when the agent is %s', (mode) => {
    const { names: [failing, healthy], first, back } = seen[mode] as { names: [string, string]; first: { ms: number }; back: object }
    expect(first).toMatchObject({ received: `${healthy}:hello`, error: null })
    expect(back).toMatchObject({ received: `${failing}:hello`, error: null })
    // Not before it has had its time.
    if (mode === 'silent') expect(first.ms).toBeGreaterThanOrEqual(300)
  })

  test('skips a node whose agent says that the service does not answer there, without dialling it', () => {
    expect(seen['published']).toMatchObject({ received: `${names()[1]}:hello`, error: null })
    expect(seen['publishedStays']).toMatchObject({ received: `${names()[1]}:hello`, error: null })
    expect(seen['publishedDials']).toBe(0)
  })

  test('reopens an unknown session once per agent, with no error for any client', () => {
    expect(seen['forgotten']).toEqual([expect.stringMatching(/:hello$/), expect.stringMatching(/:hello$/), expect.stringMatching(/:hello$/)])
    // While one agent's session is being reopened, a connection may have gone to the other agent: once there, too.
    expect([[0, 1], [1, 1]]).toContainEqual(seen['reopened'])
  })

  test('resets a foreign source before anything is dialled, and names both networks', () => {
    expect(seen['foreign']).toMatchObject({ received: '', error: 'ECONNRESET' })
    expect(seen['denial']).toMatchObject({
      reason: 'foreign-network', sourceNetwork: 2, network: 1, source: expect.stringMatching(/^\[fdaa:0:2:2::2\]/),
      why: 'network 2 (fdaa:0:2::/48) to network 1 (fdaa:0:1::/48): foreign-network',
    })
    expect(seen['wallDials']).toBe(0)
  })

  test('refuses unknown addresses, closed ports and the ports of the host', () => {
    expect(seen['unknown']).toMatchObject({ received: '', error: 'ECONNRESET' })
    for (const what of ['closedPort', 'hostPort']) expect(seen[what]).toMatchObject({ received: '', error: 'ECONNREFUSED', connected: false })
    // Where nothing is local the listener meets them all, and the rule says no.
    expect(seen['foreignUnknownNetwork']).toMatchObject({ received: '', error: local ? 'ECONNREFUSED' : 'ECONNRESET' })
  })

  test('answers nothing to fe80::1, to the host, beyond it, to neighbours, spoofed sources and datagrams', () => {
    expect(seen['unanswered']).toEqual(Array.from({ length: 8 }, () => 'TIMEOUT'))
  })

  test('lets nobody dial into a network of a customer, nor to a Flycast address from elsewhere', () => {
    expect(seen['customerItself']).toMatchObject({ received: 'customer' })
    expect(seen['intruders']).toEqual(['TIMEOUT', 'TIMEOUT', 'TIMEOUT'])
  })

  test('answers pings of the own network to its addresses, and no others', () => {
    expect(seen['pings']).toEqual([true, false, false, false, false])
  })

  test('counts per interface and reason', () => {
    expect(seen['counters']).toMatchObject({
      i0_outside: expect.any(Number), i0_protocol: 1, i0_closed: local ? 3 : 2, i0_reach: expect.any(Number), i0_link: expect.any(Number),
      i1_spoofed: 1, i1_foreign: 2, elsewhere: 1,
    })
  })

  test('limits the connections of a network', () => {
    expect(seen['held']).toHaveLength(3)
    for (const received of seen['held'] as string[]) expect(received).toMatch(/^(near|far):/)
    expect(seen['limited']).toMatchObject({ received: '', error: 'ECONNRESET' })
  })

  test('notices a stopped agent by its probes, and that it is well again', () => {
    expect(seen['unhealthy']).toMatchObject({ node: names()[0], reason: 'probe: hop.timeout' })
    expect(seen['metrics']).toMatchObject({ healthy: [0, 1] })
  })

  test('measures, keeps secrets, and stops when told to', () => {
    expect(seen['metrics']).toMatchObject({ foreign: local ? 1 : 2, unknown: 1, limit: 1, open: 3, revision: 42, up: expect.any(Number) })
    expect(seen['secrets']).toBe(false)
    expect(seen['exitCode']).toBe(0)
  })

  if (plane === 'uring') {
    test('a data thread that fails is replaced: who dials meanwhile is served by the next one', () => {
      const { received, replaced } = seen['drill'] as { received: string[]; replaced: number }
      expect(new Set(received)).toEqual(new Set(['hello']))
      expect(replaced).toBe(received.length)
    })
  }
})
