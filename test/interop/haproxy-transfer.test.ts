/** Moving in from HAProxy and out to it: what is translated, what is named, and HAProxy's own judgement of what we write. */
import { execFile, execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { formatHaproxy } from '../../cli/haproxy/format.ts'
import { parseHaproxy } from '../../cli/haproxy/parse.ts'
import { translateHaproxy } from '../../cli/haproxy/translate.ts'
import type { TestRegistry } from '../support/registry.ts'
import { OPERATOR, startRegistry } from '../support/registry.ts'

const MAIN = join(import.meta.dirname, '../../cli/main.ts')
const noHaproxy = spawnSync('haproxy', ['-v']).error !== undefined
let registry: TestRegistry
let directory: string

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'nearcast-haproxy-'))
  registry = await startRegistry()
})
afterAll(async () => {
  await registry.remove()
  rmSync(directory, { recursive: true })
})

const imported = (text: string): ReturnType<typeof translateHaproxy> => translateHaproxy(parseHaproxy(text))

const WHOLE = `global
    log /dev/log local0
defaults
    mode tcp
listen Redis_Cache   # a comment
    bind *:6379
    option tcp-check
    server redis-1 10.0.0.1:6379 check send-proxy
    server redis-2 [fd00::2]:6379 check inter 2s send-proxy-v2
frontend pg
    bind :::5432 v4v6
    default_backend pgs
backend pgs
    option pgsql-check user x
    balance leastconn
    server a 10.0.0.5:5432 check
    server b 10.0.0.6:5432 check
frontend web
    mode http
    bind :80
backend lost
    server z 10.1.1.1:1
`

test('listen, frontend with backend, servers with and without headers', () => {
  const { nodes, agents, services } = imported(WHOLE)
  expect(nodes).toEqual([
    { id: 'redis-1', endpoint: '10.0.0.1:6379', hop: 'v1' },
    { id: 'redis-2', endpoint: '[fd00::2]:6379', hop: 'v2' },
  ])
  expect(agents).toEqual([
    { id: 'a', host: '10.0.0.5' },
    { id: 'b', host: '10.0.0.6' },
  ])
  expect(services).toEqual([
    { name: 'redis-cache', kind: 'tcp', port: 6379, nodes: ['redis-1', 'redis-2'] },
    { name: 'pg', kind: 'postgres', port: 5432, nodes: ['a', 'b'], backend: '127.0.0.1:5432' },
  ])
})

test('every line is translated or named with a reason', () => {
  const { untranslated } = imported(WHOLE)
  expect(untranslated.map(({ line }) => line)).toEqual([2, 9, 15, 18, 19, 20, 21, 22])
  for (const { text, reason } of untranslated) expect([text, reason.length > 5]).toEqual([text, true])
})

test.each([
  ['conditions', 'listen x\n bind :1\n acl a src 1.2.3.4\n use_backend y if a\n server s h:1 send-proxy', [3, 4]],
  ['a second port', 'listen x\n bind :1\n bind :2\n server s h:1 send-proxy', [3]],
  ['a range of ports', 'listen x\n bind :1-9\n server s h:1 send-proxy', [1, 2]],
  ['TLS', 'listen x\n bind :1 ssl crt /a.pem\n server s h:1 send-proxy', [2]],
  ['no server', 'listen x\n bind :1', [1]],
  ['words that nobody knows', 'listen x\n bind :1\n server s h:1 send-proxy sni str(a) check\n quux', [3, 4]],
  ['servers that do not fit together', 'listen x\n bind :1\n server s h:1\n server t i:2\n server u j:1 send-proxy', [4, 5]],
  ['a frontend without a backend', 'frontend x\n bind :1', [1, 2]],
  ['http by default', 'defaults\n mode http\nlisten x\n bind :1\n server s h:1', [3, 4, 5]],
  ['lines before any section', 'maxconn 5', [1]],
] as const)('%s: named', (_what, text, lines) => {
  expect(imported(text).untranslated.map(({ line }) => line)).toEqual(lines)
})

