/**
 * The agent: the sidecar of a data node. It trusts only our proxies, turns the address in the header into a database,
 * and runs stock Redis for each. The only place that constructs across rooms.
 *
 *   node agent/main.ts --config agent.toml
 */
import { chmodSync, mkdirSync } from 'node:fs'
import { join as joinPath } from 'node:path'
import { startAdmin } from '../lib/admin.ts'
import { loadConfig } from '../lib/config.ts'
import { NearcastError, asNearcastError } from '../lib/errors.ts'
import type { Changes, FailedService } from '../lib/feed/reader.ts'
import { FeedReader, FeedTable } from '../lib/feed/reader.ts'
import type { HopConnection } from '../lib/hop/header.ts'
import { HopSessions } from '../lib/hop/sessions.ts'
import { obtainIdentity } from '../lib/joining.ts'
import { announceReady, Lifecycle, stopOnSignals } from '../lib/lifecycle.ts'
import { parseListen } from '../lib/listen.ts'
import { createLogger } from '../lib/log.ts'
import type { Logger } from '../lib/log.ts'
import { probeFfi } from '../lib/kernel/ffi.ts'
import { processorMs, setPatience } from '../lib/kernel/scheduling.ts'
import { choosePlane } from '../lib/plane/choose.ts'
import type { HopTls } from '../lib/plane/plane.ts'
import type { RedisEngine } from '../lib/redis-engines.ts'
import { programOptions, exitWith, keepCompiled } from '../lib/program.ts'
import { agentConfig } from './config.ts'
import { AllowList } from './backends/allow-list.ts'
import { Backends } from './backends/backends.ts'
import { checkBackend } from './backends/check.ts'
import type { AgentConfig } from './config.ts'
import type { EngineAnswer } from './connection.ts'
import { Ingress } from './ingress.ts'
import { AgentMetrics } from './metrics.ts'
import { Questions } from './questions.ts'
import { BackupFiles } from './redis/copies/backup-files.ts'
import { Backups } from './redis/copies/backups.ts'
import { Imports } from './redis/copies/imports.ts'
import { accessKey, S3Bucket } from './redis/copies/s3-bucket.ts'
import { openBridge } from './redis/engine/bridge-listener.ts'
import { EngineDirectories } from './redis/engine/directory.ts'
import { ForkTurns, memoryAvailable } from './redis/engine/fork-turns.ts'
import { HeldEngines } from './redis/engine/held-engines.ts'
import { StartTurns } from './redis/engine/start-turns.ts'
import { Supervisor } from './redis/engine/supervisor.ts'
import { probeWalls, wallsFor } from './redis/engine/walls.ts'
import type { Walls } from './redis/engine/walls.ts'
import { Accounts } from './redis/limits/accounts.ts'
import { commandTable } from './redis/limits/command-table.ts'
import type { CommandTable } from './redis/limits/command-table.ts'
import { ReadingRoom } from './redis/limits/reading-room.ts'
import { Statistics } from './redis/statistics/statistics.ts'
import { PrimaryLinks } from './redis/primary-links.ts'
import { Sessions } from './sessions.ts'
import { status } from './status.ts'
import { Admission, whyNotDialer } from './tenants/admission.ts'
import { Tenants } from './tenants/tenants.ts'

const PROGRAM = 'agent 0.1.0'
/** How often unused engines are looked for. */
const REST_INTERVAL_MS = 1000
/** Running engines are asked, and what databases have used is written, this often; an agent that is killed forgets what came after. */
const SAVE_INTERVAL_MS = 5000
/** Monotonic milliseconds. */
const nowMs = (): number => performance.now()

export interface Agent {
  readonly ingress: Ingress
  readonly tenants: Tenants
  readonly backends: Backends
  readonly metrics: AgentMetrics
  readonly statistics: Statistics
  /** What the feed's reader calls. `table` is in force from now on. */
  apply(table: FeedTable, changes: Changes): Promise<FailedService[]>
  /** A question of the router about a database. @throws NearcastError feed.ask-failed */
  answer(name: string, params: unknown): Promise<unknown>
}

