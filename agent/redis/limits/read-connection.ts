/**
 * A client's connection that is read on its way to the engine, because the limits of its database need it.
 *
 * Bytes go on as they came, but for requests without a word. A command that is refused is replaced by one that no engine
 * knows: its name is a word that only this connection knows, its argument the reason. The engine's "unknown command" at that
 * place among the replies, which repeats both, is then replaced by the reason. So the engine itself keeps the order, aborts the transaction around it, and says nothing where
 * nothing is to be said (CLIENT REPLY OFF): no state of the protocol is followed here. A command is judged when it is whole, or
 * too large, or more of it has come than is held back; then it goes on as it comes, and if it turns out too large, the
 * connection ends.
 */
import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import type { CommandKind } from './command-table.ts'
import { ReplyScanner } from '../resp/reply-scanner.ts'
import { RequestReader } from '../resp/request-reader.ts'
import type { Account } from './account.ts'

export interface ReadConnectionOptions {
  readonly client: Socket
  readonly engine: Socket
  readonly account: Account
  readonly kindOf: (name: string) => CommandKind
  /** Makes room when a write was refused for lack of memory; null: none is to be made. */
  readonly makeRoom: (() => Promise<void>) | null
  readonly nowMs: () => number
}

/** What may wait to be judged. */
const HELD_BYTES = 64 * 1024
/** The sentence of an error is short. */
const ERROR_BYTES = 64 * 1024
/** Replies that aren't answers follow these, or none do. */
const UNMEASURED: ReadonlySet<string> = new Set(['subscribe', 'psubscribe', 'ssubscribe', 'monitor', 'sync', 'psync'])
const OUT_OF_MEMORY = "-OOM command not allowed when used memory > 'maxmemory'.\r\n"
const TRIES = 3
const MOST_PENDING = 10_000

interface Pending {
  readonly sinceMs: number
  readonly kind: CommandKind
}

type Judgement = 'open' | 'passing' | 'dropped'

export class ReadConnection {
  readonly #options: ReadConnectionOptions
  readonly #requests = new RequestReader()
  readonly #replies = new ReplyScanner()
  /** What no engine knows, and nobody but us. */
  readonly #word = `nearcast-refused-${randomBytes(12).toString('hex')}`
  readonly #marker = Buffer.from(`-ERR unknown command '${this.#word}', with args beginning with: '`)
  #judgement: Judgement = 'open'
  /** Of the present request, from chunks before: not passed on yet. */
  #held: Buffer[] = []
  #heldBytes = 0
  /** Of an error whose end hasn't come. */
  #heldReply: Buffer | null = null
  /** Commands without an answer; null: answers aren't counted any more. */
  #pending: Pending[] | null = []
  #multi = false
  /** The command that alone is under way, for one more try. */
  #alone: { readonly bytes: Buffer; readonly tries: number } | null = null
  #makingRoom = false
  #farewell: Buffer | null = null
  /** QUIT has gone on. What comes behind it no engine reads; and who writes to one that has closed loses what it said last. */
  #quitting = false

