/**
 * What one engine has to be, taken from the feed's row: everything that its configuration depends on.
 */
import { isDeepStrictEqual } from 'node:util'
import { NearcastError } from '../../../lib/errors.ts'
import type { ServiceRow } from '../../../lib/feed/messages.ts'
import type { RedisEngine } from '../../../lib/redis-engines.ts'
import type { RedisLimits } from '../../../lib/redis-limits.ts'

export interface EngineSpecification {
  readonly service: string
  /** Node id of the primary to copy from; null: this engine is the primary. */
  readonly primary: string | null
  /** Hex. */
  readonly passwordSha256: string
  /** A secret. */
  readonly replicationSecret: string
  readonly maxMemoryBytes: number
  readonly appendFsync: 'always' | 'everysec'
  readonly eviction: boolean
  /** null: as the node is set. */
  readonly engine: RedisEngine | null
  /** Those that the engine itself keeps. */
  readonly limits: EngineLimits
  /** Beside `default`. */
  readonly users: readonly EngineUser[]
  /** What becomes of open connections under an old password (lib/live-policy.ts). */
  readonly live: string | undefined
}

export type EngineLimits = Pick<RedisLimits, 'idleSeconds' | 'entryBytes' | 'scriptMs'>

export interface EngineUser {
  readonly name: string
  /** Hex. */
  readonly passwordSha256: string
  readonly rules: readonly string[]
}

/** Ids become directory names. */
const SERVICE_ID = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$/

/** `node`: this data node. @throws NearcastError service.unsupported */
export function engineSpecification(row: ServiceRow, node: string): EngineSpecification {
  const role = row.placements.find((placement) => placement.node === node)?.role
  const primary = row.placements.find((placement) => placement.role === 'primary')?.node
  if (row.kind !== 'redis' || row.redis === undefined || !SERVICE_ID.test(row.id)) throw unsupported(row.id, 'it is no database')
  if (role !== 'primary' && role !== 'replica') throw unsupported(row.id, 'it has no role here')
  if (primary === undefined) throw unsupported(row.id, 'it has no primary')
  const { passwordSha256, replicationSecret, maxMemoryBytes, appendFsync, eviction = false, engine = null, users = [] } = row.redis
  const { idleSeconds, entryBytes, scriptMs } = row.redis.limits ?? {}
  const limits = { ...(idleSeconds !== undefined && { idleSeconds }), ...(entryBytes !== undefined && { entryBytes }), ...(scriptMs !== undefined && { scriptMs }) }
  return { service: row.id, primary: role === 'primary' ? null : primary, passwordSha256, replicationSecret, maxMemoryBytes, appendFsync, eviction, engine, limits, users, live: row.live }
}

export function sameSpecification(left: EngineSpecification, right: EngineSpecification): boolean {
  return isDeepStrictEqual(left, right)
}

function unsupported(service: string, why: string): NearcastError {
  return new NearcastError('service.unsupported', `This agent can't serve ${service}: ${why}. Place it on a node that can.`)
}