export interface AgentParts {
  readonly config: AgentConfig
  /** Of agent/<id>: serves the hop with it, and dials primaries. */
  readonly tls: HopTls
  readonly log: Logger
  readonly lifecycle: Lifecycle
  /** To the router; sessions are told anyway. */
  readonly publish: (unavailable: Record<string, string>) => void
  readonly revision: () => number
  /** Asked when it stops: engines go on for the agent after this one, if they can. */
  readonly leaveEngines: () => boolean
}

/** Everything between the feed and the engines. Nothing listens yet. */
export function buildAgent({ config, tls, log, lifecycle, publish, revision, leaveEngines }: AgentParts): Agent {
  let current = new FeedTable()
  const table = (): FeedTable => current
  let databases: FeedTable['services'] = new Map()
  let others: FeedTable['services'] = new Map()
  const { readyTimeoutMs, startTimeoutMs } = config.redis
  const metrics = new AgentMetrics()
  const walls = wallsOf(config, log)
  const usable = walls instanceof NearcastError ? null : walls

  const { plane, reason } = choosePlane(config.plane, { onDefect: (id, error) => log.error({ connection: id, error }, 'defect in a connection') })
  log.info({ plane: plane.name, reason }, 'plane')
  metrics.plane.set({ plane: plane.name }, 1)
  lifecycle.started('plane', () => plane.destroy())

  const hopSessions = new HopSessions()
  const sessions = new Sessions(hopSessions, nowMs)
  const links = new PrimaryLinks({ self: `agent/${config.id}`, host: config.host, tls, log, table, sessionTimeoutMs: readyTimeoutMs })
  const directories = new EngineDirectories(config.dataDir, usable?.uid === true ? config.redis.firstUid : null)
  const turns = new StartTurns()
  const forkTurns = new ForkTurns({ atOnce: config.redis.forksAtOnce, availableBytes: memoryAvailable })
  const supervisor = (specification: Supervisor['specification'], within: Walls): Supervisor => {
    const made = new Supervisor(specification, {
      walls: within,
      directories,
      times: config.redis,
      turns,
      forkTurns,
      key: tls.key,
      log,
      openBridge: (service, namespace) => {
        // Asked anew for each connection: the feed may have moved the primary.
        const dial = (): ReturnType<PrimaryLinks['dial']> => links.dial(made.specification.primary ?? '', service)
        return openBridge({ plane, namespace, dial, unknownSession: (session) => links.unknownSession(session) })
      },
      changed: () => tenants.changed(),
      restarted: (service) => metrics.restarts.inc({ service }),
      adopted: (service) => metrics.adopted.inc({ service }),
      scriptEnded: (service) => accounts.of(service)?.met('scriptMs'),
      loginsEnded: (service, connections) => {
        metrics.cut.inc({ reason: 'password-reset' }, connections)
        log.info({ service, connections, reason: 'password-reset' }, 'connections ended')
      },
    })
    return made
  }
  let unavailable: { readonly databases: Readonly<Record<string, string>>; readonly backends: Readonly<Record<string, string>> } = { databases: {}, backends: {} }
  const publishAll = (changed: Partial<typeof unavailable>): void => {
    unavailable = { ...unavailable, ...changed }
    const all = { ...unavailable.databases, ...unavailable.backends }
    sessions.publishAvailability(all)
    publish(all)
  }
  const { redisServer, valkeyServer } = config.redis
  const servers = new Map<RedisEngine, Walls>()
  const wallsOfEngine = (engine: RedisEngine | null, within: Walls): Walls => {
    if (engine === null) return within
    const known = servers.get(engine) ?? wallsFor(within, engine === 'redis' ? redisServer : valkeyServer)
    servers.set(engine, known)
    return known
  }
  const tenants = new Tenants({
    node: config.id,
    table: () => ({ services: databases }),
    directories,
    engine: walls instanceof NearcastError ? walls : (specification) => supervisor(specification, wallsOfEngine(specification.engine, walls)),
    log,
    startTimeoutMs,
    stopTimeoutMs: config.redis.stopTimeoutMs,
    publish: (reasons) => publishAll({ databases: reasons }),
    removed: (service) => {
      metrics.forget(service)
      commands.delete(service)
      statistics.forget(service)
      heldEngines.forget(service)
      plane.setRate(rateName(service), null)
    },
    retired: (service) => {
      imports.forget(service)
      // The registry has forgotten their keys.
      files.removeAll(service).catch((error: unknown) => log.warn({ service, error: asNearcastError(error).message }, 'backups of a removed database could not be removed'))
    },
  })
  const held = (service: string): Supervisor => {
    const found = tenants.supervisors.get(service)
    if (found !== undefined) return found
    throw new NearcastError('redis.not-found', `The database ${service} isn't on this node.`)
  }
  const files = new BackupFiles(config.redis.backupDir ?? joinPath(config.stateDir, 'backups'))
  const bucket = bucketOf(config)
  if (bucket !== null) log.info({ bucket: bucket.name }, 'backups go to a bucket')
  const backups = new Backups({ files, bucket, supervisor: held })
  files.sweep().catch((error: unknown) => log.warn({ error: asNearcastError(error).message }, 'left-overs of backups could not be removed'))
  const imports = new Imports(new AllowList(config.redis.importFrom), held)
  const { allow, ...checks } = config.backends
  const backends = new Backends({ allow: new AllowList(allow), check: checkBackend, ...checks, log, publish: (reasons) => publishAll({ backends: reasons }) })
  lifecycle.started('backends', () => backends.stop())
  lifecycle.started('engines', () => tenants.stop(usable?.outlive === true && leaveEngines()))
  lifecycle.started('links to primaries', () => links.close())
  const heldEngines = new HeldEngines({
    used: () => ingress.perService.keys(),
    pidOf: (service) => tenants.supervisors.get(service)?.pid ?? null,
    processorMs,
    setPatience,
    nowMs,
    refused: () => log.info('busy engines cannot be held back for their neighbours: they have other uids, and this agent has no CAP_SYS_NICE'),
  })
  lifecycle.started('held engines', () => heldEngines.stop())

  const accounts = new Accounts({ fileOf: (service) => directories.usageFile(service), log, hit: (service, limit) => metrics.limited.inc({ service, limit }) })
  const statistics = new Statistics({
    node: config.id,
    supervisors: () => tenants.supervisors,
    account: (service) => accounts.of(service),
    isRead: (service) => accounts.wayOf(service).startsWith('read'),
    clients: (service) => ingress.clients(service),
    held: heldEngines,
    dataOf: (service) => directories.dataOf(service),
    nowMs,
  })
  const saving = setInterval(() => void statistics.sample().then(() => accounts.save()), SAVE_INTERVAL_MS).unref()
  lifecycle.started('accounts', () => {
    clearInterval(saving)
    accounts.save()
  })
  const reading = new ReadingRoom(joinPath(config.stateDir, 'reading.sock'))
  lifecycle.started('reading', () => reading.close())
  const questions = new Questions({ supervisor: held, backups, files, imports, statistics })
  const commands = new Map<string, Promise<CommandTable>>()
  /** Asked once per database; until its engine has answered, a command is of no kind. */
  const learnCommands = async (service: string): Promise<CommandTable> => {
    const [reply] = (await tenants.supervisors.get(service)?.ask([['COMMAND']], startTimeoutMs)) ?? []
    if (reply === undefined) commands.delete(service)
    return commandTable(reply)
  }
  const engineOf = async (connection: HopConnection): Promise<EngineAnswer> => {
    const { service, purpose } = connection
    const way = accounts.wayOf(service)
    const answer = await tenants.engine(connection, readyTimeoutMs)
    if (purpose !== 'client' || way === 'plain' || 'unavailable' in answer || answer.target.kind !== 'unix') return answer
    const rates = way.endsWith('rated') ? { rates: [rateName(service)] } : {}
    const account = accounts.of(service)
    if (!way.startsWith('read') || account === null) return { ...answer, ...rates }
    const learning = commands.get(service) ?? learnCommands(service)
    commands.set(service, learning)
    const kinds = await learning
    const makeRoom = current.services.get(service)?.redis?.eviction === true ? () => held(service).makeRoom() : null
    try {
      return { ...(await reading.admit({ path: answer.target.path, account, kindOf: (name) => kinds.get(name) ?? 'other', makeRoom })), ...rates }
    } catch (error) {
      const { code, message } = asNearcastError(error)
      log.error({ service, code }, message)
      return { unavailable: code }
    }
  }

  const uids = new Set([0, process.getuid?.() ?? 0, ...config.hop.allowedUids])
  const admission = new Admission({ agent: config.id, table, sessions: hopSessions, uids, nowMs, full: () => ingress.full, clients: (service) => ingress.clients(service), clientsFull: (service) => accounts.of(service)?.met('maxClients') })
  const { headerTimeoutMs, maxConnections } = config.hop
  const engine: ConstructorParameters<typeof Ingress>[0]['engine'] = async (connection) =>
    backends.has(connection.service) ? backends.answer(connection) : await engineOf(connection)
  /** What is read is counted as it goes. */
  const carried = ({ service, purpose }: HopConnection, way: string, up: number, down: number): void => {
    if (purpose === 'client' && way.startsWith('plain')) accounts.of(service)?.moved(up, down)
  }
  const unreached = (service: string): void => backends.failed(service)
  const ingress = new Ingress({ plane, admission, sessions, metrics, log, headerTimeoutMs, maxConnections, engine, unreached, wayOf: (service) => accounts.wayOf(service), carried })
  lifecycle.started('hop', () => ingress.close())
  const resting = setInterval(() => tenants.restIdle(ingress.perService, config.redis), REST_INTERVAL_MS).unref()
  lifecycle.started('rest of engines', () => clearInterval(resting))
  if (probeFfi().answer === 'yes') heldEngines.start()
  const observed = { perService: () => ingress.perService, held: heldEngines, supervisors: () => tenants.supervisors, backends: () => backends.services, forks: () => forkTurns, sessions: () => sessions.size, revision }
  metrics.observe(observed, usable)

  return {
    ingress,
    tenants,
    backends,
    metrics,
    statistics,
    answer: (name, params) => questions.answer(name, params),
    async apply(next, changes) {
      current = next
      databases = new Map([...next.services].filter(([, { kind }]) => kind === 'redis'))
      others = new Map([...next.services].filter(([, { kind }]) => kind !== 'redis'))
      accounts.apply(databases)
      for (const [service, { redis }] of databases) {
        const perSecond = redis?.limits?.bytesPerSecond
        plane.setRate(rateName(service), perSecond === undefined ? null : { bytesPerSecondUp: perSecond, bytesPerSecondDown: perSecond })
      }
      sessions.retain((dialer, certificate) => whyNotDialer(next, dialer, certificate) === null)
      const services = typeof changes === 'string' ? changes : new Set(changes.filter((change) => change.table === 'services').map(({ key }) => key))
      const applied = Promise.all([tenants.apply(services), backends.apply(others, typeof services === 'string' ? null : services)])
      links.sync(tenants.primaries)
      ingress.recheck()
      return (await applied).flat()
    },
  }
}

