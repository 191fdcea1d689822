/**
 * Load for a long time, while programs and nodes are killed at random: no acknowledged write is lost or changed, no
 * connection stays behind, no memory and no descriptor leaks.
 *
 *   npm run soak -- [--minutes 30] [--plane auto|portable|uring] [--seed n]
 *
 * Kills are those of any one program, with time to heal between them. In the end the load stops, and every proxy and agent
 * has to be back at what it held before it. Prints a line per kill and one of JSON in the end; exits 1 when a promise broke.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Cluster, eventually } from '../support/cluster.ts'
import type { Database } from '../support/cluster.ts'
import { Load } from '../support/load.ts'
import { Random, testSeed } from '../support/random.ts'

const PROGRAMS = ['mad-1/proxy', 'ams-1/proxy', 'mad-1/agent', 'ams-1/agent']
/** Of a proxy on the io_uring plane: its data threads, one after the other. */
const THREADS = ' (a data thread)'
const VICTIMS = [...PROGRAMS, 'mad-1/router', 'links/relay', 'mad/redis:acme/always', 'mad/redis:acme/everysec', 'ams/redis:acme/everysec']
/** Whole connections and large answers alike. */
const BALLAST_BYTES = 4000
const BALLAST_KEYS = 5000
/** Slow enough that half an hour's numbers have room in a small database. */
const PACE_MS = 25
/** Of each program's log, when something doesn't heal. */
const LAST_LINES = 40
const LEAST_PAUSE_MS = 4000
const PAUSE_SPREAD_MS = 8000
/** What a program may hold more than at its start, after load that is over: buffers that are kept, compiled code. */
const MORE_DESCRIPTORS = 8
const MORE_MEMORY_BYTES = 160 << 20

interface Held {
  readonly descriptors: number
  readonly memoryBytes: number
  readonly open: number
  /** Seconds since 1970. */
  readonly since: number
}

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '30' }, plane: { type: 'string', default: 'auto' }, seed: { type: 'string' } } })
if (values.seed !== undefined) process.env['NEARCAST_SEED'] = values.seed
process.env['NEARCAST_TEST_PLANE'] = values.plane
const random = new Random(testSeed('soak'))
const victims = values.plane === 'uring' ? [...VICTIMS, ...['mad-1/proxy', 'ams-1/proxy', 'mad-1/proxy', 'ams-1/proxy'].map((proxy) => proxy + THREADS)] : VICTIMS

/** Of one program, as its own metrics say. */
async function held(cluster: Cluster, program: string): Promise<Held> {
  const text = await cluster.dev('metrics', program)
  const sum = (name: string): number =>
    text.split('\n').filter((line) => new RegExp(`^\\w*${name}(?:\\{.*\\})? `).test(line)).reduce((total, line) => total + Number(line.split(' ').at(-1)), 0)
  return { descriptors: sum('process_open_fds'), memoryBytes: sum('process_resident_memory_bytes'), open: sum('connections_open'), since: sum('process_start_time_seconds') }
}

const look = async (cluster: Cluster): Promise<ReadonlyMap<string, Held>> => new Map(await Promise.all(PROGRAMS.map(async (program) => [program, await held(cluster, program)] as const)))

const cluster = await Cluster.start({ topology: 'pair' })
const broken: string[] = []
let kills = 0
let acknowledged = 0
try {
  const create = (name: string, ...more: string[]): Promise<Database> =>
    cluster.json<Database>('redis', 'create', '--org', 'acme', '--name', name, '--region', 'mad', '--append-fsync', name, ...more)
  const [always, everysec] = [await create('always'), await create('everysec', '--replicas', 'ams')]
  const before = await look(cluster)
  const loads = [new Load(cluster, 'acme/ams', always, 'far', 0, 0, PACE_MS), new Load(cluster, 'acme/mad', everysec, 'near', 0, 0, PACE_MS), new Load(cluster, 'acme/mad', always, 'large', BALLAST_BYTES, BALLAST_KEYS, PACE_MS)]
  const endMs = performance.now() + Number(values.minutes) * 60_000
  while (performance.now() < endMs) {
    await delay(LEAST_PAUSE_MS + random.below(PAUSE_SPREAD_MS))
    const victim = victims[random.below(victims.length)] ?? ''
    if (victim.endsWith(THREADS)) await cluster.dev('drill', victim.slice(0, -THREADS.length))
    else await cluster.dev('kill', victim)
    const startMs = performance.now()
    try {
      await Promise.all(loads.map((load) => load.more(20)))
    } catch (error) {
      // The cluster and its logs are gone in a moment.
      console.log(`${victim} killed, and somebody doesn't write again:`)
      console.log(await cluster.dev('status'))
      for (const program of PROGRAMS) console.log(`${program}:\n${(await cluster.dev('logs', program)).split('\n').slice(-LAST_LINES).join('\n')}`)
      throw error
    }
    kills++
    console.log(`${victim} killed; all write again after ${((performance.now() - startMs) / 1000).toFixed(1)} s; ${loads.map(({ books }) => books.acknowledged).join(' + ')} acknowledged`)
  }
  for (const load of loads) {
    const verdict = await load.verdict()
    acknowledged += verdict.acknowledged
    if (verdict.lost.length > 0) broken.push(`${verdict.lost.length} acknowledged writes are lost`)
    if (verdict.wrong.length > 0) broken.push(`${verdict.wrong.length} values are not what was written`)
  }
  for (const program of PROGRAMS) {
    const started = before.get(program)
    let now = await held(cluster, program)
    const back = (): boolean => now.open <= (started?.open ?? 0) && now.descriptors <= (started?.descriptors ?? 0) + MORE_DESCRIPTORS
    await eventually(`${program} is back at what it held`, async () => {
      now = await held(cluster, program)
      return back()
    }).catch(() => broken.push(`${program} holds ${now.open} connections and ${now.descriptors} descriptors; ${started?.open} and ${started?.descriptors} before`))
    const grownBytes = now.memoryBytes - (started?.memoryBytes ?? 0)
    console.log(`${program}: ${now.open} open, ${now.descriptors} descriptors, ${(now.memoryBytes / 2 ** 20).toFixed(0)} MiB (${(grownBytes / 2 ** 20).toFixed(0)} more), up for ${(Date.now() / 1000 - now.since).toFixed(0)} s`)
    if (grownBytes > MORE_MEMORY_BYTES) broken.push(`${program} has grown by ${(grownBytes / 2 ** 20).toFixed(0)} MiB`)
  }
} finally {
  await cluster.end()
}
console.log(JSON.stringify({ ok: broken.length === 0, plane: values.plane, minutes: Number(values.minutes), kills, acknowledged, broken }))
process.exitCode = broken.length === 0 ? 0 : 1
