/**
 * Where connections of databases with limits pass: a Unix socket of the agent's own. The plane dials it instead of the
 * engine's, with a ticket that counts once; from here the engine is dialled, and what is said is read on the way
 * (read-connection.ts). Databases without such limits never come here.
 *
 * Owns its socket's file and both sockets of each connection. Opens when the first ticket is asked for.
 */
import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { NearcastError } from '../../../lib/errors.ts'
import type { Account } from './account.ts'
import type { CommandKind } from './command-table.ts'
import { ReadConnection } from './read-connection.ts'

export interface Reading {
  /** The engine's socket. */
  readonly path: string
  readonly account: Account
  readonly kindOf: (name: string) => CommandKind
  readonly makeRoom: (() => Promise<void>) | null
}

const TICKET_BYTES = 32
/** From the ticket to the connection. */
const TICKET_MS = 5000
const MAX_SOCKET_PATH_BYTES = 107
/** What engines say is read into this one, and copied: cheaper than a fresh buffer of this size for each read. */
const SCRATCH = Buffer.alloc(64 * 1024)

export class ReadingRoom {
  readonly #path: string
  readonly #tickets = new Map<string, Reading>()
  readonly #sockets = new Set<Socket>()
  #server: Server | null = null

  constructor(path: string) {
    this.#path = path
  }

  /** @returns where to dial, and what to say first. @throws NearcastError redis.path-too-long, and what the system says */
  async admit(reading: Reading): Promise<{ readonly target: { readonly kind: 'unix'; readonly path: string }; readonly header: Uint8Array }> {
    await this.#open()
    const ticket = randomBytes(TICKET_BYTES)
    const key = ticket.toString('hex')
    this.#tickets.set(key, reading)
    setTimeout(() => this.#tickets.delete(key), TICKET_MS).unref()
    return { target: { kind: 'unix', path: this.#path }, header: ticket }
  }

  /** Idempotent. Ends what is open. */
  close(): void {
    this.#server?.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #opening: Promise<void> | null = null

  #open(): Promise<void> {
    this.#opening ??= this.#listen()
    return this.#opening
  }

  async #listen(): Promise<void> {
    if (Buffer.byteLength(this.#path) > MAX_SOCKET_PATH_BYTES) {
      throw new NearcastError('redis.path-too-long', `${this.#path} has more than ${MAX_SOCKET_PATH_BYTES} bytes; choose a shorter stateDir.`)
    }
    // Of an agent that was killed; its directory is ours alone.
    rmSync(this.#path, { force: true })
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => this.#arrived(socket))
    this.#server = server
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(this.#path, resolve)
    })
    server.unref()
  }

  #arrived(client: Socket): void {
    this.#keep(client)
    let held: Buffer = Buffer.alloc(0)
    const onData = (chunk: Buffer): void => {
      held = Buffer.concat([held, chunk])
      if (held.length < TICKET_BYTES) return
      client.off('data', onData)
      client.pause()
      const key = held.toString('hex', 0, TICKET_BYTES)
      const reading = this.#tickets.get(key)
      this.#tickets.delete(key)
      if (reading === undefined) return void client.destroy()
      if (held.length > TICKET_BYTES) client.unshift(held.subarray(TICKET_BYTES))
      this.#begin(client, reading)
    }
    client.on('data', onData)
    client.resume()
  }

  #begin(client: Socket, { path, account, kindOf, makeRoom }: Reading): void {
    const onread = {
      buffer: SCRATCH,
      callback: (bytes: number): boolean => engine.emit('data', Buffer.from(SCRATCH.subarray(0, bytes))),
    }
    const engine = connect({ path, allowHalfOpen: true, onread })
    this.#keep(engine)
    void new ReadConnection({ client, engine, account, kindOf, makeRoom, nowMs: () => performance.now() })
    client.resume()
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => this.#sockets.delete(socket))
  }
}