function rateName(service: string): string {
  return `redis ${service}`
}

/** Where new backups go; null: to this node's disk. @throws NearcastError config.invalid */
function bucketOf({ redis }: AgentConfig): S3Bucket | null {
  const { backupBucket: url, backupRegion: region, backupKeyFile, backupRequestTimeoutMs: requestTimeoutMs } = redis
  if (url === undefined) return null
  if (backupKeyFile === undefined) throw new NearcastError('config.invalid', 'redis.backupKeyFile: name the file with the access key of redis.backupBucket.')
  return new S3Bucket({ url, region, requestTimeoutMs, ...accessKey(backupKeyFile) })
}

/** Told once, in words: an operator should see which walls stand. */
function wallsOf({ redis }: AgentConfig, log: Logger): Walls | NearcastError {
  try {
    const walls = probeWalls(redis)
    const { server, version, network, uid, capabilities, cgroup, outlive, missing } = walls
    log.info({ server, version, network, uid, capabilities, cgroup: cgroup !== null, outlive, missing }, 'walls around engines')
    return walls
  } catch (error) {
    const failure = asNearcastError(error)
    log.error({ code: failure.code }, failure.message)
    return failure
  }
}

export interface RunningAgent {
  readonly hopPort: number
  readonly adminPort: number
}

