/** Whatever ends a cluster, nothing of it is left: no process, socket, interface, route, namespace or file. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import type { Test } from 'tap'
import { Cluster, eventually } from '../support/cluster.ts'
import type { ClusterOptions } from '../support/cluster.ts'
import { mentioning } from '../support/processes.ts'
import { Room } from '../support/room.ts'

const room = await Room.open()
t.teardown(() => room.close())
const before = room.look()
const options: ClusterOptions = { prefix: room.prefix, root: room.repository, env: room.env }

/** Ends it, and compares what is there with what was there before anything ran. */
async function leavesNothing(t: Test, cluster: Cluster, end: () => unknown): Promise<void> {
  const ended = cluster.starter.exitCode === null ? once(cluster.starter, 'exit') : undefined
  await end()
  await ended
  await eventually('its processes are gone', () => cluster.leftovers().length === 0, () => cluster.leftovers().join('\n'))
  t.same(cluster.leftovers(), [], 'no process')
  const after = room.look()
  for (const [what, list] of Object.entries(before)) t.same(after[what], list, `no ${what}`)
}

const kill = (pid: number): boolean => process.kill(pid, 'SIGKILL')

const ways: readonly (readonly [string, 'npm' | 'nearcast', (cluster: Cluster) => unknown])[] = [
  ['Ctrl-C under npm start', 'npm', ({ starter }) => process.kill(-(starter.pid ?? 0), 'SIGINT')],
  ['Ctrl-C under nearcast dev', 'nearcast', ({ starter }) => process.kill(-(starter.pid ?? 0), 'SIGINT')],
  ['dev down', 'nearcast', (cluster) => cluster.dev('down')],
  ['SIGKILL of npm', 'npm', (cluster) => kill(cluster.process('starter'))],
  ['SIGKILL of the bootstrap under npm', 'npm', (cluster) => kill(cluster.process('bootstrap'))],
  ['SIGKILL of the bootstrap of nearcast', 'nearcast', (cluster) => kill(cluster.process('bootstrap'))],
  ['SIGKILL of the supervisor', 'nearcast', (cluster) => kill(cluster.process('supervisor'))],
  ['SIGKILL of unshare', 'nearcast', (cluster) => kill(cluster.process('unshare'))],
  ['SIGKILL of process 1', 'nearcast', (cluster) => kill(cluster.process('process 1'))],
]

for (const [name, starter, end] of ways) {
  await t.test(name, async (t) => {
    const cluster = await Cluster.start({ ...options, starter, topology: 'single' })
    t.teardown(() => cluster.end())
    t.ok(room.look()['listening']?.length, 'it did listen')
    await leavesNothing(t, cluster, () => end(cluster))
  })
}

const interrupt = (line: string, starter: ChildProcess): void => {
  if (line.includes('agents')) process.kill(-(starter.pid ?? 0), 'SIGINT')
}

await t.test('Ctrl-C while it starts', async (t) => {
  const failure: unknown = await Cluster.start({ ...options, topology: 'single', progress: interrupt }).catch((error: unknown) => error)
  const message = failure instanceof Error ? failure.message : ''
  t.match(message, /dev\.failed: Ended before the cluster was ready/, 'it says so')
  const name = /The cluster (\w+) did not/.exec(message)?.[1] ?? 'no name'
  await eventually('its processes are gone', () => mentioning(name).length === 0)
  t.same(room.look(), before, 'nothing is left')
})

await t.test('two clusters at once: the end of one is not the end of the other', async (t) => {
  const [one, other] = await Promise.all([Cluster.start({ ...options, topology: 'single' }), Cluster.start({ ...options, topology: 'single' })])
  t.teardown(() => Promise.all([one.end(), other.end()]))
  t.not(one.facts.forward?.port, other.facts.forward?.port, 'each has its own port')
  t.same(new Set([one.facts.forward?.port, other.facts.forward?.port]).has(16_379), true, 'one of them the usual one')
  const again = await one.nearcast(['dev'])
  t.match(again.stderr, /^dev\.running: A cluster named/, 'a name is given once')
  t.equal(again.code, 1, 'which is an error')
  await one.end()
  t.equal(await other.redis('acme/mad', other.facts.databases[0] ?? { url: '' }, 'ping'), 'PONG', 'the other serves')
  await other.end()
  t.same(room.look(), before, 'nothing is left')
})
