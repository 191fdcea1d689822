/**
 * Load that keeps books: adds numbers to a set over a few connections at once, tells which additions were acknowledged,
 * and in the end which of those are missing. For where only a process can be put (an app host).
 *   REDIS_URL=… node redis-writer.ts <key> [bytes of ballast per write [keys for them [ms between two writes]]]
 * Prints `{"acknowledged":n,"errors":{…}}` now and then; when standard input ends, it reads everything back and prints
 * `{"acknowledged":n,"lost":[…],"wrong":[…]}`. No write is ever repeated: each number is tried once.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'

export interface Books {
  readonly acknowledged: number
  /** First words of error replies, and codes of broken connections: how often. */
  readonly errors: Readonly<Record<string, number>>
}

export interface Verdict {
  readonly acknowledged: number
  readonly lost: readonly number[]
  /** Members whose ballast isn't what was written. */
  readonly wrong: readonly number[]
}

const CONNECTIONS = 4
const TELL_EVERY_MS = 50
const RETRY_MS = 20
/** Between two writes of one connection: load, not a benchmark. */
const PACE_MS = 2
/** More than are under way for as long as a command may take. */
const LEAST_KEYS = 4000
const BATCH = 500

async function main(key: string, ballastBytes: number, keys: number, paceMs: number): Promise<void> {
  if (keys > 0 && keys < LEAST_KEYS) throw new Error(`fewer than ${LEAST_KEYS} keys: a late write could overwrite a newer one`)
  const url = process.env['REDIS_URL'] ?? ''
  const acknowledged: number[] = []
  const errors: Record<string, number> = {}
  let next = 0
  const stopping = new AbortController()
  const note = (error: unknown): void => {
    const text = error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? error.message) : String(error)
    const name = text.split(' ')[0] ?? ''
    errors[name] = (errors[name] ?? 0) + 1
  }
  const value = (number: number): string => String(number).padEnd(ballastBytes, '.')
  /** Written again and again when there are so many only. */
  const keyOf = (number: number): string => `${key}:${keys === 0 ? number : number % keys}`
  const open = (): Redis => {
    const redis = new Redis(url, {
      retryStrategy: () => RETRY_MS,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
      connectTimeout: 5000,
      commandTimeout: 3000,
      // While the primary's node was away, the nearest one was a replica.
      reconnectOnError: (error) => error.message.startsWith('READONLY'),
    })
    redis.on('error', note)
    return redis
  }
  async function write(redis: Redis): Promise<void> {
    while (!stopping.signal.aborted) {
      const number = next++
      try {
        await (ballastBytes === 0 ? redis.sadd(key, number) : redis.set(keyOf(number), value(number)))
        acknowledged.push(number)
        await delay(paceMs)
      } catch (error) {
        note(error)
        await delay(RETRY_MS)
      }
    }
  }
  const tell = setInterval(() => process.stdout.write(`${JSON.stringify({ acknowledged: acknowledged.length, errors })}\n`), TELL_EVERY_MS)
  process.stdin.resume().on('end', () => stopping.abort())
  const connections = Array.from({ length: CONNECTIONS }, open)
  await Promise.all(connections.map(write))
  clearInterval(tell)
  for (const redis of connections) redis.disconnect()

  const reader = new Redis(url, { retryStrategy: () => RETRY_MS, maxRetriesPerRequest: null })
  reader.on('error', note)
  const lost: number[] = []
  const wrong: number[] = []
  for (let start = 0; start < acknowledged.length; start += BATCH) {
    const numbers = acknowledged.slice(start, start + BATCH)
    if (ballastBytes === 0) {
      const present = await reader.smismember(key, ...numbers.map(String))
      lost.push(...numbers.filter((_, index) => present[index] !== 1))
    } else {
      const values = await reader.mget(...numbers.map(keyOf))
      for (const [index, number] of numbers.entries()) {
        const found = values[index] ?? null
        // A key that was written again holds a later number.
        const holds = Number.parseInt(found ?? '', 10)
        if (found === null || holds < number) lost.push(number)
        else if (found !== value(holds) || keyOf(holds) !== keyOf(number)) wrong.push(number)
      }
    }
  }
  reader.disconnect()
  process.stdout.write(`${JSON.stringify({ acknowledged: acknowledged.length, lost, wrong })}\n`)
}

if (import.meta.main) await main(process.argv[2] ?? 'load', Number(process.argv[3] ?? 0), Number(process.argv[4] ?? 0), Number(process.argv[5] ?? PACE_MS))
