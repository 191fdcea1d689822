/**
 * The configuration of one engine (redis.conf of Redis 7.0, as Valkey reads it too), and the commands that bring a
 * running engine to a changed specification.
 *
 * The engine reads it from its standard input: no secret lies on disk, the engine's uid needs no way to a file, and INFO
 * shows no path of ours. Durability: the append-only file is the only truth (`save ""`), sanitised payloads for RESTORE.
 */
import { createHash } from 'node:crypto'
import { agentRules, AGENT_USER, replicationRules, REPLICATION_USER, tenantRules } from './acl.ts'
import type { EngineSpecification } from './specification.ts'

/** Relative to the engine's working directory, which is its data directory. */
export const SOCKET_NAME = 'redis.sock'
/** What a database needs beside the tenant's own data. */
const MEMORY_MARGIN_BYTES = 1 << 20
const REPLICA_BUFFER_FACTOR = 2
/** Keys that expire go first; when there are none left, any (engine/eviction.ts). */
export const FIRST_EVICTION = 'volatile-random'
/** Redis's own. */
const MAX_ENTRY_BYTES = 512 << 20
const BUSY_MS = 5000

/** So long a replica would wait for others that share its copy. */
const NEVER_SECONDS = 86_400
/** Whole copies for replicas begin, those that wait for one with the engine's next second; or none does. */
export const COPIES_AT_ONCE: readonly string[] = ['CONFIG', 'SET', 'repl-diskless-sync-delay', '0']
export const COPIES_NEVER: readonly string[] = ['CONFIG', 'SET', 'repl-diskless-sync-delay', String(NEVER_SECONDS)]

/** The same for all, and for the whole run of an engine. */
const FIXED: readonly string[] = [
  'port 0',
  'unixsocketperm 700',
  'daemonize no',
  'dir ./',
  'logfile ""',
  'save ""',
  'appendonly yes',
  'sanitize-dump-payload yes',
  // Forks happen in turn with those of other engines (forks.ts).
  'auto-aof-rewrite-percentage 0',
  `repl-diskless-sync-delay ${NEVER_SECONDS}`,
  // A dead link is seen within 20 s by both ends; the hop carries no keep-alive of its own.
  'repl-ping-replica-period 5',
  'repl-timeout 20',
  'replica-read-only yes',
  'replica-serve-stale-data yes',
  `masteruser ${REPLICATION_USER}`,
  // Not waiting for replicas: what was acknowledged is in the file.
  'shutdown-timeout 0',
  'enable-debug-command no',
  'enable-module-command no',
  'enable-protected-configs no',
]

/** An engine that was started with another mark can't be brought to this version's configuration while it runs. */
export const CONFIGURATION_MARK = createHash('sha256').update([...FIXED, ...agentRules('')].join('\n')).digest('hex').slice(0, 16)

export interface EngineSettings {
  readonly specification: EngineSpecification
  readonly agentPassword: string
  /** Where a replica finds its primary: the bridge. */
  readonly primaryPort: number
}

export function engineConfiguration({ specification, agentPassword, primaryPort }: EngineSettings): string {
  const { service, primary, replicationSecret, appendFsync } = specification
  const lines = [
    ...FIXED,
    `appendfsync ${appendFsync}`,
    `maxmemory ${memoryBytes(specification)}`,
    ...settings(specification).map(([name, value]) => `${name} ${value}`),
    // Answers that nobody reads, and half commands: beyond this Redis closes the largest connections.
    `maxmemory-clients ${clientBytes(specification)}`,
    `repl-backlog-size ${backlogBytes(specification)}`,
    `masterauth ${quote(replicationSecret)}`,
    `proc-title-template "{title} nearcast ${service}"`,
    `user default ${tenantRules(specification.passwordSha256).join(' ')}`,
    `user ${REPLICATION_USER} ${replicationRules(replicationSecret).join(' ')}`,
    `user ${AGENT_USER} ${agentRules(agentPassword).join(' ')}`,
    ...(primary === null ? [] : [`replicaof 127.0.0.1 ${primaryPort}`]),
    // Last: an engine that got only a part of this has nothing to listen to, and ends.
    `unixsocket ${SOCKET_NAME}`,
  ]
  return `${lines.join('\n')}\n`
}

/** Commands of the agent's user. Repeating them changes nothing. */
export function liveChanges({ specification, primaryPort }: EngineSettings): string[][] {
  const { replicationSecret, appendFsync, primary } = specification
  return [
    ['ACL', 'SETUSER', 'default', ...tenantRules(specification.passwordSha256)],
    ['ACL', 'SETUSER', REPLICATION_USER, ...replicationRules(replicationSecret)],
    [
      'CONFIG', 'SET', 'maxmemory', String(memoryBytes(specification)), 'maxmemory-clients', String(clientBytes(specification)), 'repl-backlog-size', String(backlogBytes(specification)),
      'appendfsync', appendFsync, 'masterauth', replicationSecret, ...settings(specification).flat(),
    ],
    primary === null ? ['REPLICAOF', 'NO', 'ONE'] : ['REPLICAOF', '127.0.0.1', String(primaryPort)],
  ]
}

/** Of its plan. */
function settings({ eviction, limits }: EngineSpecification): [string, string][] {
  return [
    ['maxmemory-policy', eviction ? FIRST_EVICTION : 'noeviction'],
    ['timeout', String(limits.idleSeconds ?? 0)],
    // Also what APPEND, SETRANGE and SETBIT let a string grow to.
    ['proto-max-bulk-len', String(limits.entryBytes ?? MAX_ENTRY_BYTES)],
    ['busy-reply-threshold', String(limits.scriptMs ?? BUSY_MS)],
  ]
}

function memoryBytes({ maxMemoryBytes }: EngineSpecification): number {
  return maxMemoryBytes + MEMORY_MARGIN_BYTES
}

function clientBytes({ maxMemoryBytes }: EngineSpecification): number {
  return Math.max(64 << 20, maxMemoryBytes)
}

/** 8 to 64 MiB by plan: what a replica may miss and still not need a whole copy. */
function backlogBytes({ maxMemoryBytes }: EngineSpecification): number {
  return Math.min(64 << 20, Math.max(8 << 20, Math.floor(maxMemoryBytes / 16)))
}

/** What a memory limit of the kernel must leave room for: buffers and the copy-on-write pages of a rewrite. */
export function processMemoryBytes(specification: EngineSpecification): number {
  return specification.maxMemoryBytes * REPLICA_BUFFER_FACTOR + clientBytes(specification) + (64 << 20)
}

/** The feed allows any text as a secret: only bytes that can't end the line or the quotes stay as they are. */
function quote(text: string): string {
  const escaped = [...Buffer.from(text)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`)
  return `"${escaped.join('')}"`
}
