/**
 * `nearcast demo --scale 1000`: many databases on one router. Creates them, dials each as soon as the API answers, lets
 * their engines rest, dials them again in waves, holds many connections open at once, and puts more connections through
 * one proxy to one agent than an address pair has ports. Prints what it measured and a verdict a step.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { distribution } from '../../../lib/distribution.ts'
import type { WantedPlane } from '../../../lib/plane/wanted.ts'
import type { Distribution } from '../../../lib/distribution.ts'
import { ApiClient } from '../../api-client.ts'
import { redisObject } from '../../api-objects.ts'
import { colours } from '../../colours.ts'
import { liveObject } from '../../top.ts'
import { DemoCluster } from '../cluster.ts'
import { ScaleAppHost } from './app-host.ts'
import type { Outcome, Target } from './dialer.ts'
import { organizations, planDatabases, topologyText } from './plan.ts'
import type { PlannedDatabase } from './plan.ts'

export interface ScaleOptions {
  readonly databases: number
  /** Open at once. */
  readonly open: number
  /** Over time between one proxy and one agent. */
  readonly churn: number
  readonly json: boolean
  readonly entry: string
  readonly plane?: WantedPlane
}

interface Made extends PlannedDatabase {
  readonly target: Target
}

interface StepResult {
  readonly name: string
  readonly ok: boolean
  readonly ms: number
  readonly error?: string
  readonly [measured: string]: unknown
}

const WAVE = 50
/** At the same time: more would only wait for each other in the router. */
const CREATING = 5
const IDLE_STOP_MINUTES = 0.5
const REST_TIMEOUT_MS = 180_000
const CHURN_LANES = 16
const CHURN_LIMIT_MS = 1_500_000
/** The proxy beside everybody's app host in mad, and the agent that is nearest to it: on another host, so over TLS. */
const CHURN_PROXY = 'mad-2/proxy'
const CHURN_NODE = 'mad-1'

