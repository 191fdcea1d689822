/**
 * What an engine says about itself, as numbers: INFO, read. Pure.
 *
 * Commands are counted as plans count them: what opens a connection or only looks whether all is well isn't, and what this
 * agent and replicas ask isn't either.
 */
import { FREE_COMMANDS } from '../limits/account.ts'

export interface EngineSample {
  readonly keys: number
  readonly memoryBytes: number
  /** Since it started. */
  readonly hits: number
  readonly misses: number
  readonly evicted: number
  readonly expired: number
  readonly commands: number
}

export const SAMPLE_COMMAND = ['INFO', 'stats', 'memory', 'keyspace', 'commandstats']

/** What agents and replicas say; a tenant's own, where it may say them, don't count either. */
const OURS: ReadonlySet<string> = new Set(['config', 'acl', 'replicaof', 'role', 'slowlog', 'latency', 'psync', 'replconf', 'bgrewriteaof'])

export function engineSample(info: string): EngineSample {
  const number = (name: string): number => Number(new RegExp(`^${name}:(\\d+)\\r?$`, 'm').exec(info)?.[1] ?? 0)
  const sum = (pattern: RegExp): number => [...info.matchAll(pattern)].reduce((total, [, digits]) => total + Number(digits), 0)
  let commands = 0
  for (const [, name = '', calls] of info.matchAll(/^cmdstat_([^:|]+)[^:]*:calls=(\d+)/gm)) if (!FREE_COMMANDS.has(name) && !OURS.has(name)) commands += Number(calls)
  return {
    keys: sum(/^db\d+:keys=(\d+)/gm),
    memoryBytes: number('used_memory'),
    hits: number('keyspace_hits'),
    misses: number('keyspace_misses'),
    evicted: number('evicted_keys'),
    expired: number('expired_keys'),
    commands,
  }
}
