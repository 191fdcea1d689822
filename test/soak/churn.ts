/**
 * Very many short connections through each plane, then very many idle ones and a thousand busy ones at once: each gets its
 * own bytes back, and in the end the plane holds what it held at the start.
 *
 *   npm run churn -- [--connections 1000000] [--idle 10000] [--busy 1000] [--planes portable,uring] [--seed n]
 *
 * As root the limit of open files is raised; an ordinary user has as many idle connections as it allows. Prints a line of
 * JSON per plane; exits 1 when something was wrong or is left.
 */
import { fork, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { parseArgs } from 'node:util'
import { probeIoUring } from '../../lib/kernel/io-uring-probe.ts'
import { churnPeer } from '../support/churn-peer.ts'
import type { ChurnReport } from '../support/churn-peer.ts'
import { testSeed } from '../support/random.ts'
import type { Held, Question } from './churn-plane.ts'

const WARM_UP = 20_000
const AT_ONCE = 200
const ROUNDS = 50
const MESSAGE_BYTES = 600
/** What a process may hold more at the end: compiled code, lists that have grown. */
const MORE_MEMORY_BYTES = 48 << 20
const MORE_HEAP_BYTES = 8 << 20
/** Both ends of an idle connection are here, and both of its sockets in the plane. */
const FILES = 65_536

const { values } = parseArgs({
  options: {
    connections: { type: 'string', default: '1000000' },
    idle: { type: 'string', default: '10000' },
    busy: { type: 'string', default: '1000' },
    planes: { type: 'string', default: 'portable,uring' },
    seed: { type: 'string' },
    inside: { type: 'boolean', default: false },
  },
})

class MeasuredPlane {
  readonly port: number
  readonly #process: ChildProcess

  private constructor(child: ChildProcess, port: number) {
    this.#process = child
    this.port = port
  }

  static async start(plane: string): Promise<MeasuredPlane> {
    const child = fork(new URL('churn-plane.ts', import.meta.url), [plane], { execArgv: ['--expose-gc'] })
    const [port] = (await once(child, 'message')) as [number]
    return new MeasuredPlane(child, port)
  }

  async ask(question: Question): Promise<Held> {
    this.#process.send(question)
    return ((await once(this.#process, 'message')) as [Held])[0]
  }

  /** Short connections, then whatever else is to be tried while their server is there. */
  async churn(connections: number, then: () => Promise<void>): Promise<ChurnReport & { readonly perSecond: number }> {
    const peer = await churnPeer({ seed: testSeed('churn'), connections, atOnce: AT_ONCE })
    try {
      if (peer.target.kind !== 'tcp') throw new Error('The peer listens on TCP.')
      await this.ask({ target: peer.target.port })
      const startMs = performance.now()
      const report = await peer.run(this.port)
      const perSecond = Math.round((connections / (performance.now() - startMs)) * 1000)
      await then()
      return { ...report, perSecond }
    } finally {
      await peer.close()
    }
  }

  async close(): Promise<void> {
    this.#process.disconnect()
    await once(this.#process, 'exit')
  }
}

/** Each says something and hears it again, so that it is carried. */
async function open(port: number, count: number): Promise<Socket[]> {
  const sockets: Socket[] = []
  while (sockets.length < count) {
    const some = Array.from({ length: Math.min(200, count - sockets.length) }, () => connect({ host: '::1', port, noDelay: true }))
    await Promise.all(some.map((socket, index) => echo(socket, Buffer.from(`e first words ${index}`))))
    sockets.push(...some)
  }
  return sockets
}

function echo(socket: Socket, message: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    let heard = Buffer.alloc(0)
    const fail = (error?: Error): void => reject(error ?? new Error('A connection ended too early.'))
    const onData = (chunk: Buffer): void => {
      heard = Buffer.concat([heard, chunk])
      if (heard.length < message.length) return
      socket.off('data', onData).off('error', fail).off('close', fail)
      if (heard.equals(message)) resolve()
      else reject(new Error('Other bytes came back.'))
    }
    socket.on('data', onData).on('error', fail).on('close', fail)
    socket.write(message)
  })
}

/** All at once, then they end. */
async function exchange(sockets: readonly Socket[], rounds: number): Promise<void> {
  await Promise.all(
    sockets.map(async (socket, index) => {
      for (let round = 0; round < rounds; round++) await echo(socket, Buffer.alloc(MESSAGE_BYTES, `e${index}.${round} `))
    }),
  )
  await close(sockets)
}

async function close(sockets: readonly Socket[]): Promise<void> {
  const closing = sockets.filter((socket) => !socket.destroyed).map((socket) => once(socket.destroy(), 'close'))
  await Promise.all(closing)
}

async function judge(plane: string, connections: number, idle: number, busy: number): Promise<boolean> {
  const measured = await MeasuredPlane.start(plane)
  const atRest = (): Promise<Held> => measured.ask({ most: 0 })
  const idleAndBusy = async (): Promise<Record<string, Held>> => {
    const resting = await open(measured.port, idle)
    const whileIdle = await measured.ask({ most: idle })
    await exchange(await open(measured.port, busy), ROUNDS)
    await close(resting)
    return { whileIdle, afterwards: await atRest() }
  }
  try {
    // All of it once, smaller, so that buffers, lists and compiled code are as large as they get.
    await measured.churn(WARM_UP, async () => void (await idleAndBusy()))
    const start = await atRest()
    let states: Record<string, Held> = {}
    const report = await measured.churn(connections, async () => {
      const churned = await atRest()
      states = { start, churned, ...(await idleAndBusy()) }
    })
    const clean = [states['churned'], states['afterwards']].every((state) => state !== undefined && isBack(state, start))
    const held = clean && report.answered === connections && report.wrong.length === 0 && states['whileIdle']?.open === idle
    process.stdout.write(`${JSON.stringify({ plane, held, connections, idle, busy, ...report, states }, null, 1)}\n`)
    return held
  } finally {
    await measured.close()
  }
}

function isBack(state: Held, start: Held): boolean {
  const { open: connections, buffers, descriptors, heapBytes, memoryBytes } = state
  return connections === 0 && buffers === start.buffers && descriptors <= start.descriptors && heapBytes <= start.heapBytes + MORE_HEAP_BYTES && memoryBytes <= start.memoryBytes + MORE_MEMORY_BYTES
}

const whole = (text: string): number => {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new Error(`"${text}" is no number of connections.`)
  return Number(text)
}
if (values.seed !== undefined) process.env['NEARCAST_SEED'] = values.seed
if (values.inside) {
  const files = Number(spawnSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).stdout) || Infinity
  const idle = Math.min(whole(values.idle), Math.floor((files - 1000) / 2) - whole(values.busy))
  for (const plane of values.planes.split(',')) {
    const support = probeIoUring()
    if (plane === 'uring' && support.answer === 'no') process.stdout.write(`${JSON.stringify({ plane, skipped: support.reason })}\n`)
    else if (!(await judge(plane, whole(values.connections), idle, whole(values.busy)))) process.exitCode = 1
  }
} else {
  // Limits are inherited: with more files, where that is allowed.
  const command = `ulimit -n ${FILES} 2>/dev/null || ulimit -n $(ulimit -Hn); exec "$@"`
  process.exitCode = spawnSync('sh', ['-c', command, 'sh', process.execPath, ...process.argv.slice(1), '--inside'], { stdio: 'inherit' }).status ?? 1
}
