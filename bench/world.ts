/**
 * Where the bench happens: a network, mount and pid namespace of its own, with the Flycast prefix of one network local on
 * `lo`, one redis-server, and the backend that takes PROXY headers off (backend.ts). Nothing of it outlives the process.
 *
 *   redis-benchmark ── TCP over lo, fdaa:0:1:0:1::2 ── the program under test ── Unix socket, PROXY header ── backend ── redis
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Program } from './program.ts'

export const NETWORK = 1
export const CLIENT_ADDRESS = 'fdaa:0:1:2::2'
export const ADDRESS = 'fdaa:0:1:0:1::2'
/** Another network with the same: the kernel deals networks out to threads. */
export const SECOND = { network: 2, client: 'fdaa:0:2:2::2', address: 'fdaa:0:2:0:1::2' } as const
/** Of another database on the same node. */
export const NEIGHBOUR_ADDRESS = 'fdaa:0:1:0:1::4'
export const AGENT = 'bench'
export const REDIS_PORT = 6390
export const DIRECT_PORT = 6391
export const DIRECTORY = '/run/bench'

const ISOLATED = ['--user', '--map-root-user', '--net', '--mount', '--pid', '--fork', '--mount-proc', '--kill-child']
/** Room for all the ports of connections that were just closed. */
const SETTINGS: readonly (readonly [string, string])[] = [
  ['net/ipv4/ip_local_port_range', '1024 64999'],
  ['net/ipv4/ip_local_reserved_ports', '6390-6399,7000-7099'],
  ['net/ipv4/tcp_tw_reuse', '1'],
  ['net/core/somaxconn', '4096'],
  ['net/ipv4/tcp_max_syn_backlog', '4096'],
]

export interface World {
  /** Of the backend's one socket, which serves every program. */
  readonly backendSocket: string
  readonly redisSocket: string
  /** Hex; the hop's key of every proxy here. */
  readonly hopKey: string
  close(): Promise<void>
}

/** The words in front of a command that put it into namespaces of its own. @throws Error when this system forbids that. */
export function isolation(): readonly string[] {
  const { status, stderr, error } = spawnSync('unshare', [...ISOLATED, 'mount', '-t', 'tmpfs', 'tmpfs', '/run'], { encoding: 'utf8', timeout: 10_000 })
  if (status !== 0) throw new Error(`The bench needs user namespaces and unshare of util-linux: ${error?.message ?? stderr.trim()}`)
  return ['unshare', ...ISOLATED]
}

/** Only inside those namespaces. */
export async function makeWorld(): Promise<World> {
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run'])
  mkdirSync(DIRECTORY)
  for (const words of [
    'link set lo up',
    `-6 address add ${CLIENT_ADDRESS}/128 dev lo nodad`,
    `-6 route add local fdaa:0:${NETWORK}:0:1::/80 dev lo src ${CLIENT_ADDRESS}`,
    `-6 address add ${SECOND.client}/128 dev lo nodad`,
    `-6 route add local fdaa:0:${SECOND.network}:0:1::/80 dev lo src ${SECOND.client}`,
  ]) execFileSync('ip', words.split(' '))
  for (const [file, value] of SETTINGS) set(file, value)
  const redisSocket = join(DIRECTORY, 'redis.sock')
  const backendSocket = join(DIRECTORY, 'backend.sock')
  const hopKey = randomBytes(32).toString('hex')
  const redis = await new Program('redis-server', [
    '--port', String(REDIS_PORT), '--bind', '::1', '--unixsocket', redisSocket, '--maxclients', '15000',
    '--save', '', '--appendonly', 'no', '--protected-mode', 'no', '--dir', DIRECTORY,
  ]).accepts({ path: redisSocket })
  const backend = await new Program(process.execPath, [new URL('backend.ts', import.meta.url).pathname], {
    BENCH_BACKEND: JSON.stringify({ socket: backendSocket, redis: redisSocket, agent: AGENT, key: hopKey, direct: DIRECT_PORT }),
  }).says('ready')
  return {
    backendSocket,
    redisSocket,
    hopKey,
    close: async () => {
      await Promise.all([backend.stop(), redis.stop()])
    },
  }
}

function set(file: string, value: string): void {
  try {
    writeFileSync(`/proc/sys/${file}`, value)
  } catch {
    // Older kernels keep some of these for the first namespace; runs are then merely shorter of ports.
  }
}
