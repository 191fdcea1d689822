/**
 * A customer's program at scale, run on an app host: takes orders as JSON lines, dials databases through Nearcast, answers
 * with a JSON line each. Every dial logs in and waits for PONG: a connection that was only accepted doesn't count.
 */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { createInterface } from 'node:readline'

export interface Target {
  readonly address: string
  readonly port: number
  readonly password: string
}

export type Order =
  /** All at once, closed again. */
  | { readonly op: 'ping'; readonly targets: readonly Target[] }
  /** So many, kept open, 50 at a time. */
  | { readonly op: 'hold'; readonly targets: readonly Target[]; readonly count: number }
  /** PING on every one that is held, all at once. */
  | { readonly op: 'check' }
  | { readonly op: 'release' }
  /** One after the other on some lanes, each closed again, until so many or the time is over. */
  | { readonly op: 'churn'; readonly target: Target; readonly count: number; readonly lanes: number; readonly limitMs: number }

export interface Outcome {
  /** Dials or PINGs that were answered, and how long each took. */
  readonly ms: readonly number[]
  /** Why others weren't: message -> how many. */
  readonly errors: Readonly<Record<string, number>>
}

const TIMEOUT_MS = 10_000
const AT_ONCE = 50

class Tally {
  readonly ms: number[] = []
  readonly errors: Record<string, number> = {}

  async count(work: () => Promise<unknown>): Promise<void> {
    const startedMs = performance.now()
    try {
      await work()
      this.ms.push(Math.round((performance.now() - startedMs) * 100) / 100)
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      this.errors[message] = (this.errors[message] ?? 0) + 1
    }
  }
}

/** Logged in and answered. @throws Error */
async function dial({ address, port, password }: Target): Promise<Socket> {
  const socket = connect({ host: address, port, noDelay: true })
  try {
    await answered(socket, `AUTH ${password}\r\nPING\r\n`)
  } catch (error) {
    socket.destroy()
    throw error
  }
  return socket
}

/** Sends, and waits for PONG. @throws Error */
function answered(socket: Socket, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let received = ''
    const settle = (error?: Error): void => {
      clearTimeout(timer)
      socket.off('data', onData).off('close', onClose)
      if (error) reject(error)
      else resolve()
    }
    const onData = (chunk: Buffer): void => {
      received += chunk.toString('latin1')
      if (received.includes('+PONG')) settle()
      else if (received.startsWith('-')) settle(new Error(received.trim()))
    }
    const onClose = (): void => settle(new Error('closed without an answer'))
    const timer = setTimeout(() => settle(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)), TIMEOUT_MS)
    // Also what happens later, to a socket that is held.
    socket.on('error', (error: NodeJS.ErrnoException) => settle(new Error(error.code ?? error.message)))
    socket.on('data', onData).on('close', onClose)
    socket.write(text)
  })
}

const held: Socket[] = []

async function obey(order: Order): Promise<Outcome> {
  const tally = new Tally()
  switch (order.op) {
    case 'ping':
      await Promise.all(order.targets.map((target) => tally.count(async () => (await dial(target)).destroy())))
      break
    case 'hold':
      for (let done = 0; done < order.count; done += AT_ONCE) {
        const some = Array.from({ length: Math.min(AT_ONCE, order.count - done) }, (_, index) => order.targets[(done + index) % order.targets.length])
        await Promise.all(some.flatMap((target) => (target ? [tally.count(async () => held.push(await dial(target)))] : [])))
      }
      break
    case 'check':
      await Promise.all(held.map((socket) => tally.count(() => answered(socket, 'PING\r\n'))))
      break
    case 'release':
      for (const socket of held.splice(0)) socket.destroy()
      break
    case 'churn':
      await churn(order, tally)
  }
  return tally
}

async function churn({ target, count, lanes, limitMs }: Extract<Order, { op: 'churn' }>, tally: Tally): Promise<void> {
  const startedMs = performance.now()
  let begun = 0
  const lane = async (): Promise<void> => {
    while (begun < count && performance.now() - startedMs < limitMs) {
      begun++
      await tally.count(async () => (await dial(target)).destroy())
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane))
}

if (import.meta.main) {
  process.stdout.write('{"ready":true}\n')
  for await (const line of createInterface({ input: process.stdin })) process.stdout.write(`${JSON.stringify(await obey(JSON.parse(line) as Order))}\n`)
  process.exit(0)
}
