/** A server that notes each chunk that it reads, answers what it is told to, and can speak first. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'

export interface LineServerOptions {
  /** A path, or a port on 127.0.0.1 (default: any free one). */
  readonly listen?: string | number
  readonly greeting?: string
  readonly answer?: (bytes: Buffer) => Buffer | string | null
  /** Ends a connection once it has sent so many bytes. */
  readonly endsAfter?: number
}

export class LineServer {
  readonly #options: LineServerOptions
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  /** Per connection, in the order of their coming: the chunks as they arrived. */
  readonly connections: Buffer[][] = []
  port = 0

  constructor(options: LineServerOptions = {}) {
    this.#options = options
    this.#server = createServer({ noDelay: true }, (socket) => this.#serve(socket))
  }

  async start(): Promise<this> {
    const { listen = 0 } = this.#options
    if (typeof listen === 'string') this.#server.listen(listen)
    else this.#server.listen(listen, '127.0.0.1')
    await once(this.#server, 'listening')
    if (typeof listen !== 'string') this.port = (this.#server.address() as AddressInfo).port
    return this
  }

  /** What connections have sent, those that sent nothing left out. */
  get said(): string[] {
    return this.connections.map((chunks) => Buffer.concat(chunks).toString('latin1')).filter((text) => text !== '')
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  #serve(socket: Socket): void {
    const { greeting, answer, endsAfter = Infinity } = this.#options
    const chunks: Buffer[] = []
    this.connections.push(chunks)
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('error', () => {})
    if (greeting !== undefined) socket.write(greeting)
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      const reply = answer?.(chunk) ?? null
      if (reply !== null) socket.write(reply)
      if (Buffer.concat(chunks).length >= endsAfter) socket.end()
    })
  }
}
