/**
 * A primary that isn't one: gives an engine that replicates from it one RDB, and then only keeps the link alive. So an
 * engine takes new contents by its own replication: it loads the copy whole or not at all, and then writes its append-only
 * file anew; killed before that has ended, it starts from the old file.
 */
import { timingSafeEqual } from 'node:crypto'
import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { listenInNamespace, setLoopbackUp } from '../../../lib/kernel/namespaces.ts'
import { encodeCommand } from '../resp/encode.ts'
import { RequestReader } from '../resp/request-reader.ts'

export interface CopyContent {
  readonly bytes: number
  readonly pieces: () => AsyncIterable<Uint8Array>
}

const HOST = '127.0.0.1'
/** Free in a namespace whose engine is a primary: only replicas have a bridge. */
const PORT = 6379
/** Below the engine's repl-timeout. */
const PING_MS = 2000
/** An engine says no more than this to its primary. */
const REQUESTS = { maxArguments: 64, maxBulkBytes: 4096, maxLineBytes: 4096, keepWords: 4, keepBytes: 4096 }
const FULL_RESYNC = `+FULLRESYNC ${'0'.repeat(39)}1 1\r\n`

export class CopySource {
  readonly #content: CopyContent
  readonly #secret: Buffer
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #failed: (error: unknown) => void
  port = 0
  /** It was given whole, and the engine wants it once more: it could not be loaded. */
  askedAgain = false
  #given = false

  /** `secret`: the engine's masterauth. `failed`: the content could not be read; the engine keeps what it has. */
  constructor(content: CopyContent, secret: string, failed: (error: unknown) => void) {
    this.#content = content
    this.#secret = Buffer.from(secret)
    this.#failed = failed
    this.#server = createServer((socket) => this.#serve(socket))
  }

  /** `namespace` null: the engine shares ours. @throws NearcastError kernel.call-failed, and what the kernel says */
  async open(namespace: string | null): Promise<this> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      if (namespace !== null) setLoopbackUp(namespace)
      this.#server.listen(namespace === null ? { host: HOST, port: 0 } : { fd: listenInNamespace(namespace, HOST, PORT) }, resolve)
    })
    this.port = namespace === null ? (this.#server.address() as AddressInfo).port : PORT
    return this
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #serve(socket: Socket): void {
    const requests = new RequestReader(REQUESTS)
    let known = false
    this.#sockets.add(socket)
    let ping: NodeJS.Timeout | undefined
    socket.on('error', () => socket.destroy())
    socket.on('close', () => {
      clearInterval(ping)
      this.#sockets.delete(socket)
    })
    socket.on('data', (chunk: Buffer) => {
      for (let at = 0; at < chunk.length; at = requests.offset) {
        const step = requests.step(chunk, at)
        if (step === 'invalid') socket.destroy()
        if (step !== 'done') return
        const words = requests.words.map(String)
        const name = words[0]?.toUpperCase()
        if (name === 'AUTH') known = this.#knows(words.at(-1) ?? '')
        if (name === 'AUTH') socket.write(known ? '+OK\r\n' : '-WRONGPASS\r\n')
        else if (!known) socket.write('-NOAUTH\r\n')
        else if (name === 'PING') socket.write('+PONG\r\n')
        // Behind the copy the link is alive by pings.
        else if (name === 'PSYNC' && this.#given) {
          this.askedAgain = true
          socket.destroy()
        } else if (name === 'PSYNC') void this.#send(socket).then((whole) => (ping = whole ? setInterval(() => socket.write(encodeCommand(['PING'])), PING_MS) : undefined))
        else if (name === 'REPLCONF' && words[1]?.toUpperCase() !== 'ACK') socket.write('+OK\r\n')
      }
    })
  }

  async #send(socket: Socket): Promise<boolean> {
    try {
      socket.write(`${FULL_RESYNC}$${this.#content.bytes}\r\n`)
      for await (const piece of this.#content.pieces()) {
        if (socket.destroyed) return false
        if (!socket.write(piece)) await new Promise<void>((resolve) => void socket.once('drain', resolve).once('close', resolve))
      }
      this.#given = !socket.destroyed
      return this.#given
    } catch (error) {
      socket.destroy()
      this.#failed(error)
      return false
    }
  }

  #knows(password: string): boolean {
    const given = Buffer.from(password)
    return given.length === this.#secret.length && timingSafeEqual(given, this.#secret)
  }
}
