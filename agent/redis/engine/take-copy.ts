/**
 * An engine takes other contents while it runs: it follows a copy's source for as long as that takes, and is a primary
 * again. What it held before is what it holds when anything fails, or kills it, before its file was written anew.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { NearcastError } from '../../../lib/errors.ts'
import { CopySource } from '../copies/copy-source.ts'
import type { CopyContent } from '../copies/copy-source.ts'
import { checkRdbVersion, rdbVersion, rdbVersionOf } from '../copies/rdb-version.ts'
import { infoOf } from './occupied.ts'
import type { OccupiedEngine } from './occupied.ts'

const POLL_MS = 20
/** Loading and writing the file anew; what stands still for so long has failed. */
const LONGEST_MS = 600_000

/** @throws NearcastError redis.copy-failed, and why the content could not be read */
export async function takeCopy({ health, over, kill, namespace, replication }: OccupiedEngine, content: CopyContent): Promise<void> {
  checkRdbVersion(await rdbVersionOf(content), rdbVersion(infoOf((await health.ask([['INFO', 'server']]))?.[0])))
  let failure: unknown = null
  const source = await new CopySource(content, replication.password, (error) => (failure = error)).open(namespace)
  try {
    const follows = await health.apply([['REPLICAOF', '127.0.0.1', String(source.port)]])
    if (!follows) throw failed('the engine did not begin')
    const deadlineMs = performance.now() + LONGEST_MS
    while (!(await health.check(true)).kept) {
      if (failure !== null) throw failure
      if (source.askedAgain) throw new NearcastError('redis.copy-failed', 'The engine does not load this copy; it holds what it held before. It may be damaged, or of a newer engine.')
      if (over()) throw failed('the engine ended')
      if (performance.now() > deadlineMs) throw failed('it took too long')
      await delay(POLL_MS)
    }
  } finally {
    // Whatever happened: it is the primary of this database, or starts as such. One that couldn't load what it got has dropped
    // what it held, and would write that to its file; the old one still lies there.
    if (!over() && (source.askedAgain || !(await health.apply([['REPLICAOF', 'NO', 'ONE']])))) kill()
    source.close()
  }
}

function failed(why: string): NearcastError {
  return new NearcastError('redis.copy-failed', `The database could not take the copy: ${why}; it holds what it held before. Try again.`, { retryable: true })
}
