/**
 * A dialer of the hop, byte by byte: opens a session at an agent's Unix socket and signs headers for it, correct ones
 * and, by `change` and `key`, wrong ones.
 */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { parseIpv6 } from '../../lib/address.ts'
import { agentFrames } from '../../lib/hop/frames.ts'
import { encodeConnection, encodeSession } from '../../lib/hop/header.ts'
import type { HopConnection } from '../../lib/hop/header.ts'
import type { FromAgent } from '../../lib/hop/protocol.ts'
import { KEY } from './data-node.ts'
import { until } from './until.ts'

/** A socket that remembers. */
export class Wire {
  readonly socket: Socket
  received: Buffer = Buffer.alloc(0)
  closed = false

  constructor(path: string) {
    this.socket = connect({ path })
    this.socket.on('data', (chunk: Buffer) => {
      this.received = Buffer.concat([this.received, chunk])
    })
    this.socket.on('error', () => {})
    this.socket.on('close', () => (this.closed = true))
  }

  get text(): string {
    return this.received.toString()
  }

  send(bytes: Uint8Array | string): this {
    this.socket.write(bytes)
    return this
  }

  /** The status byte, or null when it was closed without one. */
  async status(): Promise<number | null> {
    await until('a status byte or the end', () => this.received.length > 0 || this.closed)
    return this.received[0] ?? null
  }

  /** What follows the status byte, once it ends with `end`. */
  async reply(end = '\r\n'): Promise<string> {
    await until(`a reply`, () => this.closed || (this.received.length > 1 && this.text.endsWith(end)))
    return this.received.subarray(1).toString()
  }
}

export interface HopDialerOptions {
  readonly path: string
  readonly dialer?: string
  readonly agent: string
  readonly key?: string
}

export class HopDialer {
  readonly #options: Required<HopDialerOptions>
  readonly #wires: Wire[] = []
  readonly frames: FromAgent[] = []
  #session = new Uint8Array(16)
  #counter = 0n
  sessionWire: Wire | null = null

  constructor(options: HopDialerOptions) {
    this.#options = { dialer: 'proxy/mad-1', key: KEY, ...options }
  }

  wire(): Wire {
    const wire = new Wire(this.#options.path)
    this.#wires.push(wire)
    return wire
  }

  async open(): Promise<this> {
    const { dialer, agent } = this.#options
    const wire = this.wire()
    const reader = agentFrames()
    wire.socket.on('data', (chunk: Buffer) => this.frames.push(...reader.push(chunk).frames))
    wire.send(encodeSession(dialer, agent))
    this.sessionWire = wire
    await until('the challenge and the first states', () => this.frames.some(({ type }) => type === 'load') || wire.closed)
    for (const frame of this.frames) if (frame.type === 'challenge') this.#session = Uint8Array.from(Buffer.from(frame.session, 'hex'))
    return this
  }

  get unavailable(): Readonly<Record<string, string>> | null {
    return this.frames.findLast((frame) => frame.type === 'availability')?.unavailable ?? null
  }

  header(service: string, destination: string, change: Partial<HopConnection> = {}, key = this.#options.key): Uint8Array {
    const { dialer, agent } = this.#options
    const connection: HopConnection = {
      purpose: 'client',
      dialer,
      agent,
      service,
      generation: 1,
      epoch: 1,
      session: this.#session,
      worker: 0,
      counter: this.#counter++,
      source: { ip: parseIpv6('fdaa:0:1:2::5'), port: 40_000 },
      destination: { ip: parseIpv6(destination), port: 6379 },
      ...change,
    }
    return encodeConnection(connection, Buffer.from(key, 'hex'))
  }

  connect(service: string, destination: string, change: Partial<HopConnection> = {}, key = this.#options.key): Wire {
    return this.wire().send(this.header(service, destination, change, key))
  }

  /** One command, as the database's default user. */
  async command(service: string, destination: string, password: string, line: string): Promise<string> {
    const wire = this.connect(service, destination)
    const status = await wire.status()
    if (status !== 0) return `status ${status}`
    wire.send(`AUTH ${password}\r\n${line}\r\n`)
    await until(`a reply to ${line}`, () => wire.closed || /^.\+OK\r\n.+\r\n$/s.test(wire.text))
    wire.socket.destroy()
    return wire.received.subarray(1).toString().replace('+OK\r\n', '')
  }

  close(): void {
    for (const { socket } of this.#wires) socket.destroy()
  }
}