/** Resolves once a table is in force and the hop is served. @throws NearcastError what keeps it from starting */
export async function startAgent(config: AgentConfig, log: Logger, lifecycle: Lifecycle, leaveEngines: () => boolean): Promise<RunningAgent> {
  mkdirSync(config.stateDir, { recursive: true, mode: 0o700 })
  chmodSync(config.stateDir, 0o700)
  const identity = await obtainIdentity({ kind: 'agent', ...config, reachedAt: () => reachedAt(config), log, lifecycle })
  const tls = { ca: identity.ca, certificate: identity.certificate, key: identity.key }
  const publish = (unavailable: Record<string, string>): void => reader.sendAvailability(unavailable)
  const agent = buildAgent({ config, tls, log, lifecycle, publish, revision: () => reader.revision, leaveEngines })

  const served = Promise.withResolvers<number>()
  let listening = false
  const reader = new FeedReader({
    url: config.router,
    identity,
    cacheFile: joinPath(config.stateDir, 'feed.json'),
    program: PROGRAM,
    log,
    apply: (table, changes) => {
      const applied = agent.apply(table, changes)
      // Not before the first table: dialers would be turned away as unknown.
      if (!listening) listen(agent.ingress, config, tls).then(served.resolve, served.reject)
      listening = true
      return applied
    },
    ask: (name, params) => (name === 'status' ? Promise.resolve(status(config, agent, reader)) : agent.answer(name, params)),
  })
  const ready = (): string[] => [
    ...(listening ? [] :  ['no table from the router yet']),
    ...(lifecycle.state === 'draining' ? ['stopping'] : []),
  ]
  const admin = await startAdmin({ listen: config.admin.listen, metrics: agent.metrics.metrics, ready })
  lifecycle.started('admin', () => admin.close())
  lifecycle.started('feed reader', () => reader.stop())
  const [hopPort] = await Promise.all([served.promise, reader.start()])
  return { hopPort, adminPort: admin.port }
}

