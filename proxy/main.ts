/**
 * The proxy: accepts connections to Flycast addresses beside the clients, and carries each to the nearest healthy node
 * that holds its service. The only place that constructs across rooms.
 *
 *   node proxy/main.ts --config proxy.toml
 */
import { join as joinPath } from 'node:path'
import { startAdmin } from '../lib/admin.ts'
import { loadConfig } from '../lib/config.ts'
import { NearcastError } from '../lib/errors.ts'
import { FeedReader } from '../lib/feed/reader.ts'
import { obtainIdentity } from '../lib/joining.ts'
import { probeTransparent } from '../lib/kernel/transparent.ts'
import { announceReady, Lifecycle, stopOnSignals } from '../lib/lifecycle.ts'
import { createLogger } from '../lib/log.ts'
import type { Logger } from '../lib/log.ts'
import { Metrics } from '../lib/metrics.ts'
import { choosePlane, planeChoice } from '../lib/plane/choose.ts'
import { programOptions, exitWith, keepCompiled } from '../lib/program.ts'
import { StandardOutput } from '../lib/standard-output.ts'
import type { Carrier } from './carrier.ts'
import { dataThreads, ingressNetwork, proxyConfig } from './config.ts'
import type { ProxyConfig } from './config.ts'
import { prefixOf } from './data-path.ts'
import { Feed } from './feed.ts'
import { chooseIntercept } from './host/interception.ts'
import { HostWall } from './host/wall.ts'
import { runCommand } from '../lib/host-command.ts'
import { Journal } from './journal.ts'
import { Listeners } from './listeners.ts'
import { OneListener } from './one-listener.ts'
import { LocalCarrier } from './local-carrier.ts'
import type { LocalCarrierOptions } from './local-carrier.ts'
import { Measures, measureState } from './measures.ts'
import { Nodes } from './nearest/nodes.ts'
import { eventsFor } from './record-events.ts'
import { Routes } from './routes.ts'
import { status } from './status.ts'
import { TablesInForce } from './tables-in-force.ts'
import { DataThreads } from './threads/data-threads.ts'
import type { DataThreadsOptions } from './threads/data-threads.ts'
import { TallyBook } from './threads/tally.ts'
import { openTlsEdge } from './tls/edge.ts'

const PROGRAM = 'proxy 0.1.0'
/** Monotonic milliseconds. */
const now = (): number => performance.now()

export interface RunningProxy {
  readonly adminPort: number | null
  /** Ports that clients can reach. */
  ports(): number[]
  stop(): Promise<string[]>
}

/** Resolves once a table is in force: clients are served. @throws NearcastError what keeps it from starting */
export async function startProxy(config: ProxyConfig, log: Logger, lifecycle: Lifecycle): Promise<RunningProxy> {
  const self = `proxy/${config.id}`
  const prefix = prefixOf(config)
  const identity = await obtainIdentity({ kind: 'proxy', ...config, log, lifecycle })
  const metrics = new Metrics('proxy')

  const intercept = await chooseIntercept({ wanted: config.intercept, manageHost: config.manageHost, prefix, run: runCommand, probe: probeTransparent })
  log.info({ intercept: intercept.kind, reason: intercept.reason }, 'intercept')
  const wall = config.manageHost ? new HostWall({ prefix, ingress: ingressOf(config, prefix), intercept: intercept.kind, run: runCommand, log }) : null
  await wall?.install()
  if (wall) lifecycle.started('host wall', () => wall.stop())

  const tls = { ca: identity.ca, certificate: identity.certificate, key: identity.key }
  let threads: DataThreads | null = null
  let carrier: Carrier | null = null
  const onHealth = (node: string): void => carrier?.nodeChanged(node)
  const nodes = new Nodes({ self, host: config.host, tls, health: config.health, log, now, random: Math.random, onHealth })
  lifecycle.started('nodes', () => nodes.close())
  const edge = openTlsEdge(config.tls, log, now, (shared) => threads?.useTls(shared))
  lifecycle.started('tls', () => edge.close())

  const { name: plane, reason } = planeChoice(config.plane)
  const count = plane === 'uring' ? dataThreads(config.dataThreads) : 0
  log.info({ plane, reason, dataThreads: count }, 'plane')
  metrics.gauge('plane', 'Who moves the bytes', ['plane']).set({ plane }, 1)
  const book = new TallyBook(metrics)
  const measures = new Measures(book)
  threads = count === 0 ? null : await startThreads({ count, config, hopTls: tls, nodes, edge, prefix, book, log })
  drillOnSignal(threads, log, lifecycle)
  const carrying: Carrier = threads ?? carryHere({ config, nodes, edge, prefix, measures, now, log })
  carrier = carrying
  lifecycle.started('carrier', () => carrying.close())
  const { routes } = carrying
  const listening = { plane: carrying.plane, accept: carrying.accept, log }
  const listeners = wall && intercept.kind === 'tproxy' ? new OneListener({ ...listening, handTo: (port) => wall.handTo(port) }) : new Listeners(listening)
  const feed = new Feed({ routes, tables: carrying.tables, listeners, host: wall, log })
  // oxlint-disable-next-line require-await -- a throw is to become a rejection
  const ask = async (name: string, params: unknown): Promise<unknown> => {
    const { state, revision } = reader
    if (name === 'explain') return carrying.explain(params, revision)
    if (name === 'status') return status({ proxy: config.id, region: config.region, state, revision, nodes, connections: carrying.open, routes, listeners, samples: wantsSamples(params) })
    throw new NearcastError('feed.ask-failed', `A proxy of this version can't answer "${name}".`)
  }
  const reader = new FeedReader({
    url: config.router,
    identity,
    cacheFile: joinPath(config.stateDir, 'feed.json'),
    program: PROGRAM,
    log,
    apply: (table, changes) => feed.apply(table, changes),
    ask,
  })
  measureState(metrics, {
    openConnections: () => carrying.open,
    rejected: () => listeners.rejected + (threads?.rejected ?? 0),
    replacedThreads: () => threads?.replaced ?? 0,
    addresses: () => routes.size,
    ports: () => listeners.ports().length,
    nodes: () => nodes.all(),
    feed: () => ({ state: reader.state, revision: reader.revision }),
    dropped: () => wall?.dropped ?? [],
    waiting: () => carrying.waiting,
    rates: () => carrying.rates(),
    tls: () => ({ ...edge.state(), handshakes: carrying.handshakes }),
  })

  const ready = (): string[] => [...feed.faults, ...edge.faults(), ...(lifecycle.state === 'draining' ? ['stopping'] : [])]
  const admin = config.admin.listen === undefined ? null : await startAdmin({ listen: config.admin.listen, metrics, ready })
  if (admin) lifecycle.started('admin', () => admin.close())
  if (admin) log.info({ adminPort: admin.port }, 'admin')

  lifecycle.started('listeners', async () => {
    carrying.drain()
    await listeners.closeExcept([])
  })
  lifecycle.started('feed', () => feed.stop())
  lifecycle.started('feed reader', () => reader.stop())
  await reader.start()
  return { adminPort: admin?.port ?? null, ports: () => listeners.ports(), stop: () => lifecycle.stop() }
}

