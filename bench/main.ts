/**
 * `npm run bench -- proxy | redis | wireguard | backbone [--rounds n] [--only a,b] [--quick] [--json] [--write]`: what a connection costs through Nearcast
 * and through others, side by side; what a database costs beside that. Runs itself again inside namespaces of its own (world.ts), as root or any other user.
 */
import { spawn } from 'node:child_process'
import { parseArgs } from 'node:util'
import { machine } from './machine.ts'
import { fifty, keepers } from './peers/data-nodes.ts'
import { haproxy } from './peers/haproxy.ts'
import { nearcast, portable } from './peers/nearcast.ts'
import { nginx } from './peers/nginx.ts'
import type { Peer } from './peers/peer.ts'
import { pipe } from './peers/pipe.ts'
import { agentCrowded, agentPassing, agentReading, agentResting, agentThousand, wholePath } from './peers/whole-path.ts'
import { firstLine } from './program.ts'
import { plot } from './report/plot.ts'
import { writeDatabases, writeResults } from './report/readme.ts'
import { cells, described, markdown, padded, shortened } from './report/table.ts'
import { Runner } from './runner.ts'
import type { Result } from './runner.ts'
import type { Scenario } from './scenario.ts'
import { bulk } from './scenarios/bulk.ts'
import { connections } from './scenarios/connections.ts'
import { crowded } from './scenarios/crowded.ts'
import { failover } from './scenarios/failover.ts'
import { idle } from './scenarios/idle.ts'
import { REDIS_SCENARIOS } from './scenarios/redis.ts'
import { calm, saturated, twoThreads, wholePathRequests } from './scenarios/requests.ts'
import { isolation, makeWorld } from './world.ts'
import { run as runWireguard, USAGE as WIREGUARD_USAGE, wireguardOptions } from './wireguard/main.ts'

interface Subject {
  readonly peers: readonly Peer[]
  readonly scenarios: readonly Scenario[]
  /** Not among the columns of others. */
  readonly ours: readonly Peer[]
}

const SUBJECTS: Readonly<Record<string, Subject>> = {
  proxy: { peers: [nearcast, haproxy, nginx, pipe, portable, wholePath], scenarios: [saturated, twoThreads, calm, connections, bulk, crowded, failover, idle, wholePathRequests], ours: [nearcast, wholePath] },
  redis: { peers: [agentPassing, agentReading, agentResting, agentCrowded, agentThousand, keepers, fifty, haproxy], scenarios: REDIS_SCENARIOS, ours: [agentPassing, agentReading, agentResting, agentCrowded, agentThousand, keepers, fifty] },
}
const USAGE = Object.entries(SUBJECTS)
  .map(([name, { scenarios }]) => `usage: npm run bench -- ${name} [--rounds n] [--only ${scenarios.map(({ id }) => id).join(',')}] [--quick] [--json] [--write]`)
  .concat(WIREGUARD_USAGE)
  .join('\n')
const INSIDE = 'NEARCAST_BENCH_INSIDE'
const ROUNDS = 20
const QUICK_ROUNDS = 3
/** Whatever is still open then ends with the namespace. */
const EXIT_TIMEOUT_MS = 2000

interface Options {
  readonly subject: Subject
  readonly scenarios: readonly Scenario[]
  readonly rounds: number
  readonly quick: boolean
  readonly json: boolean
  readonly write: boolean
}