async function listen(ingress: Ingress, { hop }: AgentConfig, tls: HopTls): Promise<number> {
  const place = parseListen(hop.listen)
  const port = await ingress.listen(place.kind === 'unix' ? place : { ...place, tls })
  // Other uids have to get as far as being asked who they are.
  if (hop.socket !== undefined) await ingress.listen({ kind: 'unix', path: hop.socket }, hop.allowedUids.length === 0 ? 0o600 : 0o666)
  return port
}

/** Where proxies reach this agent. @throws NearcastError config.invalid */
function reachedAt({ hop }: AgentConfig): { readonly endpoint: string; readonly socket?: string } {
  const endpoint = hop.advertise ?? hop.listen
  const place = parseListen(endpoint)
  if (place.kind !== 'tcp' || place.port === 0 || place.host === '::' || place.host === '0.0.0.0') {
    throw new NearcastError('config.invalid', 'hop.advertise: name the address and port at which proxies reach this agent.')
  }
  return { endpoint, ...(hop.socket !== undefined && { socket: hop.socket }) }
}

async function main(): Promise<void> {
  const options = programOptions()
  const loaded = loadConfig(agentConfig, { program: 'AGENT', file: options.config })
  const config = { ...loaded, plane: options.plane ?? loaded.plane }
  const log = createLogger('agent', config.log.level)
  const lifecycle = new Lifecycle()
  const signal = stopOnSignals(lifecycle, (failed) => log.error({ failed }, 'stopped late'))
  // SIGTERM is a restart, as far as anybody can tell; SIGINT, like Ctrl-C, ends all.
  const ports = await startAgent(config, log, lifecycle, () => signal() === 'SIGTERM')
  if (lifecycle.state !== 'starting') return
  announceReady(lifecycle)
  log.info({ id: config.id, region: config.region, ...ports }, 'ready')
  keepCompiled()
}

if (import.meta.main) {
  main().catch(exitWith)
}
