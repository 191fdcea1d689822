/**
 * What ioredis does with a database, case by case, for where only a process can be put (an app host).
 *   REDIS_URL=… node redis-clients.ts
 * Prints a JSON line per case: `{"name","ok","detail"}`.
 */
import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'

const BIG_BYTES = 20 << 20
const MANY = 200
const PIPELINED = 2000
/** A case that waits for what never comes has failed. */
const CASE_MS = 60_000

export interface ClientCase {
  readonly name: string
  readonly ok: boolean
  readonly detail: string
}

const url = process.env['REDIS_URL'] ?? ''
const open = (): Redis => new Redis(url, { retryStrategy: () => null, maxRetriesPerRequest: 0, connectTimeout: 30_000 })
const sha = (bytes: Buffer | null): string => createHash('sha256').update(bytes ?? '').digest('hex')

/** Each gives what it found, and what it had to be. */
const cases: Readonly<Record<string, (redis: Redis) => Promise<readonly [found: unknown, wanted: unknown]>>> = {
  async 'a pipeline answers in order'(redis) {
    const pipeline = redis.pipeline()
    for (let index = 0; index < PIPELINED; index++) pipeline.set(`pipe:${index}`, index).get(`pipe:${index}`)
    const results = (await pipeline.exec()) ?? []
    const values = results.filter((_, index) => index % 2 === 1).map(([error, value]) => error?.message ?? value)
    return [values.join(), Array.from({ length: PIPELINED }, (_, index) => index).join()]
  },
  async 'a transaction is one'(redis) {
    await redis.set('counter', 1)
    const results = await redis.multi().incr('counter').incrby('counter', 10).get('counter').exec()
    return [results?.map(([, value]) => value), [2, 12, '12']]
  },
  async 'WATCH sees what another connection writes'(redis) {
    await redis.watch('watched')
    const other = open()
    await other.set('watched', 'by another')
    const result = await redis.multi().set('watched', 'by me').exec()
    other.disconnect()
    return [[result, await redis.get('watched')], [null, 'by another']]
  },
  async 'published messages arrive in order'(redis) {
    const subscriber = open()
    const messages: string[] = []
    const { promise, resolve } = Promise.withResolvers<void>()
    subscriber.on('message', (_channel, message) => {
      if (messages.push(message) === 100) resolve()
    })
    await subscriber.subscribe('news')
    for (let index = 0; index < 100; index++) await redis.publish('news', String(index))
    await promise
    subscriber.disconnect()
    return [messages.join(), Array.from({ length: 100 }, (_, index) => index).join()]
  },
  async 'a blocking pop waits for what another connection pushes'(redis) {
    const popper = open()
    const id = await popper.client('ID')
    const popped = popper.blpop('queue', 0)
    // It waits for sure once Redis says so.
    while (!/blocked_clients:1\b/.test(await redis.info('clients'))) await redis.ping()
    await redis.rpush('queue', 'job')
    const result = await popped
    popper.disconnect()
    return [[typeof id, result], ['number', ['queue', 'job']]]
  },
  async 'a value of 20 MB goes and comes back whole'(redis) {
    const value = randomBytes(BIG_BYTES)
    await redis.set('big', value)
    const back = await redis.getBuffer('big')
    await redis.del('big')
    return [[back?.length, sha(back)], [BIG_BYTES, sha(value)]]
  },
  async '200 connections at once'(redis) {
    const connections = Array.from({ length: MANY }, open)
    const answers = await Promise.all(connections.map((each, index) => each.set(`many:${index}`, index)))
    const ids = new Set(await Promise.all(connections.map((each) => each.client('ID'))))
    const values = await redis.mget(...connections.map((_, index) => `many:${index}`))
    for (const each of connections) each.disconnect()
    return [[new Set(answers).size, ids.size, values.join()], [1, MANY, Array.from({ length: MANY }, (_, index) => index).join()]]
  },
  async 'QUIT ends the connection from the other side'(redis) {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    redis.on('end', () => resolve(true))
    return [[await redis.quit(), await promise], ['OK', true]]
  },
}

function tell(line: ClientCase): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

function brief(value: unknown): string {
  const text = JSON.stringify(value)
  return text.length > 300 ? `${text.slice(0, 300)}…` : text
}

if (import.meta.main) {
  for (const [name, run] of Object.entries(cases)) {
    const redis = open()
    redis.on('error', () => {})
    try {
      const [found, wanted] = await Promise.race([run(redis), delay(CASE_MS, ['nothing in time', ''] as const, { ref: false })])
      const ok = JSON.stringify(found) === JSON.stringify(wanted)
      tell({ name, ok, detail: ok ? '' : `${brief(found)} instead of ${brief(wanted)}` })
    } catch (error) {
      tell({ name, ok: false, detail: String(error) })
    }
    redis.disconnect()
  }
  // What a failed case left open doesn't keep the process.
  process.exit()
}
