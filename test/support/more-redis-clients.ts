/**
 * node-redis and BullMQ on a database, for where only a process can be put (an app host): redis-clients.ts has ioredis.
 *   REDIS_URL=… node more-redis-clients.ts
 * Prints a JSON line per case: `{"name","ok","detail"}`.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { Queue, QueueEvents, Worker } from 'bullmq'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import type { ClientCase } from './redis-clients.ts'

const CASE_MS = 60_000
const JOBS = 50
const url = process.env['REDIS_URL'] ?? ''

type Outcome = readonly [found: unknown, wanted: unknown]

async function nodeRedis(version: 2 | 3): Promise<Outcome> {
  const client = await createClient({ url, RESP: version }).connect()
  const subscriber = await client.duplicate().connect()
  try {
    const heard = Promise.withResolvers<string>()
    await subscriber.subscribe('node-redis', (message) => heard.resolve(message))
    await client.del(['nr:hash', 'nr:n', 'nr:list', 'nr:s'])
    await client.hSet('nr:hash', { a: '1', b: '2' })
    // All in one turn: the client sends them as a pipeline.
    const counted = await Promise.all(Array.from({ length: 100 }, () => client.incr('nr:n')))
    const transaction = await client.multi().set('nr:s', 'v').get('nr:s').exec()
    await client.rPush('nr:list', ['x', 'y'])
    await client.publish('node-redis', 'hello')
    const script = await client.eval('return {KEYS[1], ARGV[1]}', { keys: ['nr:s'], arguments: ['w'] })
    const keys: string[] = []
    for await (const page of client.scanIterator({ MATCH: 'nr:*' })) keys.push(...page)
    const found = [Object.entries(await client.hGetAll('nr:hash')), counted.at(-1), transaction, await client.blPop('nr:list', 1), await heard.promise, script, keys.length]
    return [found, [[['a', '1'], ['b', '2']], 100, ['OK', 'v'], { key: 'nr:list', element: 'x' }, 'hello', ['nr:s', 'w'], 4]]
  } finally {
    subscriber.destroy()
    client.destroy()
  }
}

/** A queue with a worker, one job that fails and is tried again, and delayed ones: scripts, streams, blocking pops. */
async function bullmq(): Promise<Outcome> {
  const open: { close(): Promise<void> | void }[] = []
  const connect = (): { connection: Redis } => {
    const connection = new Redis(url, { maxRetriesPerRequest: null })
    open.unshift({ close: () => connection.disconnect() })
    return { connection }
  }
  try {
    const queue = new Queue('mail', connect())
    // One per job that is waited for.
    queue.setMaxListeners(0)
    await queue.obliterate({ force: true })
    const events = new QueueEvents('mail', connect())
    await events.waitUntilReady()
    const tried = new Map<string, number>()
    const work = async ({ name, data }: { name: string; data: { n: number } }): Promise<number> => {
      tried.set(name, (tried.get(name) ?? 0) + 1)
      if (name === 'job 7' && tried.get(name) === 1) throw new Error('once')
      return data.n * 2
    }
    const worker = new Worker('mail', work, { ...connect(), concurrency: 5 })
    open.unshift(worker, events, queue)
    const jobs = await queue.addBulk(Array.from({ length: JOBS }, (_each, n) => ({ name: `job ${n}`, data: { n }, opts: { attempts: 2, ...(n % 10 === 0 && { delay: 20 }) } })))
    const results: unknown[] = await Promise.all(jobs.map((job) => job.waitUntilFinished(events)))
    return [[results, tried.get('job 7'), (await queue.getJobCounts('completed', 'failed')) as unknown], [jobs.map((_job, n) => n * 2), 2, { completed: JOBS, failed: 0 }]]
  } finally {
    for (const each of open) await each.close()
  }
}

const cases: Readonly<Record<string, () => Promise<Outcome>>> = { 'node-redis, RESP2': () => nodeRedis(2), 'node-redis, RESP3': () => nodeRedis(3), BullMQ: bullmq }

for (const [name, run] of Object.entries(cases)) {
  const tell = (ok: boolean, detail: string): void => void process.stdout.write(`${JSON.stringify({ name, ok, detail } satisfies ClientCase)}\n`)
  try {
    const [found, wanted] = await Promise.race([run(), delay(CASE_MS, ['nothing in time', ''] as const, { ref: false })])
    const [left, right] = [JSON.stringify(found), JSON.stringify(wanted)]
    tell(left === right, left === right ? '' : `${left.slice(0, 400)} instead of ${right.slice(0, 400)}`)
  } catch (error) {
    tell(false, String(error))
  }
}
// What a failed case left open doesn't keep the process.
process.exit()
