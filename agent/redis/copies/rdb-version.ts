/**
 * The version of RDB, the form of all copies. A server loads what older ones wrote and nothing that newer ones did, and finds
 * that out when it has dropped what it held. So it is asked before.
 */
import { NearcastError } from '../../../lib/errors.ts'
import type { CopyContent } from './copy-source.ts'

/** [server, from this version on, RDB]: the newest first. What comes after them isn't judged. */
const VERSIONS: readonly (readonly [server: 'redis' | 'valkey', since: number, rdb: number])[] = [
  ['valkey', 9.0, 80],
  ['valkey', 7.2, 11],
  ['redis', 7.4, 12],
  ['redis', 7.2, 11],
  ['redis', 7.0, 10],
  ['redis', 5.0, 9],
]
const JUDGED = { redis: 8.2, valkey: 9.1 }
const HEADER = /^REDIS(\d{4})/

/** What the server of this INFO writes, and reads at most; null: not known. */
export function rdbVersion(info: ReadonlyMap<string, string>): number | null {
  const server = info.has('valkey_version') ? 'valkey' : 'redis'
  const version = Number(/^\d+\.\d/.exec(info.get(`${server}_version`) ?? '')?.[0])
  if (!(version < JUDGED[server])) return null
  return VERSIONS.find(([of, since]) => of === server && version >= since)?.[2] ?? null
}

/** null: it doesn't say. @throws what reading it throws */
export async function rdbVersionOf(content: CopyContent): Promise<number | null> {
  for await (const piece of content.pieces()) {
    const found = HEADER.exec(Buffer.from(piece.subarray(0, 9)).toString('latin1'))?.[1]
    return found === undefined ? null : Number(found)
  }
  return null
}

/** @throws NearcastError redis.copy-failed when an engine of version `ours` can't load it */
export function checkRdbVersion(theirs: number | null, ours: number | null): void {
  if (theirs === null || ours === null || theirs <= ours) return
  throw new NearcastError('redis.copy-failed', `The database's engine is too old for this copy: it loads RDB ${ours} and older, and this is RDB ${theirs}. It holds what it held before. Take a database on a newer engine.`)
}
