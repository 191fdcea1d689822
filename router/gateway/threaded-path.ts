/**
 * The data path (data-path.ts) in its thread, as the rest of the gateway sees it. What it is asked is answered when it has
 * been done. A thread that ends without being told to can have left anything behind: whoever started it is told, and ends too.
 */
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { PeersSeen } from '../../lib/feed/questions.ts'
import { NearcastError } from '../../lib/errors.ts'
import type { ErrorCode } from '../../lib/errors.ts'
import type { DataPathOptions, DataPathState } from './data-path.ts'
import type { Answer, Asked, DataThreadOpened, DataThreadStart, Question } from './data-thread.ts'
import type { PeersChange } from './gateway-device.ts'
import type { NeighbourRow } from './neighbours.ts'

interface Waiting {
  resolve(value: unknown): void
  reject(error: unknown): void
}

export class ThreadedPath {
  readonly port: number
  readonly interface: string
  readonly #worker: Worker
  readonly #waiting: Map<number, Waiting>
  #asked = 0
  #state: Promise<DataPathState> | null = null
  #isClosing = false

  private constructor(worker: Worker, waiting: Map<number, Waiting>, { port, interface: name }: DataThreadOpened, onEnd: (reason: string) => void) {
    this.#worker = worker
    this.#waiting = waiting
    this.port = port
    this.interface = name
    worker.on('exit', () => {
      for (const each of waiting.values()) each.reject(new NearcastError('internal', 'The thread of the data path has ended.'))
      if (!this.#isClosing) onEnd('its data path has ended')
    })
  }

  /** `privateKey` moves to the thread, where it is zeroed. @throws NearcastError wireguard.*, listen.*, kernel.*, config.invalid */
  static async start(options: DataPathOptions, privateKey: Uint8Array, onEnd: (reason: string) => void): Promise<ThreadedPath> {
    const moved = Uint8Array.from(privateKey)
    privateKey.fill(0)
    const workerData: DataThreadStart = { options, privateKey: moved }
    const worker = new Worker(new URL(`./data-thread${extname(import.meta.url)}`, import.meta.url), { workerData, transferList: [moved.buffer], trackUnmanagedFds: false })
    const waiting = new Map<number, Waiting>()
    worker.on('message', (answer: Answer) => {
      const question = waiting.get(answer.id)
      waiting.delete(answer.id)
      if ('failure' in answer) question?.reject(new NearcastError(answer.failure.code as ErrorCode, answer.failure.message))
      else question?.resolve(answer.value)
    })
    const opened = await new Promise<unknown>((resolve, reject) => {
      waiting.set(0, { resolve, reject })
      worker.once('error', reject)
    })
    worker.on('error', (error) => onEnd(error instanceof Error ? error.message : String(error)))
    return new ThreadedPath(worker, waiting, opened as DataThreadOpened, onEnd)
  }

  /** Resolves when it is in force. */
  async apply(change: PeersChange): Promise<void> {
    await this.#ask({ type: 'apply', change })
  }

  /** The other gateways, from now on. Resolves when it is so. */
  async applyNeighbours(rows: readonly NeighbourRow[]): Promise<void> {
    await this.#ask({ type: 'neighbours', rows })
  }

  async seen(publicKeys: readonly string[]): Promise<PeersSeen> {
    return (await this.#ask({ type: 'seen', publicKeys })) as PeersSeen
  }

  /** Asked once for all who want to know at the same time. */
  state(): Promise<DataPathState> {
    this.#state ??= this.#ask({ type: 'state' }).finally(() => (this.#state = null)) as Promise<DataPathState>
    return this.#state
  }

  /** Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosing) return
    this.#isClosing = true
    const ended = new Promise((resolve) => this.#worker.once('exit', resolve))
    await this.#ask({ type: 'close' })
    await ended
  }

  #ask(asked: Asked): Promise<unknown> {
    const question: Question = { id: ++this.#asked, asked }
    return new Promise((resolve, reject) => {
      this.#waiting.set(question.id, { resolve, reject })
      this.#worker.postMessage(question, [])
    })
  }
}
