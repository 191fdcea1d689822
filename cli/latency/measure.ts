/**
 * Measures one way to one database, as a program of its own: it runs where a client would (or beside the engine), told by
 * NEARCAST_MEASURE what to do, and prints samples in milliseconds as one JSON object.
 *
 * New connections, each from dial to the first byte of an answer; then GET and SET one by one on one that stays. Each kind
 * ends after so many samples or so much time, whichever comes first, but not before a few. It writes one key that expires.
 */
import { connect } from 'node:net'
import type { Socket } from 'node:net'

/** Where: a port, or a Unix socket. */
export interface MeasureTask {
  readonly place: { readonly host: string; readonly port: number } | { readonly path: string }
  readonly username: string
  readonly password: string
  readonly samples: number
}

export interface Samples {
  readonly connect: number[]
  readonly firstByte: number[]
  readonly get: number[]
  readonly set: number[]
  /** What the database said instead, or why it could not be reached. */
  readonly errors: string[]
}

export const MEASURE_VARIABLE = 'NEARCAST_MEASURE'
const KEY = 'nearcast:latency'
const KEY_SECONDS = '60'
const VALUE = 'sixteen bytes...'
const BUDGET_MS = 1500
const LEAST = 5
const TIMEOUT_MS = 5000
const DIAL_SHARE = 0.5

class Redis {
  readonly #socket: Socket
  #text = ''
  #waiting: ((reply: string | Error) => void) | null = null

  constructor(socket: Socket) {
    this.#socket = socket
    socket.setEncoding('latin1').setNoDelay(true)
    socket.on('data', (chunk: string) => this.#onData(chunk))
    socket.on('error', (error) => this.#settle(error))
    socket.on('close', () => this.#settle(new Error('the connection was closed')))
  }

  /** One reply: status, error or a bulk string. @throws Error when there is none in time. */
  async ask(...words: readonly string[]): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<string | Error>()
    this.#waiting = resolve
    const timer = setTimeout(() => this.#settle(new Error(`no answer within ${TIMEOUT_MS} ms`)), TIMEOUT_MS)
    this.#socket.write(command(words))
    const reply = await promise
    clearTimeout(timer)
    if (reply instanceof Error) throw reply
    return reply
  }

  close(): void {
    this.#socket.destroy()
  }

  #onData(chunk: string): void {
    this.#text += chunk
    const line = this.#text.indexOf('\r\n')
    if (line < 0) return
    const length = this.#text.startsWith('$') ? Number(this.#text.slice(1, line)) : -1
    const whole = length < 0 ? line + 2 : line + 2 + length + 2
    if (this.#text.length < whole) return
    const reply = this.#text.slice(0, line)
    this.#text = this.#text.slice(whole)
    this.#settle(reply)
  }

  #settle(reply: string | Error): void {
    this.#waiting?.(reply)
    this.#waiting = null
  }
}

function command(words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`
}

/** @throws Error when it can't be reached in time. */
function dial(place: MeasureTask['place']): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(place)
    const timer = setTimeout(() => socket.destroy(new Error(`no connection within ${TIMEOUT_MS} ms`)), TIMEOUT_MS)
    socket.once('error', reject)
    socket.once('connect', () => {
      clearTimeout(timer)
      socket.off('error', reject)
      resolve(socket)
    })
  })
}

/** Again and again, until there are enough or the time is over. @throws what `once` throws */
async function repeat(samples: number, once: () => Promise<void>): Promise<void> {
  const startedMs = performance.now()
  for (let done = 0; done < samples && (done < LEAST || performance.now() - startedMs < BUDGET_MS); done++) await once()
}

/** @throws Error with what the database said against it */
async function timed(into: number[], words: readonly string[], redis: Redis): Promise<void> {
  const startedMs = performance.now()
  const reply = await redis.ask(...words)
  if (reply.startsWith('-')) throw new Error(reply.slice(1))
  into.push(performance.now() - startedMs)
}

export async function measure({ place, username, password, samples }: MeasureTask): Promise<Samples> {
  const found: Samples = { connect: [], firstByte: [], get: [], set: [], errors: [] }
  const noting = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work()
    } catch (error) {
      found.errors.push(error instanceof Error ? error.message : String(error))
    }
  }
  await noting(() =>
    repeat(Math.ceil(samples * DIAL_SHARE), async () => {
      const startedMs = performance.now()
      const socket = await dial(place)
      found.connect.push(performance.now() - startedMs)
      const redis = new Redis(socket)
      try {
        const reply = await redis.ask('AUTH', username, password)
        if (reply.startsWith('-')) throw new Error(reply.slice(1))
        found.firstByte.push(performance.now() - startedMs)
      } finally {
        redis.close()
      }
    }),
  )
  if (found.firstByte.length === 0) return found
  await noting(async () => {
    const redis = new Redis(await dial(place))
    try {
      await redis.ask('AUTH', username, password)
      await noting(() => repeat(samples, () => timed(found.set, ['SET', KEY, VALUE, 'EX', KEY_SECONDS], redis)))
      await noting(() => repeat(samples, () => timed(found.get, ['GET', KEY], redis)))
    } finally {
      redis.close()
    }
  })
  return found
}

if (import.meta.main) {
  const task = JSON.parse(process.env[MEASURE_VARIABLE] ?? '{}') as MeasureTask
  process.stdout.write(`${JSON.stringify(await measure(task))}\n`)
}
