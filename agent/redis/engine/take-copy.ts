/**
 * An engine takes other contents while it runs: it follows a copy's source for as long as that takes, and is a primary
 * again. What it held before is what it holds when anything fails, or kills it, before its file was written anew.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { NearcastError } from '../../../lib/errors.ts'
import { CopySource } from '../copies/copy-source.ts'
import type { CopyContent } from '../copies/copy-source.ts'
import type { EngineHealth } from './health.ts'

const POLL_MS = 20
/** Loading and writing the file anew; what stands still for so long has failed. */
const LONGEST_MS = 600_000

export interface TakingEngine {
  readonly health: EngineHealth
  readonly over: () => boolean
  readonly kill: () => void
  /** null: it shares ours. */
  readonly namespace: string | null
  readonly masterauth: string
}

/** @throws NearcastError redis.copy-failed, and why the content could not be read */
export async function takeCopy({ health, over, kill, namespace, masterauth }: TakingEngine, content: CopyContent): Promise<void> {
  let failure: unknown = null
  const source = await new CopySource(content, masterauth, (error) => (failure = error)).open(namespace)
  try {
    // Clients would see their writes refused, and others' data appear: they come again when it is done.
    const follows = await health.apply([['REPLICAOF', '127.0.0.1', String(source.port)]])
    if (!follows) throw failed('the engine did not begin')
    await health.ask([['CLIENT', 'KILL', 'TYPE', 'normal'], ['CLIENT', 'KILL', 'TYPE', 'pubsub']])
    const deadlineMs = performance.now() + LONGEST_MS
    while (!(await health.check(true)).kept) {
      if (failure !== null) throw failure
      if (over()) throw failed('the engine ended')
      if (performance.now() > deadlineMs) throw failed('it took too long')
      await delay(POLL_MS)
    }
  } finally {
    // Whatever happened: it is the primary of this database, or starts as such.
    if (!over() && !(await health.apply([['REPLICAOF', 'NO', 'ONE']]))) kill()
    source.close()
  }
}

function failed(why: string): NearcastError {
  return new NearcastError('redis.copy-failed', `The database could not take the copy: ${why}; it holds what it held before. Try again.`, { retryable: true })
}
