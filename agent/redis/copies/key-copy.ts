/**
 * Copies key by key (SCAN, DUMP and PTTL there, RESTORE here), for a source that doesn't let itself be replicated. Of a
 * source that is written to meanwhile this is no copy of one moment: the pass that counts is one without writers.
 */
import { NearcastError } from '../../../lib/errors.ts'
import type { RespClient } from '../resp/client.ts'
import type { Reply } from '../resp/reply-decoder.ts'

/** Both ends speak `latin1`: keys and values are any bytes. */
export interface KeyCopy {
  readonly from: RespClient
  readonly to: RespClient
  /** Numbers of the databases that there are. */
  readonly databases: readonly number[]
  /** So many bytes more; false: give up. */
  readonly copied: (bytes: number) => boolean
}

/** The largest value that comes over, as DUMP writes it. */
export const MAX_VALUE_BYTES = 16 << 20
/** So that what SCAN answers, and what is under way at once, stays small. */
const KEYS_AT_ONCE = 50
const ANSWER_MS = 30_000

/** Begins by emptying `to`. @returns false when it was given up. @throws NearcastError redis.copy-failed */
export async function copyKeys({ from, to, databases, copied }: KeyCopy): Promise<boolean> {
  await say(to, 'FLUSHALL')
  for (const database of databases) {
    await say(from, 'SELECT', String(database))
    await say(to, 'SELECT', String(database))
    let cursor = '0'
    do {
      const page = await say(from, 'SCAN', cursor, 'COUNT', String(KEYS_AT_ONCE))
      const [next, list] = page.kind === 'list' ? page.items : []
      if (next?.kind !== 'text' || list?.kind !== 'list') throw failed('SCAN was answered with something else')
      cursor = next.text
      const keys = list.items.flatMap((item) => (item.kind === 'text' ? [item.text] : []))
      const sizes = await Promise.all(keys.map((key) => copyKey(key, from, to)))
      if (!copied(sizes.reduce((sum, size) => sum + size, 0))) return false
    } while (cursor !== '0')
  }
  return true
}

async function copyKey(key: string, from: RespClient, to: RespClient): Promise<number> {
  const [value, expiry] = await Promise.all([say(from, 'DUMP', key), say(from, 'PTTL', key)])
  // It has expired, or was removed, since.
  if (value.kind !== 'text' || expiry.kind !== 'number' || expiry.value === -2) return 0
  await say(to, 'RESTORE', key, String(Math.max(0, expiry.value)), value.text, 'REPLACE')
  return value.text.length
}

async function say(client: RespClient, ...words: string[]): Promise<Reply> {
  const reply = await client.command(words, ANSWER_MS)
  if (reply.kind === 'error') throw failed(reply.text)
  return reply
}

function failed(why: string): NearcastError {
  return new NearcastError('redis.copy-failed', `The keys could not be copied: ${why}.`, { side: 'upstream' })
}
