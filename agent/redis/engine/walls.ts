/**
 * The walls around each engine's process: probed once, put together as one command line, told in log and metrics.
 *
 *   flock      one process per data directory: the engine inherits the lock and holds it as long as it lives
 *   unshare    an EMPTY network namespace: nothing inside can be reached or reached out of, but the Unix socket
 *   setpriv    no new privileges, no capabilities, own uid
 *
 * Every link of the chain execs the next, so the pid of the first is the engine's. Where engines don't outlive their agent,
 * the kernel ends them with it (pdeathsig KILL), and the append-only file makes that safe.
 */
import { execFileSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, isAbsolute, join } from 'node:path'
import { NearcastError } from '../../../lib/errors.ts'
import { probeProcessHandles } from '../../../lib/kernel/process-handle.ts'
import type { EngineCgroup } from './cgroup.ts'
import { probeCgroup } from './cgroup.ts'

export interface Walls {
  /** Absolute path of the server. */
  readonly server: string
  readonly version: string
  /** An empty network namespace per engine. */
  readonly network: boolean
  /** A uid per engine. */
  readonly uid: boolean
  readonly capabilities: boolean
  /** null: no limits, no shares. */
  readonly cgroup: EngineCgroup | null
  /** Engines go on when their agent ends, and the next one takes them over. */
  readonly outlive: boolean
  /** Why something isn't in force, in words. */
  readonly missing: readonly string[]
}

const LOCK_CONFLICT = 77
/** A machine that is busy, or emulated, takes seconds to start anything. */
const PROBE_TIMEOUT_MS = 30_000
const INSTALL = 'install the packages redis-server (or valkey-server) and util-linux'

interface WallSettings {
  readonly server?: string | undefined
  readonly firstUid: number
  readonly cgroup?: string | undefined
  readonly outliveAgent: boolean
}

/** Blocks for some 10 ms. @throws NearcastError redis.missing, redis.too-old */
export function probeWalls({ server, firstUid, cgroup, outliveAgent }: WallSettings): Walls {
  const path = server === undefined ? (find('redis-server') ?? find('valkey-server')) : find(server)
  if (path === null) throw new NearcastError('redis.missing', `No ${server ?? 'redis-server'} here; ${INSTALL}, or set redis.server.`)
  const version = checkedVersion(path)
  if (!allows(['flock', '-F', '-n', '-s', '/', 'setpriv', '--no-new-privs', '--pdeathsig', 'KILL', 'true'])) {
    throw new NearcastError('redis.missing', `No flock and setpriv of util-linux here; ${INSTALL}.`)
  }
  const uid = String(firstUid)
  const group = cgroup === undefined ? 'redis.cgroup is not set' : probeCgroup(cgroup)
  const found = {
    network: allows(['unshare', '-n', 'true']),
    uid: allows(['setpriv', '--reuid', uid, '--regid', uid, '--clear-groups', 'true']),
    capabilities: allows(['setpriv', '--inh-caps=-all', '--bounding-set=-all', 'true']),
    cgroup: typeof group === 'string' ? null : group,
  }
  const mortal = outliveAgent ? mortalBecause() : null
  const missing = [
    ...(found.network ? [] : ['no own network namespace: this user may not make one']),
    ...(found.uid ? [] : ['no own uid: the agent is not root, or its user namespace maps no other uid']),
    ...(found.capabilities ? [] : ['capabilities not dropped: the agent has no CAP_SETPCAP (and so none to give)']),
    ...(typeof group === 'string' ? [`no cgroup limits: ${group}`] : []),
    ...(found.cgroup === null ? [] : ['cpu', 'io'].filter((name) => found.cgroup?.controllers.has(name) !== true).map((name) => `no ${name} shares: ${cgroup} doesn't hand that controller down`)),
    ...(mortal === null ? [] : [`engines end with this agent: ${mortal}`]),
  ]
  return { server: path, version, ...found, outlive: outliveAgent && mortal === null, missing }
}

/**
 * The same walls around the server that a database asks for. `server`: a name in PATH, or a path.
 * @throws NearcastError redis.missing, redis.too-old
 */
export function wallsFor(walls: Walls, server: string): Walls {
  const path = find(server)
  if (path === null) throw new NearcastError('redis.missing', `No ${server} here; install it, or say in agent.toml where it is.`)
  return path === walls.server ? walls : { ...walls, server: path, version: checkedVersion(path) }
}

/** `uid` null: the agent's own. `loopback`: brings `lo` up inside, for the bridge. */
export function engineCommand(walls: Walls, lockFile: string, uid: number | null): [string, ...string[]] {
  return [
    'flock', '-F', '-n', '-E', String(LOCK_CONFLICT), lockFile,
    ...(walls.network ? ['unshare', '-n'] : []),
    'setpriv', '--no-new-privs',
    ...(walls.outlive ? [] : ['--pdeathsig', 'KILL']),
    ...(uid === null ? [] : ['--reuid', String(uid), '--regid', String(uid), '--clear-groups']),
    ...(walls.capabilities ? ['--inh-caps=-all', '--bounding-set=-all'] : []),
    // Without a port, and the socket that its configuration ends with, it ends: so does one whose agent ended before it was
    // configured.
    walls.server, '--port', '0', '-',
  ]
}

/** Why this agent's engines can't go on after it; null: they can. */
function mortalBecause(): string | null {
  if (process.pid === 1) return 'it is process 1, with which all others end'
  const handles = probeProcessHandles()
  return handles.answer === 'yes' ? null : `no way to watch them again (${handles.reason})`
}

export function isLockConflict(exitCode: number | null): boolean {
  return exitCode === LOCK_CONFLICT
}

function find(program: string): string | null {
  const candidates = isAbsolute(program) ? [program] : (process.env['PATH'] ?? '').split(delimiter).map((directory) => join(directory, program))
  return candidates.find(isExecutable) ?? null
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function checkedVersion(path: string): string {
  const version = versionOf(path)
  if (Number.parseInt(version) >= 7) return version
  throw new NearcastError('redis.too-old', `${path} is version ${version}; install Redis 7.0 or newer, or Valkey.`)
}

function versionOf(server: string): string {
  try {
    return /v=(\d+\.\d+\.\d+)/.exec(execFileSync(server, ['--version'], { encoding: 'utf8', timeout: PROBE_TIMEOUT_MS }))?.[1] ?? 'unknown'
  } catch {
    return 'unknown'
  }
}

function allows([program, ...words]: readonly [string, ...string[]]): boolean {
  try {
    execFileSync(program, words, { stdio: 'ignore', timeout: PROBE_TIMEOUT_MS })
    return true
  } catch {
    return false
  }
}
