/**
 * A relay in front of a database that does what a relay must never do: proof that a comparison would find it. On each
 * connection, once.
 *
 *   drop     an answer is lost
 *   swap     two answers that differ change places
 *   tenant   the connection is another database's
 */
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { ReplyScanner } from '../../agent/redis/resp/reply-scanner.ts'

export type Fault = 'none' | 'drop' | 'swap' | 'tenant'

export interface FaultyRelay {
  readonly port: number
  fault: Fault
  /** How often the fault was there. */
  readonly faults: number
  close(): Promise<void>
}

/** Behind the answers to the login. */
const FIRST_REPLY = 2

export async function startFaultyRelay(port: number, otherPort: number): Promise<FaultyRelay> {
  const sockets = new Set<Socket>()
  let faults = 0
  let fault: Fault = 'none'
  const server = createServer((client) => {
    if (fault === 'tenant') faults++
    const engine = connect({ host: '127.0.0.1', port: fault === 'tenant' ? otherPort : port })
    for (const [from, to] of [[client, engine], [engine, client]] as const) {
      sockets.add(from)
      from.on('error', () => to.destroy())
      from.on('close', () => {
        sockets.delete(from)
        to.destroySoon()
      })
    }
    client.pipe(engine)
    const replies = new Replies(fault, () => faults++)
    engine.on('data', (chunk: Buffer) => client.write(replies.changed(chunk)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    get fault() {
      return fault
    },
    set fault(wanted) {
      fault = wanted
    },
    get faults() {
      return faults
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Whole answers, one after the other. */
class Replies {
  readonly #fault: Fault
  readonly #happened: () => void
  readonly #scanner = new ReplyScanner()
  #begun: Buffer[] = []
  #count = 0
  #done = false
  /** The one that may change places with the next. */
  #waiting: Buffer | null = null

  constructor(fault: Fault, happened: () => void) {
    this.#fault = fault
    this.#happened = happened
  }

  changed(chunk: Buffer): Buffer {
    const out: Buffer[] = []
    for (let at = 0; at < chunk.length; at = this.#scanner.offset) {
      const step = this.#scanner.step(chunk, at)
      this.#begun.push(chunk.subarray(at, this.#scanner.offset))
      if (step !== 'done') break
      out.push(...this.#reply(Buffer.concat(this.#begun)))
      this.#begun = []
    }
    return Buffer.concat(out)
  }

  #reply(reply: Buffer): Buffer[] {
    if (this.#done || this.#count++ < FIRST_REPLY || this.#fault === 'none' || this.#fault === 'tenant') return [reply]
    if (this.#fault === 'drop') {
      this.#mark()
      return []
    }
    const before = this.#waiting
    this.#waiting = reply
    if (before === null) return []
    if (before.equals(reply)) return [before]
    this.#waiting = null
    this.#mark()
    return [reply, before]
  }

  #mark(): void {
    this.#done = true
    this.#happened()
  }
}
