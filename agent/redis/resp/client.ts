/**
 * The agent's own connection to one engine: commands in, replies out, in order, each with a deadline.
 *
 * A missed deadline closes the connection, because the late reply would answer the next command. It doesn't reconnect:
 * its owner (engine/health.ts) decides when to try again.
 */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { NearcastError } from '../../../lib/errors.ts'
import { decodeReply, MAX_REPLY_BYTES } from './decode.ts'
import type { DecodeOptions, Reply } from './decode.ts'
import { encodeCommand } from './encode.ts'

interface Waiting {
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: Error) => void
  readonly timer: NodeJS.Timeout
}

export class RespClient {
  readonly #socket: Socket
  readonly #waiting: Waiting[] = []
  #held: Buffer = Buffer.alloc(0)
  #closed = false
  readonly #decoding: Required<DecodeOptions>

  /** `place`: a Unix socket's path, or what dials. Connects at once; a failure to do so fails the first command. */
  constructor(place: string | (() => Socket), { maxBytes = MAX_REPLY_BYTES, encoding = 'utf8' }: DecodeOptions = {}) {
    this.#decoding = { maxBytes, encoding }
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
      this.#socket.write(encodeCommand(words, this.#decoding.encoding))
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
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    let offset = 0
    while (offset < this.#held.length) {
      const decoded = decodeReply(this.#held, offset, this.#decoding)
      if (decoded.state === 'incomplete') break
      const waiting = this.#waiting.shift()
      if (decoded.state === 'invalid' || waiting === undefined) return this.close()
      offset = decoded.end
      clearTimeout(waiting.timer)
      waiting.resolve(decoded.reply)
    }
    this.#held = this.#held.subarray(offset)
    if (this.#held.length > this.#decoding.maxBytes) this.close()
  }
}

/** Names the command, never its arguments: they may hold a secret. */
function notAnswering(words: readonly string[]): NearcastError {
  return new NearcastError('redis.not-answering', `The database didn't answer ${words[0] ?? ''} in time; it is watched and tried again.`, {
    retryable: true,
  })
}
