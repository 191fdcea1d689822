/**
 * Both ends of very many short connections, in a thread of their own: clients that say something nobody else says and want
 * exactly that back, and the server that answers. How each connection ends is in its first byte: the client ends, the
 * server ends, or the client resets when it has its answer.
 */
/* oxlint-disable unicorn/require-post-message-target-origin -- threads have no origin */
import { connect, createServer } from 'node:net'
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads'
import type { DialTarget } from '../../lib/plane/plane.ts'
import { Random } from './random.ts'

export interface ChurnReport {
  readonly answered: number
  /** The first of those that didn't get exactly what they had said. */
  readonly wrong: readonly string[]
}

interface Work {
  readonly seed: number
  readonly connections: number
  readonly atOnce: number
}

export interface ChurnPeer {
  readonly target: DialTarget
  run(port: number): Promise<ChurnReport>
  close(): Promise<void>
}

export async function churnPeer(load: Work): Promise<ChurnPeer> {
  const worker = new Worker(new URL(import.meta.url), { workerData: load })
  const next = <Message>(): Promise<Message> => new Promise((resolve, reject) => void worker.once('message', resolve).once('error', reject))
  const port = await next<number>()
  return {
    target: { kind: 'tcp', host: '::1', port },
    run: (to) => {
      worker.postMessage(to)
      return next<ChurnReport>()
    },
    close: async () => void (await worker.terminate()),
  }
}

function serve(): Promise<number> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    let wanted = Number.NaN
    let received = 0
    socket.on('error', () => undefined)
    socket.on('end', () => socket.end())
    socket.on('data', (chunk: Buffer) => {
      if (received === 0) wanted = chunk[0] === 0x73 ? chunk.readUInt16BE(1) : Number.NaN
      received += chunk.length
      socket.write(chunk)
      if (received === wanted) socket.end()
    })
  })
  return new Promise((resolve) => {
    server.listen({ host: '::1', port: 0, backlog: 4096 }, () => resolve(Number(Object(server.address()).port)))
  })
}

function once(port: number, message: Buffer, reset: boolean): Promise<Buffer> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    let bytes = 0
    const socket = connect({ host: '::1', port, noDelay: true, allowHalfOpen: true })
    socket.on('error', (error) => chunks.push(Buffer.from(error.message)))
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes < message.length) return
      if (reset) socket.resetAndDestroy()
      else socket.end()
    })
    socket.on('end', () => socket.end())
    socket.on('close', () => resolve(Buffer.concat(chunks)))
    socket.write(message)
  })
}

async function work({ seed, connections, atOnce }: Work): Promise<void> {
  const random = new Random(seed)
  parentPort?.postMessage(await serve())
  const port = await new Promise<number>((resolve) => parentPort?.once('message', resolve))
  const wrong: string[] = []
  let left = connections
  let answered = 0
  const client = async (): Promise<void> => {
    while (left-- > 0) {
      const mode = random.pick(['e', 's', 'r'])
      const message = Buffer.alloc(16 + random.below(random.below(20) === 0 ? 40_000 : 200), left.toString(36))
      message.write(mode)
      message.writeUInt16BE(message.length, 1)
      message.writeUInt32BE(left, 3)
      const answer = await once(port, message, mode === 'r')
      if (answer.equals(message)) answered++
      else if (wrong.length < 5) wrong.push(`${mode} ${left}: ${message.length} bytes sent, ${answer.length} came back: ${answer.subarray(0, 40).toString('latin1')}`)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, client))
  parentPort?.postMessage({ answered, wrong } satisfies ChurnReport)
}

if (!isMainThread && workerData) await work(workerData as Work)