/** @throws Error with the usage. */
function optionsOf(words: readonly string[]): Options {
  const kinds = { rounds: { type: 'string' }, only: { type: 'string' }, quick: { type: 'boolean' }, json: { type: 'boolean' }, write: { type: 'boolean' } } as const
  const { values, positionals } = parseArgs({ args: [...words], options: kinds, allowPositionals: true })
  const subject = SUBJECTS[positionals[0] ?? '']
  if (positionals.length !== 1 || subject === undefined) throw new Error(USAGE)
  const wanted = values.only?.split(',') ?? subject.scenarios.map(({ id }) => id)
  const scenarios = subject.scenarios.filter(({ id }) => wanted.includes(id))
  const rounds = values.rounds === undefined ? (values.quick ? QUICK_ROUNDS : ROUNDS) : Number(values.rounds)
  if (scenarios.length !== wanted.length || !Number.isInteger(rounds) || rounds < 1 || rounds > 1000) throw new Error(USAGE)
  return { subject, scenarios, rounds, quick: values.quick ?? false, json: values.json ?? false, write: values.write ?? false }
}

async function runInside(needed: readonly string[]): Promise<number> {
  const missing = needed.filter((name) => firstLine(name, '--version') === null)
  if (missing.length > 0) throw new Error(`The bench needs ${missing.join(', ')}: install them first.`)
  const [command = '', ...words] = [...isolation(), process.execPath, ...process.argv.slice(1)]
  const child = spawn(command, words, { stdio: 'inherit', env: { ...process.env, [INSIDE]: '1' } })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill('SIGKILL'))
  return await new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code) => resolve(code ?? 1))
  })
}

/** Words that make no sense are found before anything is started. */
function measure(words: readonly string[]): () => Promise<void> {
  const options = optionsOf(words)
  return () => run(options)
}

function measureWireguard(words: readonly string[]): () => Promise<void> {
  const options = wireguardOptions(words)
  return () => runWireguard(options)
}

const say = (text: string): void => void process.stderr.write(`${text}\n`)

async function run({ subject, scenarios, rounds, quick, json, write }: Options): Promise<void> {
  const peers = subject.peers.filter((peer) => {
    const reason = peer.missing()
    if (reason !== null) say(`${peer.label} takes no part: ${reason}`)
    return reason === null
  })
  const about = machine(Object.fromEntries(peers.map((peer) => [peer.id, peer.version()])))
  const world = await makeWorld()
  const runner = new Runner({ world, peers, rounds, quick, progress: say })
  const configurations = Object.fromEntries(peers.map((peer) => [peer.id, peer.configuration(world, runner.portOf(peer.id))]))
  const results: Result[] = []
  try {
    for (const scenario of scenarios) results.push(...(await runner.run(scenario)))
  } finally {
    await runner.close()
    await world.close()
  }
  const order = new Map(peers.filter((peer) => !subject.ours.includes(peer)).map(({ id, label }) => [id, label]))
  const table = cells(results, order)
  if (json) process.stdout.write(`${JSON.stringify({ scenarios: results, machine: about, configurations })}\n`)
  else {
    for (const [id, text] of Object.entries(configurations)) process.stdout.write(`--- ${id}\n${text}`)
    process.stdout.write(`\n${padded(table)}\n\n${described(about, rounds)}\n`)
  }
  if (write && subject === SUBJECTS['redis']) writeDatabases(`${markdown(table)}\n\n${described(about, rounds)}`)
  else if (write) writeResults(`${markdown(table)}\n\n${described(about, rounds)}\n\n![The same as bars](proxy.svg)`, markdown(shortened(table)), plot(results, order, 'Nearcast proxy beside others'))
}

try {
  if (process.argv[2] === 'tables') {
    await import('./tables.ts')
    process.exit()
  }
  if (process.argv[2] === 'backbone') {
    await import('./backbone.ts')
    process.exit()
  }
  const words = process.argv.slice(2)
  const isWireguard = words[0] === 'wireguard'
  const act = isWireguard ? measureWireguard(words.slice(1)) : measure(words)
  if (process.env[INSIDE] === '1') await act().finally(() => setTimeout(() => process.exit(1), EXIT_TIMEOUT_MS).unref())
  else process.exitCode = await runInside(isWireguard ? ['openssl', 'ip', 'nsenter', 'ping', 'wg', 'wireguard-go'] : ['redis-server', 'redis-benchmark', 'redis-cli', 'openssl', 'ip'])
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
