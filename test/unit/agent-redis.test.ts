/** The parts of an engine that need no process: replies, configuration, users, directories, specification. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { agentConfig } from '../../agent/config.ts'
import { DENIED_COMMANDS, tenantRules } from '../../agent/redis/engine/acl.ts'
import { BridgeBrain } from '../../agent/redis/engine/bridge.ts'
import { changeLimits, limitEngine, probeCgroup, weightOf } from '../../agent/redis/engine/cgroup.ts'
import { engineConfiguration } from '../../agent/redis/engine/configuration.ts'
import { EngineDirectories } from '../../agent/redis/engine/directory.ts'
import { engineSpecification } from '../../agent/redis/engine/specification.ts'
import { engineCommand } from '../../agent/redis/engine/walls.ts'
import { serviceRow } from '../../lib/feed/messages.ts'
import { databaseRow } from '../support/data-node.ts'
import { testSeed } from '../support/random.ts'

const row = (placements: Parameters<typeof databaseRow>[1], secret = 'replication of db') =>
  serviceRow.parse(databaseRow('db', placements, 'pw', { replicationSecret: secret }).row)
const specification = (secret?: string) => engineSpecification(row([{ node: 'mad', role: 'primary' }], secret), 'mad')

test('no secret can add a line to a configuration', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', minLength: 16, maxLength: 40 }), (secret) => {
      const lines = engineConfiguration({ specification: specification(secret), agentPassword: 'p', primaryPort: 0 }).split('\n')
      const plain = engineConfiguration({ specification: specification(), agentPassword: 'p', primaryPort: 0 }).split('\n')
      expect(lines.length).toBe(plain.length)
      expect(lines.find((line) => line.startsWith('masterauth'))).toMatch(/^masterauth "(\\x[0-9a-f]{2})+"$/)
    }),
    { seed: testSeed('configuration') },
  )
})

test('a tenant starts from all commands, and what is denied comes after that', () => {
  const rules = tenantRules('ab'.repeat(32))
  for (const denied of DENIED_COMMANDS) expect(rules.indexOf(`-${denied}`)).toBeGreaterThan(rules.indexOf('+@all'))
  // Named by the design: none may be forgotten.
  for (const name of ['config', 'debug', 'shutdown', 'replicaof', 'sync', 'psync', 'replconf', 'save', 'bgsave', 'module', 'failover', 'cluster', 'migrate', 'slaveof', 'bgrewriteaof', 'swapdb', 'acl']) {
    expect(DENIED_COMMANDS).toContain(name)
  }
})

test('a replica finds its primary at the bridge, a primary has none', () => {
  const replica = engineSpecification(row([{ node: 'gru', role: 'primary' }, { node: 'mad', role: 'replica' }]), 'mad')
  expect(replica.primary).toBe('gru')
  expect(engineConfiguration({ specification: replica, agentPassword: 'p', primaryPort: 6379 })).toMatch(/^replicaof 127\.0\.0\.1 6379$/m)
  expect(engineConfiguration({ specification: specification(), agentPassword: 'p', primaryPort: 0 })).not.toContain('replicaof 127')
})

test('a service that cannot be served is refused', () => {
  expect(() => engineSpecification(row([{ node: 'gru', role: 'primary' }]), 'mad')).toThrow(/no role here/)
  expect(() => engineSpecification(row([{ node: 'mad', role: 'replica' }]), 'mad')).toThrow(/no primary/)
  expect(() => engineSpecification({ ...row([{ node: 'mad', role: 'primary' }]), id: '..' }, 'mad')).toThrow(/no database/)
})

test('walls: the engine execs last, behind those that stand', () => {
  const walls = { server: '/r', version: '7.0.0', network: true, uid: true, capabilities: true, cgroup: null, outlive: false, missing: [] }
  expect(engineCommand(walls, '/l', 9).join(' ')).toBe(
    'flock -F -n -E 77 /l unshare -n setpriv --no-new-privs --pdeathsig KILL --reuid 9 --regid 9 --clear-groups --inh-caps=-all --bounding-set=-all /r --port 0 -',
  )
  expect(engineCommand({ ...walls, network: false, capabilities: false }, '/l', null).join(' ')).toBe('flock -F -n -E 77 /l setpriv --no-new-privs --pdeathsig KILL /r --port 0 -')
  expect(engineCommand({ ...walls, network: false, capabilities: false, outlive: true }, '/l', null).join(' ')).toBe('flock -F -n -E 77 /l setpriv --no-new-privs /r --port 0 -')
})

test('a cgroup for each engine: limits, and shares as far as they are handed down', () => {
  const base = mkdtempSync(join(tmpdir(), 'nearcast-cgroup-'))
  try {
    expect(probeCgroup(base)).toContain('is no writable cgroup v2')
    writeFileSync(join(base, 'cgroup.controllers'), 'cpu\n')
    writeFileSync(join(base, 'cgroup.subtree_control'), 'cpu\n')
    expect(probeCgroup(base)).toContain('is given no memory limit')
    writeFileSync(join(base, 'cgroup.controllers'), 'cpu memory pids\n')
    writeFileSync(join(base, 'cgroup.subtree_control'), 'cpu memory pids\n')
    const cgroup = probeCgroup(base)
    if (typeof cgroup === 'string') throw new Error(cgroup)
    limitEngine(cgroup, 'db', 42, { memoryBytes: 1 << 20, weight: weightOf({ maxMemoryBytes: 256 << 20 }) })
    const found = readdirSync(join(base, 'db')).map((file) => `${file} ${readFileSync(join(base, 'db', file), 'utf8')}`)
    expect(found.toSorted()).toEqual(['cgroup.procs 42', 'cpu.weight 200', 'memory.max 1048576', 'pids.max 64'])
    expect([1 << 20, 2 ** 40].map((maxMemoryBytes) => weightOf({ maxMemoryBytes }))).toEqual([25, 800])
    const read = (file: string): string => readFileSync(join(base, 'db', file), 'utf8')
    changeLimits(cgroup, 'db', { memoryBytes: 1 << 21, weight: 300 })
    expect([read('memory.max'), read('cpu.weight')]).toEqual([String(1 << 21), '300'])
    // What it holds by now may be more.
    changeLimits(cgroup, 'db', { memoryBytes: 1 << 19, weight: 50 })
    expect([read('memory.max'), read('cpu.weight')]).toEqual([String(1 << 21), '50'])
  } finally {
    rmSync(base, { recursive: true })
  }
})

test('directories: made once, put away under another name, too long ones refused', () => {
  const base = mkdtempSync(join(tmpdir(), 'nearcast-directories-'))
  try {
    const directories = new EngineDirectories(base, null)
    const { data } = directories.prepare('db')
    writeFileSync(join(data, 'file'), 'x')
    mkdirSync(join(base, 'lost+found'))
    expect(directories.services()).toEqual(['db'])
    const place = directories.retire('db', new Date(0))
    expect(place).toBe(join(base, 'removed', 'db-1970-01-01T000000000Z'))
    expect(existsSync(join(place, 'data', 'file'))).toBe(true)
    expect(directories.services()).toEqual([])
    expect(() => new EngineDirectories(join(base, 'x'.repeat(80)), null).prepare('db')).toThrow(/shorter dataDir/)
  } finally {
    rmSync(base, { recursive: true })
  }
})

test('a bridge carries only after status 0, and tells of a session that is unknown', () => {
  const session = Uint8Array.of(1)
  const dial = { target: { kind: 'unix', path: '/x' } as const, header: Uint8Array.of(9), session }
  const run = (status: number) => {
    const unknown: Uint8Array[] = []
    const brain = new BridgeBrain({ dialTimeoutMs: 1, statusTimeoutMs: 1, unknownSession: (each) => void unknown.push(each) })
    brain.on({ type: 'accepted', source: null, destination: null, peer: { kind: 'anonymous' } })
    expect(brain.on({ type: 'answered', question: null, answer: dial })).toEqual([{ type: 'dial', target: dial.target, timeoutMs: 1 }])
    expect(brain.on({ type: 'dialled' }).map(({ type }) => type)).toEqual(['timer', 'write', 'read'])
    const actions = brain.on({ type: 'received', side: 'upstream', bytes: Uint8Array.of(status, 42) }).map(({ type }) => type)
    return { actions, unknown }
  }
  expect(run(0)).toEqual({ actions: ['cancel-timer', 'consume', 'carry'], unknown: [] })
  expect(run(1)).toEqual({ actions: ['reset'], unknown: [session] })
  for (const status of [2, 3, 4, 5, 77]) expect(run(status)).toEqual({ actions: ['reset'], unknown: [] })
})

test('the configuration has defaults for everything but places, and refuses what it does not know', () => {
  const least = { id: 'mad', host: 'mad-1', region: 'mad', stateDir: '/s', dataDir: '/d', router: 'https://[::1]:7300' }
  expect(agentConfig.parse(least)).toMatchObject({ hop: { listen: '[::]:7400' }, redis: { startTimeoutMs: 4000 }, log: { level: 'info' } })
  expect(agentConfig.safeParse({ ...least, hop: { lisen: 'x' } }).success).toBe(false)
  expect(agentConfig.safeParse({ ...least, id: 'Mad 1' }).success).toBe(false)
})
