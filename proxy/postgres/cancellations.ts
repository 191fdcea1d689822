/**
 * Brings a CancelRequest to the node whose query it means. Which one that is stands in no header: the key was given out
 * inside TLS. So it goes to every node that carries a connection of this service, each on a hop connection of its own,
 * and where there is none to every node that holds the service; PostgreSQL ignores keys that aren't its own, by design.
 *
 * A CancelRequest has no answer: a node has it when it closes. Whatever fails is logged, never told: the client couldn't
 * hear it anyway. One attempt per node (two when an agent has forgotten our session), all at once, all in bounded time.
 */
import type { Socket } from 'node:net'
import { asNearcastError, NearcastError } from '../../lib/errors.ts'
import { dial } from '../../lib/hop/dial.ts'
import { STATUS } from '../../lib/hop/protocol.ts'
import type { Logger } from '../../lib/log.ts'
import type { SignedOpening } from '../headers.ts'
import type { CancelQuestion } from './postgres-connection.ts'

export interface CancellationsOptions {
  /** Nodes that carry connections of a service now. */
  readonly carrying: (service: string) => Iterable<string>
  /** Nodes that hold it, nearest first. */
  readonly holding: (service: string) => Iterable<string>
  /** A header for one dial, signed anew; null when the node can't be dialled now. @throws NearcastError */
  readonly opening: (node: string, question: CancelQuestion) => SignedOpening | null
  /** Waits for a session with the node, where it needs one; `refused`: one that is unknown there. */
  readonly session: (node: string, refused: Uint8Array | null) => Promise<unknown>
  readonly timeoutMs: (node: string) => number
  readonly log: Logger
}

/** Each is a handful of dials: an attacker with an address of its own gets no more of them. */
const MAX_UNDER_WAY = 256
const MAX_NODES = 16

export class Cancellations {
  readonly #options: CancellationsOptions
  #underWay = 0

  constructor(options: CancellationsOptions) {
    this.#options = options
  }

  /** @returns how many nodes took it. Never rejects. */
  async send(question: CancelQuestion): Promise<number> {
    const { log } = this.#options
    const { service } = question.route
    if (this.#underWay >= MAX_UNDER_WAY) {
      log.warn({ service }, 'too many cancel requests at once: one was dropped')
      return 0
    }
    this.#underWay++
    try {
      const nodes = this.#nodes(service)
      const reached = await Promise.all(nodes.map((node) => this.#tell(node, question)))
      const taken = reached.filter(Boolean).length
      log.info({ service, nodes, taken }, 'cancel request')
      return taken
    } finally {
      this.#underWay--
    }
  }

  #nodes(service: string): string[] {
    const carrying = [...new Set(this.#options.carrying(service))]
    return (carrying.length > 0 ? carrying : [...new Set(this.#options.holding(service))]).slice(0, MAX_NODES)
  }

  async #tell(node: string, question: CancelQuestion): Promise<boolean> {
    const { log } = this.#options
    try {
      const first = await this.#attempt(node, question, null)
      const { status } = first.status === STATUS.unknownSession ? await this.#attempt(node, question, first.session) : first
      if (status === STATUS.ok) return true
      throw new NearcastError('hop.protocol', `the agent answered status ${status}.`, { side: 'upstream' })
    } catch (error) {
      const { code, message } = asNearcastError(error)
      log.warn({ node, service: question.route.service, code }, `a cancel request didn't reach its node: ${message}`)
      return false
    }
  }

  /** @returns the agent's status byte (0 for foreign nodes, which have none), and the session that it was asked in. */
  async #attempt(node: string, question: CancelQuestion, refused: Uint8Array | null): Promise<{ status: number; session: Uint8Array | null }> {
    const { timeoutMs } = this.#options
    await this.#options.session(node, refused)
    const opening = this.#options.opening(node, question)
    if (opening === null) throw new NearcastError('hop.dial-failed', 'there is no session with it, or it left.', { side: 'upstream', retryable: true })
    const { target, bytes, expectsStatus, session } = opening
    const limitMs = timeoutMs(node)
    const socket = await dial(target, limitMs)
    const talk = new Talk(socket, limitMs)
    try {
      // A header and what follows it leave in one write; a signed hop waits for the status byte first.
      socket.write(expectsStatus ? bytes : Buffer.concat([bytes, question.message]))
      const status = expectsStatus ? await talk.status() : STATUS.ok
      if (expectsStatus && status === STATUS.ok) socket.write(question.message)
      if (status === STATUS.ok) await talk.end()
      return { status, session }
    } finally {
      talk.close()
    }
  }
}

/** What the other end of one short connection says: a byte, and that it is done. Bounded in time. */
class Talk {
  readonly #socket: Socket
  readonly #timer: NodeJS.Timeout
  readonly #status = Promise.withResolvers<number>()
  readonly #end = Promise.withResolvers<void>()

  constructor(socket: Socket, timeoutMs: number) {
    this.#socket = socket
    this.#timer = setTimeout(() => {
      this.#status.reject(new NearcastError('hop.timeout', 'it accepted the connection and did not answer in time.', { side: 'upstream' }))
      // It was sent: a slow end is no failure.
      this.#end.resolve()
    }, timeoutMs)
    // Neither promise need have a listener when it settles.
    this.#status.promise.catch(() => {})
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => this.#status.resolve(chunk[0] ?? STATUS.unavailable))
    socket.on('end', () => this.#ended())
    socket.on('close', () => this.#ended())
  }

  status(): Promise<number> {
    return this.#status.promise
  }

  end(): Promise<void> {
    return this.#end.promise
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#socket.destroy()
  }

  #ended(): void {
    this.#status.reject(new NearcastError('hop.dial-failed', 'it closed the connection without an answer.', { side: 'upstream' }))
    this.#end.resolve()
  }
}
