/**
 * A consistent copy of a running engine: its RDB, as it sends it to a replica that asks for everything (PSYNC ? -1, Redis's
 * replication protocol). The engine forks, so the copy is of one moment, and no file of it lies beside the engine. What
 * would follow, the writes since, isn't read: whoever iterates gets the RDB and the connection ends.
 */
import type { Socket } from 'node:net'
import { NearcastError } from '../../../lib/errors.ts'
import { encodeCommand } from '../resp/encode.ts'

export interface CopyOrigin {
  readonly connect: () => Socket
  readonly user: string
  /** A secret. */
  readonly password: string
  /** Without a byte for so long it has failed. A fork of a large database takes seconds; newlines come meanwhile. */
  readonly silenceMs: number
}

const MARK_BYTES = 40
/** An engine that doesn't even take a password by then is stopped, or in a long script. */
const GREETING_MS = 10_000
const MAX_LINE_BYTES = 1024

/** @throws NearcastError redis.copy-failed */
export async function* copyOf({ connect, user, password, silenceMs }: CopyOrigin): AsyncGenerator<Buffer> {
  const socket = connect()
  socket.setTimeout(Math.min(silenceMs, GREETING_MS), () => socket.destroy(failed('nothing came for too long')))
  const source = new Pieces(socket)
  try {
    for (const words of [['AUTH', user, password], ['REPLCONF', 'capa', 'eof', 'capa', 'psync2']]) {
      socket.write(encodeCommand(words))
      const line = await source.line()
      if (!line.startsWith('+')) throw failed(`${words[0]} was answered ${line}`)
    }
    socket.setTimeout(silenceMs)
    socket.write(encodeCommand(['PSYNC', '?', '-1']))
    const begun = await source.line()
    if (!begun.startsWith('+FULLRESYNC ')) throw failed(`PSYNC was answered ${begun}`)
    const [, length, mark] = /^\$(?:(\d{1,15})|EOF:(.{40}))$/.exec(await source.line()) ?? []
    if (length !== undefined) yield* source.counted(Number(length))
    else if (mark !== undefined) yield* source.marked(Buffer.from(mark))
    else throw failed('the copy began with something else')
  } catch (error) {
    throw error instanceof NearcastError ? error : failed(error instanceof Error ? error.message : String(error))
  } finally {
    socket.destroy()
  }
}

/** What a socket brings: lines first, then a body. */
class Pieces {
  readonly #chunks: AsyncIterator<Buffer>
  #held: Buffer = Buffer.alloc(0)

  constructor(socket: Socket) {
    this.#chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  }

  /** The next one that isn't empty: engines send newlines while they work. */
  async line(): Promise<string> {
    for (;;) {
      const end = this.#held.indexOf('\n')
      if (end >= 0) {
        const line = this.#held.toString('latin1', 0, end).trim()
        this.#held = this.#held.subarray(end + 1)
        if (line !== '') return line
      } else if (this.#held.length > MAX_LINE_BYTES) throw failed('a line is too long')
      else this.#held = Buffer.concat([this.#held, await this.#next()])
    }
  }

  async *counted(length: number): AsyncGenerator<Buffer> {
    let left = length
    let piece = this.#held
    while (left > 0) {
      const part = piece.subarray(0, left)
      left -= part.length
      if (part.length > 0) yield part
      if (left > 0) piece = await this.#next()
    }
  }

  /** Ends with `mark`, and nothing comes behind it before the replica has said that it is ready. */
  async *marked(mark: Buffer): AsyncGenerator<Buffer> {
    let tail = this.#held
    while (!tail.subarray(-MARK_BYTES).equals(mark)) {
      const sure = Math.max(0, tail.length - MARK_BYTES)
      if (sure > 0) yield tail.subarray(0, sure)
      tail = Buffer.concat([tail.subarray(sure), await this.#next()])
    }
    if (tail.length > MARK_BYTES) yield tail.subarray(0, tail.length - MARK_BYTES)
  }

  async #next(): Promise<Buffer> {
    const { done, value } = await this.#chunks.next()
    if (done === true) throw failed('the connection ended in the middle')
    return value
  }
}

function failed(why: string): NearcastError {
  return new NearcastError('redis.copy-failed', `The copy of the database failed: ${why}; try again.`, { side: 'upstream', retryable: true })
}
