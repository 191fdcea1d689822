/**
 * A calm load: requests at a fixed rate, spread over connections, far below what any program can carry. Gives the time of
 * each request from write to answer. Connections are opened beforehand and closed afterwards.
 */
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'

const GET = Buffer.from('*2\r\n$3\r\nGET\r\n$4\r\nnone\r\n')
const TICK_MS = 1
const DRAIN_TIMEOUT_MS = 5000

export interface PacedLoad {
  readonly host: string
  readonly port: number
  /** Of the database, if it has one. */
  readonly password?: string
  readonly connections: number
  readonly perSecond: number
  readonly durationMs: number
}

interface Line {
  readonly socket: Socket
  sentAtMs: number
}

export class PacedClient {
  readonly #load: PacedLoad
  readonly #idle: Line[] = []
  readonly #lines: Line[] = []
  readonly #latenciesMs: number[] = []
  #busy = 0
  #drained: (() => void) | null = null

  private constructor(load: PacedLoad) {
    this.#load = load
  }

  static async open(load: PacedLoad): Promise<PacedClient> {
    const client = new PacedClient(load)
    for (let count = 0; count < load.connections; count++) await client.#connect()
    // Each has been through once before anything is measured.
    for (const line of client.#lines) client.#send(line)
    await client.#drain()
    client.#latenciesMs.length = 0
    return client
  }

  /** @returns milliseconds of every request. */
  async run(): Promise<readonly number[]> {
    const { perSecond, durationMs } = this.#load
    const startedMs = performance.now()
    let sent = 0
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setInterval(() => {
      const elapsedMs = performance.now() - startedMs
      if (elapsedMs >= durationMs) return resolve()
      for (const due = Math.floor((elapsedMs * perSecond) / 1000); sent < due; sent++) {
        const line = this.#idle.shift()
        if (line) this.#send(line)
      }
    }, TICK_MS)
    await promise
    clearInterval(timer)
    await this.#drain()
    return this.#latenciesMs
  }

  close(): void {
    for (const { socket } of this.#lines) socket.destroy()
  }

  async #connect(): Promise<void> {
    const { host, port, password } = this.#load
    const socket = connect({ host, port, noDelay: true })
    await once(socket, 'connect')
    if (password !== undefined) {
      socket.write(`AUTH ${password}\r\n`)
      await once(socket, 'data')
    }
    const line: Line = { socket, sentAtMs: 0 }
    this.#lines.push(line)
    socket.on('error', () => undefined)
    socket.on('data', () => {
      this.#latenciesMs.push(performance.now() - line.sentAtMs)
      this.#idle.push(line)
      this.#busy--
      if (this.#busy === 0) this.#drained?.()
    })
  }

  #send(line: Line): void {
    this.#busy++
    line.sentAtMs = performance.now()
    line.socket.write(GET)
  }

  /** @throws Error when answers are missing. */
  async #drain(): Promise<void> {
    if (this.#busy === 0) return
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#drained = resolve
    const timer = setTimeout(() => reject(new Error(`${this.#busy} requests were never answered`)), DRAIN_TIMEOUT_MS)
    await promise.finally(() => clearTimeout(timer))
    this.#drained = null
  }
}