function carryHere({ config, nodes, edge, prefix, measures, now: clock, log }: Pick<LocalCarrierOptions, 'nodes' | 'edge' | 'now' | 'log'> & { config: ProxyConfig; prefix: number; measures: Measures; nodes: Nodes }): LocalCarrier {
  const { plane } = choosePlane(config.plane, { onDefect: (id, error) => log.error({ id, error }, 'defect in a connection') })
  const journal = new Journal({ log, prefix, now: clock, regionOf: (node) => nodes.get(node)?.row.region ?? null })
  return new LocalCarrier({ config, plane, nodes, edge, events: eventsFor(journal, measures), now: clock, log })
}

/** A fault drill: SIGUSR2 ends one data thread after the other as a defect would. */
function drillOnSignal(threads: DataThreads | null, log: Logger, lifecycle: Lifecycle): void {
  let next = 0
  const drill = (): void => (threads ? threads.fail(next++) : log.warn('no drill: there are no data threads'))
  process.on('SIGUSR2', drill)
  lifecycle.started('drill', () => void process.off('SIGUSR2', drill))
}

const nobody = (): void => undefined

/** The program's own tables say what is open and to whom; all that concerns connections is the threads'. */
function startThreads({ config, prefix, nodes, log, ...rest }: Pick<DataThreadsOptions, 'count' | 'hopTls' | 'nodes' | 'edge' | 'book' | 'log'> & { config: ProxyConfig; prefix: number }): Promise<DataThreads> {
  const routes = new Routes(prefix)
  const output = new StandardOutput()
  const tables = new TablesInForce({
    routes,
    nodes,
    nearest: { forget: nobody, forgetUnless: nobody },
    limits: { replace: nobody, putNetwork: nobody, putAddress: nobody, removeAddress: nobody },
    revocations: { review: nobody },
    log,
  })
  const fatal = (thread: number, why: string): void => {
    log.error({ thread, why }, 'a data thread is lost, and with it this process')
    process.exit(1)
  }
  return DataThreads.start({ ...rest, config, nodes, routes, tables, write: (line) => output.write(line), log, fatal })
}

/** The question of a latency report. */
function wantsSamples(params: unknown): boolean {
  return typeof params === 'object' && params !== null && 'samples' in params && params.samples === true
}

function ingressOf(config: ProxyConfig, prefix: number): ConstructorParameters<typeof HostWall>[0]['ingress'] {
  return config.ingress.flatMap((entry) => {
    const network = ingressNetwork(entry.network, prefix)
    return network === null ? [] : [{ interface: entry.interface, network }]
  })
}

async function main(): Promise<void> {
  const options = programOptions()
  const loaded = loadConfig(proxyConfig, { program: 'PROXY', file: options.config })
  const config = { ...loaded, plane: options.plane ?? loaded.plane }
  const log = createLogger('proxy', config.log.level)
  const lifecycle = new Lifecycle()
  stopOnSignals(lifecycle, (failed) => log.error({ failed }, 'stopped late'))
  const proxy = await startProxy(config, log, lifecycle)
  if (lifecycle.state !== 'starting') return
  announceReady(lifecycle)
  log.info({ id: config.id, region: config.region, adminPort: proxy.adminPort, ports: proxy.ports() }, 'ready')
  keepCompiled()
}

if (import.meta.main) {
  main().catch(exitWith)
}
