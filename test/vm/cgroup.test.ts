/**
 * Engines in cgroups of a true hierarchy: what the agent writes is what the kernel says, and who has more processor and memory
 * is who should.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmdirSync, writeFileSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { RespClient } from '../../agent/redis/resp/client.ts'
import { probeCgroup } from '../../agent/redis/engine/cgroup.ts'
import { databaseRow, DataNode } from '../support/data-node.ts'
import { until } from '../support/until.ts'

const ROOT = '/sys/fs/cgroup'
const HERE = [{ node: 'mad', role: 'primary' as const }]
const LONG_MS = 120_000
/** The kernel is a slow one: nobody is late. */
const PATIENT = { healthIntervalMs: 2000, readyTimeoutMs: LONG_MS, startTimeoutMs: LONG_MS, silentTimeoutMs: LONG_MS }
const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

/** As its tenant; nobody waits for its end. */
async function script(node: DataNode, service: string, text: string): Promise<void> {
  const client = new RespClient(node.engineSocket(service))
  closing.push(() => client.close())
  await client.command(['AUTH', 'pw'], LONG_MS)
  client.command(['EVAL', text, '0'], LONG_MS).catch(() => {})
}

function delegated(name: string): string {
  writeFileSync(join(ROOT, 'cgroup.subtree_control'), '+memory +pids +cpu +io')
  const directory = join(ROOT, name)
  closing.push(() => existsSync(directory) && rmdirSync(directory))
  return directory
}

test('one that nobody has made is made, and hands down what it has', () => {
  const directory = delegated('made')
  expect(probeCgroup(directory)).toEqual({ directory, controllers: new Set(['cpu', 'io', 'memory', 'pids']) })
})

test('one with a process in it, as a service manager delegates it, hands nothing down, and says so', () => {
  const directory = delegated('busy')
  mkdirSync(directory)
  writeFileSync(join(directory, 'cgroup.procs'), String(process.pid))
  closing.push(() => writeFileSync(join(ROOT, 'cgroup.procs'), String(process.pid)))
  expect(probeCgroup(directory)).toContain('has processes of its own')
})

test('engines live in cgroups of their own, with limits and shares by plan, which change with it; they go with their engine', async () => {
  const directory = delegated('engines')
  const node = new DataNode({ id: 'mad', redis: { cgroup: directory, ...PATIENT } })
  closing.push(() => node.close())
  const read = (service: string, file: string): string => readFileSync(join(directory, service, file), 'utf8').trim()
  await node.feed(databaseRow('small', HERE, 'pw', { maxMemoryBytes: 16 << 20 }), databaseRow('large', HERE, 'pw', { maxMemoryBytes: 256 << 20 }))
  for (const service of ['small', 'large']) await until(`${service} is available`, () => node.agent.tenants.supervisors.get(service)?.reason === null, LONG_MS)
  expect(['small', 'large'].map((service) => [read(service, 'cgroup.procs'), read(service, 'cpu.weight'), read(service, 'io.weight'), read(service, 'memory.max'), read(service, 'pids.max')])).toEqual([
    [String(node.enginePid('small')), '50', 'default 50', String((32 + 64 + 64) << 20), '64'],
    [String(node.enginePid('large')), '200', 'default 200', String((512 + 256 + 64) << 20), '64'],
  ])

  // Both want all there is, of one processor.
  const pids = [node.enginePid('small'), node.enginePid('large')]
  for (const pid of pids) execFileSync('taskset', ['-acp', '0', String(pid)])
  const used = (): number[] => ['small', 'large'].map((service) => Number(/^usage_usec (\d+)/m.exec(read(service, 'cpu.stat'))?.[1]))
  for (const service of ['small', 'large']) await script(node, service, 'while true do end')
  const before = used()
  await until('much of it is used', () => used().reduce((sum, each, index) => sum + each - (before[index] ?? 0), 0) > 4_000_000, LONG_MS)
  const [little = 0, much = 0] = used().map((each, index) => each - (before[index] ?? 0))
  console.log(`processor: ${Math.round(little / 1000)} ms with a weight of 50, ${Math.round(much / 1000)} ms with 200`)
  expect(much / little).toBeGreaterThan(2)
  for (const pid of pids) process.kill(pid, 'SIGKILL')
  for (const service of ['small', 'large']) await until(`${service} is available again`, () => node.agent.tenants.supervisors.get(service)?.reason === null && !pids.includes(node.enginePid(service)), LONG_MS)

  const pid = node.enginePid('small')
  await node.feed(databaseRow('small', HERE, 'pw', { maxMemoryBytes: 64 << 20 }))
  await until('it has more', () => read('small', 'memory.max') === String((128 + 64 + 64) << 20), LONG_MS)
  expect([read('small', 'cpu.weight'), read('small', 'cgroup.procs')]).toEqual(['100', String(pid)])

  await node.feed({ table: 'services', key: 'small', row: null }, { table: 'services', key: 'large', row: null })
  await until('theirs are gone', () => !existsSync(join(directory, 'small')) && !existsSync(join(directory, 'large')), LONG_MS)
})

test('who takes more memory than its cgroup may have is ended, and its neighbour is not', async () => {
  const directory = delegated('hungry')
  const node = new DataNode({ id: 'mad', redis: { cgroup: directory, ...PATIENT } })
  closing.push(() => node.close())
  await node.feed(databaseRow('hungry', HERE, 'pw', { maxMemoryBytes: 16 << 20 }), databaseRow('other', HERE, 'pw'))
  for (const service of ['hungry', 'other']) await until(`${service} is available`, () => node.agent.tenants.supervisors.get(service)?.reason === null, LONG_MS)
  const [pid, other] = [node.enginePid('hungry'), node.enginePid('other')]
  // Lua's memory is none that `maxmemory` counts.
  await script(node, 'hungry', 'local t = {} for i = 1, 1000000 do t[i] = string.rep(tostring(i), 1000) end return #t')
  await until('it is ended', () => node.enginePid('hungry') !== pid, LONG_MS)
  expect(/oom_kill (\d+)/.exec(readFileSync(join(directory, 'memory.events'), 'utf8'))?.[1]).not.toBe('0')
  await until('and comes back', () => node.agent.tenants.supervisors.get('hungry')?.reason === null, LONG_MS)
  expect(node.enginePid('other')).toBe(other)
})