/** @returns whether every step held. */
export async function scale(options: ScaleOptions): Promise<boolean> {
  const print = (line: string): void => void (options.json ? process.stderr : process.stdout).write(`${line}\n`)
  const directory = mkdtempSync(join(tmpdir(), 'nearcast-scale-'))
  const topology = join(directory, 'topology.toml')
  writeFileSync(topology, topologyText(options.databases, IDLE_STOP_MINUTES))
  print(colours.bold(`Starting a cluster for ${options.databases} databases of ${organizations(options.databases).length} organizations`))
  try {
    const cluster = await DemoCluster.start(options.entry, (line) => print(colours.dim(`  ${line}`)), { topology, plane: options.plane })
    const stop = (): void => void cluster.stop()
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop)
    const run = new ScaleRun(cluster, options, print)
    try {
      return await run.story()
    } finally {
      await run.close()
      await cluster.stop()
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, stop)
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

class ScaleRun {
  readonly #cluster: DemoCluster
  readonly #options: ScaleOptions
  readonly #print: (line: string) => void
  readonly #api: ApiClient
  readonly #appHosts = new Map<string, Promise<ScaleAppHost>>()
  readonly #made: Made[] = []
  readonly #results: StepResult[] = []

  constructor(cluster: DemoCluster, options: ScaleOptions, print: (line: string) => void) {
    this.#cluster = cluster
    this.#options = options
    this.#print = print
    this.#api = new ApiClient({ url: cluster.facts.api, token: cluster.facts.token })
  }

  async story(): Promise<boolean> {
    await this.#step('create', 'Create them, and dial each as soon as the API answers', () => this.#create())
    await this.#step('rest', 'Engines that nobody uses are stopped', () => this.#rest())
    await this.#step('waves', `Dial all of them again, ${WAVE} at a time: resting engines start while the client waits`, () => this.#waves())
    await this.#step('open', `${this.#options.open} connections open at once`, () => this.#open())
    await this.#step('churn', `${this.#options.churn} connections between one proxy and one agent`, () => this.#churn())
    const ok = this.#results.every((result) => result.ok)
    this.#print(`\n${ok ? colours.green('It holds at this scale') : colours.red('It does not hold at this scale')}`)
    if (this.#options.json) process.stdout.write(`${JSON.stringify({ steps: this.#results, ok })}\n`)
    return ok
  }

  async close(): Promise<void> {
    for (const appHost of this.#appHosts.values()) await appHost.then((host) => host.stop()).catch(() => undefined)
  }

  async #step(name: string, title: string, work: () => Promise<Record<string, unknown>>): Promise<void> {
    this.#print(`\n${colours.bold(title)}`)
    const startedMs = performance.now()
    let measured: Record<string, unknown> = {}
    let error: string | undefined
    try {
      measured = await work()
    } catch (failure) {
      error = failure instanceof Error ? failure.message : String(failure)
    }
    const ms = Math.round(performance.now() - startedMs)
    this.#results.push({ name, ok: error === undefined, ms, ...measured, ...(error !== undefined && { error }) })
    this.#print(error === undefined ? colours.green(`  ✓ ${name} (${(ms / 1000).toFixed(1)} s)`) : colours.red(`  ✗ ${name}: ${error}`))
  }

  #appHost(org: string, region: string): Promise<ScaleAppHost> {
    const key = `${org}/${region}`
    const known = this.#appHosts.get(key) ?? ScaleAppHost.start(this.#cluster, org, region)
    this.#appHosts.set(key, known)
    return known
  }

  async #create(): Promise<Record<string, unknown>> {
    const planned = planDatabases(this.#options.databases)
    const createMs: number[] = []
    const dialableMs: number[] = []
    const failures: string[] = []
    // Ready beforehand: their start isn't Nearcast's time.
    for (const { org, region } of planned) await this.#appHost(org, region)
    for (let begun = 0; begun < planned.length; begun += WAVE) {
      const wave = planned.slice(begun, begun + WAVE)
      const lane = async (): Promise<void> => {
        for (let next = wave.shift(); next; next = wave.shift()) await this.#createOne(next, createMs, dialableMs).catch((error: unknown) => failures.push(String(error)))
      }
      await Promise.all(Array.from({ length: CREATING }, lane))
      this.#print(`  ${this.#made.length} of ${planned.length}; create to dialable ${said(distribution(dialableMs))}`)
    }
    const twice = this.#made.length - new Set(this.#made.map(({ target }) => target.address)).size
    if (failures.length > 0) throw new Error(`${failures.length} failed, the first: ${failures[0]}`)
    if (twice > 0) throw new Error(`${twice} addresses were given twice`)
    this.#print(`  ${this.#made.length} addresses, none twice`)
    return { databases: this.#made.length, addressesTwice: twice, createMs: distribution(createMs), createToDialableMs: distribution(dialableMs) }
  }

  async #createOne(planned: PlannedDatabase, createMs: number[], dialableMs: number[]): Promise<void> {
    const { org, name, region } = planned
    const startedMs = performance.now()
    const { address, port, password = '' } = await this.#api.post(`/v1/orgs/${org}/redis`, { name, region }, redisObject)
    createMs.push(performance.now() - startedMs)
    const target = { address, port, password }
    answeredAll(await (await this.#appHost(org, region)).order({ op: 'ping', targets: [target] }), name)
    dialableMs.push(performance.now() - startedMs)
    this.#made.push({ ...planned, target })
  }

  async #rest(): Promise<Record<string, unknown>> {
    const startedMs = performance.now()
    for (;;) {
      const { resting, all } = await this.#engines()
      this.#print(`  ${resting} of ${all} engines rest`)
      if (all > 0 && resting === all) return { engines: all, resting }
      if (performance.now() - startedMs > REST_TIMEOUT_MS) throw new Error(`${all - resting} engines still run`)
      await delay(5000)
    }
  }

  async #engines(): Promise<{ resting: number; all: number }> {
    const { agents } = await this.#api.get('/v1/live', liveObject)
    const databases = agents.flatMap((agent) => agent.databases)
    return { resting: databases.filter((each) => each['resting'] === true).length, all: databases.length }
  }

  async #waves(): Promise<Record<string, unknown>> {
    const ms: number[] = []
    for (let begun = 0; begun < this.#made.length; begun += WAVE) {
      const wave = Map.groupBy(this.#made.slice(begun, begun + WAVE), ({ org, region }) => `${org}/${region}`)
      const outcomes = await Promise.all(
        [...wave].map(async ([place, some]) => {
          const [org = '', region = ''] = place.split('/')
          return (await this.#appHost(org, region)).order({ op: 'ping', targets: some.map(({ target }) => target) })
        }),
      )
      for (const outcome of outcomes) {
        answeredAll(outcome, `wave ${begun / WAVE + 1}`)
        ms.push(...outcome.ms)
      }
    }
    const found = distribution(ms)
    this.#print(`  ${ms.length} answered; dial to PONG ${said(found)}`)
    return { dialled: ms.length, dialMs: found }
  }

  async #open(): Promise<Record<string, unknown>> {
    const { open } = this.#options
    const places = [...Map.groupBy(this.#made, ({ org, region }) => `${org}/${region}`)]
    const each: ScaleAppHost[] = []
    // One app host after the other: waves of 50, engines that rest again start with them.
    for (const [index, [place, some]] of places.entries()) {
      const [org = '', region = ''] = place.split('/')
      const host = await this.#appHost(org, region)
      each.push(host)
      const count = Math.floor(open / places.length) + (index < open % places.length ? 1 : 0)
      answeredAll(await host.order({ op: 'hold', targets: some.map(({ target }) => target), count }), place)
    }
    const checks = await Promise.all(each.map((host) => host.order({ op: 'check' })))
    for (const check of checks) answeredAll(check, 'while all are open')
    const { proxies } = await this.#api.get('/v1/live', liveObject)
    const seen = proxies.reduce((sum, { connections }) => sum + connections, 0)
    await Promise.all(each.map((host) => host.order({ op: 'release' })))
    const answered = checks.reduce((sum, { ms }) => sum + ms.length, 0)
    this.#print(`  ${answered} answered while all were open; the proxies count ${seen}`)
    if (answered < open || seen < open) throw new Error(`only ${Math.min(answered, seen)} were open`)
    return { open: answered, pingMs: distribution(checks.flatMap(({ ms }) => ms)) }
  }

  async #churn(): Promise<Record<string, unknown>> {
    const made = this.#made.find(({ region }) => region === 'mad')
    if (!made) throw new Error('there is no database in mad')
    const host = await this.#appHost(made.org, 'mad')
    const before = await this.#dialsToNode()
    const startedMs = performance.now()
    let left = this.#options.churn
    const ms: number[] = []
    while (left > 0 && performance.now() - startedMs < CHURN_LIMIT_MS) {
      const limitMs = CHURN_LIMIT_MS - (performance.now() - startedMs)
      const outcome = await host.order({ op: 'churn', target: made.target, count: Math.min(left, 2500), lanes: CHURN_LANES, limitMs })
      answeredAll(outcome, 'connections, one after the other')
      left -= outcome.ms.length
      ms.push(...outcome.ms)
      const perSecond = Math.round((ms.length / (performance.now() - startedMs)) * 1000)
      this.#print(`  ${ms.length} of ${this.#options.churn}, ${perSecond} a second; dial to PONG ${said(distribution(outcome.ms))}`)
    }
    const dials = (await this.#dialsToNode()) - before
    const perSecond = Math.round((ms.length / (performance.now() - startedMs)) * 1000)
    this.#print(`  the proxy ${CHURN_PROXY} counts ${dials} dials to ${CHURN_NODE}; limited by ${left > 0 ? 'time' : 'nothing but processor time'}`)
    if (left > 0) throw new Error(`${left} were left after ${CHURN_LIMIT_MS / 1000} s, at ${perSecond} a second`)
    if (dials < this.#options.churn) throw new Error(`only ${dials} of them went from ${CHURN_PROXY} to ${CHURN_NODE}`)
    return { connections: ms.length, dials, perSecond, dialMs: distribution(ms) }
  }

  /** By the proxy's own counter. */
  async #dialsToNode(): Promise<number> {
    const { stdout } = await this.#cluster.nearcast(['dev', 'metrics', CHURN_PROXY])
    return Number(new RegExp(`^nearcast_proxy_dials_total\\{node="${CHURN_NODE}",outcome="ok"\\} (\\d+)$`, 'm').exec(stdout)?.[1] ?? 0)
  }
}

/** @throws Error with the commonest reason */
function answeredAll({ errors }: Outcome, what: string): void {
  const [commonest] = Object.entries(errors).toSorted((left, right) => right[1] - left[1])
  if (commonest) throw new Error(`${what}: ${commonest[1]} failed: ${commonest[0]}`)
}

function said(found: Distribution | null): string {
  return found === null ? '-' : `p50 ${found.p50.toFixed(0)} ms, p99 ${found.p99.toFixed(0)} ms`
}
