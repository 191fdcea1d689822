/**
 * The agent's own connection to one engine: commands in, replies out, in order, each with a deadline.
 *
 * A missed deadline closes the connection, because the late reply would answer the next command. It doesn't reconnect:
 * its owner (engine/health.ts) decides when to try again.
 */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { NearcastError } from '../../../lib/errors.ts'
import { encodeCommand } from './encode.ts'
import { ReplyDecoder } from './reply-decoder.ts'
import type { DecodeOptions, Reply } from './reply-decoder.ts'

interface Waiting {
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: Error) => void
  readonly timer: NodeJS.Timeout
}

export class RespClient {
  readonly #socket: Socket
  readonly #waiting: Waiting[] = []
  readonly #decoder: ReplyDecoder
  readonly #encoding: 'utf8' | 'latin1'
  #closed = false

  /** `place`: a Unix socket's path, or what dials. Connects at once; a failure to do so fails the first command. */
  constructor(place: string | (() => Socket), options: DecodeOptions = {}) {
    this.#decoder = new ReplyDecoder(options)
    this.#encoding = options.encoding ?? 'utf8'
    this.#socket = typeof place === 'string' ? connect({ path: place }) : place()
    this.#socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    this.#socket.on('error', () => this.close())
    this.#socket.on('close', () => this.close())
  }

  get closed(): boolean {
    return this.#closed
  }

  /** @throws NearcastError redis.not-answering. An error reply is a reply, not a throw. */
  command(words: readonly string[], timeoutMs: number): Promise<Reply> {
    if (this.#closed) return Promise.reject(notAnswering(words))
    return new Promise((resolve, reject) => {
      const waiting: Waiting = { resolve, reject: () => reject(notAnswering(words)), timer: setTimeout(() => this.#late(waiting), timeoutMs) }
      this.#waiting.push(waiting)
      this.#socket.write(encodeCommand(words, this.#encoding))
    })
  }

  /** Idempotent. Everything still waiting fails. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#socket.destroy()
    for (const { reject, timer } of this.#waiting.splice(0)) {
      clearTimeout(timer)
      reject(new Error('closed'))
    }
  }

  /** This process itself may have stood still: what has arrived meanwhile is read before anyone is called late. */
  #late(waiting: Waiting): void {
    setImmediate(() => {
      if (this.#waiting.includes(waiting)) this.close()
    })
  }

  #onData(chunk: Buffer): void {
    const { replies, invalid } = this.#decoder.push(chunk)
    for (const reply of replies) {
      const waiting = this.#waiting.shift()
      if (waiting === undefined) return this.close()
      clearTimeout(waiting.timer)
      waiting.resolve(reply)
    }
    if (invalid) this.close()
  }
}

/** Names the command, never its arguments: they may hold a secret. */
function notAnswering(words: readonly string[]): NearcastError {
  return new NearcastError('redis.not-answering', `The database didn't answer ${words[0] ?? ''} in time; it is watched and tried again.`, {
    retryable: true,
  })
}