  constructor(options: ReadConnectionOptions) {
    this.#options = options
    const { client, engine } = options
    client.on('data', (chunk: Buffer) => this.#onClient(chunk))
    engine.on('data', (chunk: Buffer) => this.#onEngine(chunk))
    client.on('drain', () => engine.resume())
    engine.on('drain', () => {
      if (!this.#makingRoom) client.resume()
    })
    client.on('end', () => engine.end())
    engine.on('end', () => {
      if (this.#farewell !== null) client.write(this.#farewell)
      client.end()
    })
    for (const [one, other] of [[client, engine], [engine, client]] as const) {
      // `close` follows.
      one.on('error', () => {})
      one.on('close', () => other.destroySoon())
    }
  }

  #onClient(chunk: Buffer): void {
    if (this.#farewell !== null || this.#quitting) return
    this.#options.account.moved(chunk.length, 0)
    const out: Buffer[] = []
    /** Before it everything has been dealt with. */
    let from = 0
    let at = 0
    while (at < chunk.length && !this.#quitting) {
      const begin = at
      const step = this.#requests.step(chunk, at)
      at = this.#requests.offset
      const whole = step === 'done' && this.#judgement === 'open' && this.#options.makeRoom !== null ? Buffer.concat([...this.#held, chunk.subarray(begin, at)]) : null
      const refusal = step === 'invalid' ? null : this.#judge(step === 'done', at - begin)
      if (step === 'invalid' || (refusal !== null && this.#judgement === 'passing')) {
        out.push(chunk.subarray(from, begin))
        this.#write(out)
        return this.#end(refusal === null ? `-ERR Protocol error: ${this.#requests.problem}\r\n` : `-${refusal}\r\n`)
      }
      if (step === 'done' && this.#requests.argumentCount === 0) {
        // Engines differ in how they read on behind one (Valkey 8.0 takes an array for lines), and answer nothing to it.
        out.push(chunk.subarray(from, begin))
        this.#release([])
        from = at
      } else if (refusal !== null) {
        out.push(chunk.subarray(from, begin), this.#drop(refusal))
        from = at
      } else if (this.#judgement === 'dropped') from = at
      else if (this.#judgement === 'passing' || step === 'done') this.#release(out)
      else {
        // The chunk is at its end, and the request isn't.
        out.push(chunk.subarray(from, begin))
        this.#held.push(chunk.subarray(begin))
        this.#heldBytes += at - begin
        from = at
      }
      if (step === 'done') this.#sent(whole)
    }
    out.push(chunk.subarray(from, at))
    this.#write(out)
  }

  /** @returns why the present request is refused */
  #judge(whole: boolean, newBytes: number): string | null {
    const { words, argumentCount, announcedBytes, largestBytes } = this.#requests
    const { account } = this.#options
    if (this.#judgement === 'dropped' || (whole && argumentCount === 0)) return null
    const request = { name: nameOf(words), announcedBytes, largestBytes }
    if (this.#judgement === 'passing') return account.sizes(request)
    if (!whole && this.#heldBytes + newBytes <= HELD_BYTES) {
      // What has only been announced may be too large already.
      return account.sizes(request)
    }
    const refusal = account.admit(request)
    if (refusal === null) this.#judgement = 'passing'
    return refusal
  }

  /** A request has ended, and has been judged. `whole`: all of it, when it may be said again. */
  #sent(whole: Buffer | null): void {
    const { words, argumentCount } = this.#requests
    const dropped = this.#judgement === 'dropped'
    this.#judgement = 'open'
    if (argumentCount === 0) return
    const { kindOf, nowMs } = this.#options
    const name = nameOf(words)
    if (name === 'quit' && !dropped) this.#quitting = true
    if (name === 'multi') this.#multi = true
    else if (name === 'exec' || name === 'discard') this.#multi = false
    if (UNMEASURED.has(name) || (name === 'client' && words[1]?.toString('latin1').toLowerCase() === 'reply')) this.#pending = null
    this.#pending?.push({ sinceMs: nowMs(), kind: dropped || this.#multi ? 'other' : kindOf(name) })
    // Somebody who waits (BLPOP) may say much meanwhile: that isn't worth remembering.
    if (this.#pending !== null && this.#pending.length > MOST_PENDING) this.#pending = null
    this.#alone = null
    const again = whole !== null && !dropped && !this.#multi && this.#pending?.length === 1 && kindOf(name) === 'write'
    if (again) this.#alone = { bytes: whole, tries: 0 }
  }

  /** @returns what stands for it. */
  #drop(refusal: string): Buffer {
    this.#judgement = 'dropped'
    this.#release([])
    // The engine repeats it, so nothing of it has to be remembered.
    return Buffer.from(`*2\r\n$${this.#word.length}\r\n${this.#word}\r\n$${refusal.length}\r\n${refusal}\r\n`)
  }

  /** What was held goes where the rest of its request goes; it began with this chunk. */
  #release(out: Buffer[]): void {
    if (this.#heldBytes === 0) return
    out.push(...this.#held)
    this.#held = []
    this.#heldBytes = 0
  }

  #write(out: readonly Buffer[]): void {
    const bytes = joined(out)
    if (bytes.length > 0 && !this.#options.engine.write(bytes)) this.#options.client.pause()
  }

  /** Behind the replies to everything before. */
  #end(sentence: string): void {
    this.#farewell = Buffer.from(sentence)
    this.#options.engine.end()
  }

  #onEngine(chunk: Buffer): void {
    const bytes = this.#heldReply === null ? chunk : Buffer.concat([this.#heldReply, chunk])
    let at = this.#heldReply?.length ?? 0
    /** Where the present reply begins; negative: in a chunk that has gone. */
    let begin = this.#replies.idle || this.#heldReply !== null ? 0 : -1
    let from = 0
    this.#heldReply = null
    const out: Buffer[] = []
    while (at < bytes.length) {
      const step = this.#replies.step(bytes, at)
      at = this.#replies.offset
      if (step === 'invalid') return void this.#options.engine.destroy()
      if (step === 'more') break
      const replaced = begin >= 0 && this.#replies.type === 0x2d ? this.#replacement(bytes.subarray(begin, at)) : null
      if (replaced !== null) {
        out.push(bytes.subarray(from, begin), replaced)
        from = at
      }
      this.#answered()
      begin = at
    }
    if (!this.#replies.idle && begin >= 0 && this.#replies.type === 0x2d && bytes.length - begin < ERROR_BYTES) {
      this.#heldReply = bytes.subarray(begin)
      out.push(bytes.subarray(from, begin))
    } else out.push(bytes.subarray(from))
    const reply = joined(out)
    if (reply.length === 0) return
    this.#options.account.moved(0, reply.length)
    if (!this.#options.client.write(reply)) this.#options.engine.pause()
  }

  /** null: the engine's own error; empty: it is tried once more. */
  #replacement(error: Buffer): Buffer | null {
    const { makeRoom } = this.#options
    if (makeRoom !== null && this.#alone !== null && this.#alone.tries < TRIES && error.toString('latin1') === OUT_OF_MEMORY) {
      void this.#tryAgain(makeRoom, this.#alone)
      return Buffer.alloc(0)
    }
    if (error.length < this.#marker.length || !this.#marker.equals(error.subarray(0, this.#marker.length))) return null
    const end = error.lastIndexOf("'")
    return Buffer.from(`-${error.toString('latin1', this.#marker.length, Math.max(end, this.#marker.length))}\r\n`)
  }

  /** Nothing else is under way, and nothing more is read from the client until it is. */
  async #tryAgain(makeRoom: () => Promise<void>, { bytes, tries }: { readonly bytes: Buffer; readonly tries: number }): Promise<void> {
    const { client, engine, nowMs } = this.#options
    this.#makingRoom = true
    client.pause()
    await makeRoom().catch(() => engine.destroy())
    this.#makingRoom = false
    if (!engine.writable) return
    this.#pending?.push({ sinceMs: nowMs(), kind: 'write' })
    this.#alone = { bytes, tries: tries + 1 }
    engine.write(bytes)
    client.resume()
  }

  #answered(): void {
    // A push frame is the answer to nothing.
    if (this.#pending === null || this.#replies.type === 0x3e) return
    const pending = this.#pending.shift()
    const { account, nowMs } = this.#options
    if (pending?.kind === 'read' || pending?.kind === 'write') account.latencies[pending.kind].add(nowMs() - pending.sinceMs)
  }
}

function joined(parts: readonly Buffer[]): Buffer {
  const filled = parts.filter(({ length }) => length > 0)
  return filled.length === 1 && filled[0] !== undefined ? filled[0] : Buffer.concat(filled)
}

function nameOf(words: readonly Buffer[]): string {
  return (words[0]?.toString('latin1') ?? '').toLowerCase()
}