test('quotes, escapes and comments', () => {
  expect(parseHaproxy('listen x # c\n server "a b" c\\ d \'e#f\' # g\n\n  # h').flatMap(({ lines }) => lines.map(({ words }) => words))).toEqual([['server', 'a b', 'c d', 'e#f']])
})

test('one server in two services is one node; another of its name is another node', () => {
  const { nodes, services } = imported('listen x\n bind :1\n server s h:1 send-proxy\nlisten y\n bind :2\n server s h:1 send-proxy\nlisten z\n bind :3\n server s h:3 send-proxy')
  expect(nodes.map(({ id }) => id)).toEqual(['s', 's-2'])
  expect(services.map((service) => service.nodes)).toEqual([['s'], ['s'], ['s-2']])
})

test.skipIf(noHaproxy)('out and in again: HAProxy accepts it, and the same services come back', async () => {
  await registry.made('/v1/orgs', { name: 'acme' })
  await registry.join('agent', 'mad-1')
  await registry.made('/v1/nodes', { id: 'old', region: 'mad', hop: 'v1', endpoint: '10.0.0.1:80' })
  await registry.made('/v1/nodes', { id: 'new', region: 'mad', hop: 'v2', endpoint: '[fd00::9]:80' })
  await registry.made('/v1/orgs/acme/services', { name: 'web', port: 80, nodes: ['old', 'new'] })
  await registry.made('/v1/orgs/acme/addresses', { service: 'web' })
  await registry.made('/v1/orgs/acme/redis', { name: 'cache', region: 'mad' })
  const env = { PATH: process.env['PATH'], HOME: directory, XDG_CONFIG_HOME: directory, NEARCAST_API: registry.url, NEARCAST_TOKEN: OPERATOR, NO_COLOR: '1' }
  // Not execFileSync: the registry answers in this very process.
  const { stdout: child } = await promisify(execFile)(process.execPath, [MAIN, 'export', 'haproxy', '--org', 'acme'], { env })
  const file = join(directory, 'exported.cfg')
  writeFileSync(file, child)
  const judged = spawnSync('haproxy', ['-c', '-f', file], { encoding: 'utf8' })
  expect([judged.status, judged.stdout + judged.stderr]).toEqual([0, expect.not.stringMatching(/ALERT/)])
  expect(child).toContain('reject unless { src fdaa:0:1::/48 }')
  expect(child).toMatch(/# mad-1 is an agent/)
  expect(child).not.toMatch(/^ {4}server mad-1/m)

  const back = JSON.parse(execFileSync(process.execPath, [MAIN, 'import', 'haproxy', file, '--json'], { env, encoding: 'utf8' })) as ReturnType<typeof translateHaproxy>
  expect(back.nodes).toEqual([
    { id: 'old', endpoint: '10.0.0.1:80', hop: 'v1' },
    { id: 'new', endpoint: '[fd00::9]:80', hop: 'v2' },
  ])
  expect(back.services).toEqual([
    { name: 'web', kind: 'tcp', port: 80, nodes: ['old', 'new'] },
    { name: 'web-2', kind: 'tcp', port: 80, nodes: ['old', 'new'] },
  ])
})

test.skipIf(noHaproxy)('the shared judge: a broken configuration is refused', () => {
  const text = formatHaproxy({ org: 'x', services: [{ name: 's', kind: 'tcp', port: 1, nodes: ['n'] }], addresses: [{ address: 'fdaa:0:1:0:1::1', network: 9, service: 's', port: 1 }], nodes: [{ id: 'n', hop: 'v2', endpoint: 'h:1', host: 'h' }], networks: [] })
  // A network that isn't known: nobody may connect until somebody says who.
  expect(text).toMatch(/tcp-request connection reject$/m)
  const file = join(directory, 'broken.cfg')
  writeFileSync(file, `${text}\n    nonsense\n`)
  expect(spawnSync('haproxy', ['-c', '-f', file]).status).not.toBe(0)
})
