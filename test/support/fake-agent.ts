/**
 * An agent built from lib/hop alone: answers sessions and probes, checks connections as ours must, echoes what it is
 * sent behind its own name. `mode` makes it misbehave. Remembers what it was dialled for.
 */
import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { once } from 'node:events'
import { formatIpv6 } from '../../lib/address.ts'
import { dialerFrames, encodeAvailability, encodeFrame } from '../../lib/hop/frames.ts'
import { decodeOpening, verifyConnection } from '../../lib/hop/header.ts'
import type { ConnectionOpening } from '../../lib/hop/header.ts'
import { verifyingKeys } from '../../lib/hop/keys.ts'
import { STATUS } from '../../lib/hop/protocol.ts'
import { HopSessions } from '../../lib/hop/sessions.ts'

export interface Dialled {
  readonly service: string
  readonly generation: number
  readonly source: string
  readonly destination: string
}

/** silent: reads and answers no connection; stopped: accepts and does nothing at all, probes included. */
export type AgentMode = 'well' | 'refusing' | 'unavailable' | 'silent' | 'stopped'

export class FakeAgent {
  readonly id: string
  readonly socketPath: string
  readonly #server: Server
  readonly #keys: ReadonlyMap<number, Uint8Array>
  readonly #sockets = new Set<Socket>()
  readonly #sessionSockets = new Set<Socket>()
  #sessions = new HopSessions()
  mode: AgentMode = 'well'
  readonly dialled: Dialled[] = []
  sessionsOpened = 0
  probes = 0

  constructor(id: string, socketPath: string, keyHex: string) {
    this.id = id
    this.socketPath = socketPath
    this.#keys = verifyingKeys([{ epoch: 1, key: keyHex }])
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#serve(socket))
  }

  async listen(): Promise<this> {
    this.#server.listen(this.socketPath)
    await once(this.#server, 'listening')
    return this
  }

  /** Forgets all sessions, as a restart does, but keeps the connections: the dialer finds out by its next header. */
  forgetSessions(): void {
    this.#sessions = new HopSessions()
  }

  /** Tells all dialers which services don't answer here. */
  publish(unavailable: Record<string, string>): void {
    for (const socket of this.#sessionSockets) socket.write(encodeAvailability(unavailable))
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => socket.destroy()).on('close', () => this.#sockets.delete(socket))
    if (this.mode === 'stopped') return
    let held = Buffer.alloc(0)
    const onData = (chunk: Buffer): void => {
      held = Buffer.concat([held, chunk])
      const decoded = decodeOpening(held)
      if (decoded.state === 'incomplete') return
      socket.off('data', onData)
      if (decoded.state === 'invalid') return void socket.destroy()
      const { opening, headerBytes } = decoded
      const rest = held.subarray(headerBytes)
      if (opening.kind === 'connection') return this.#connection(socket, opening, rest)
      if (opening.kind === 'session') return this.#session(socket, opening.dialer)
      this.probes++
      socket.end(encodeFrame({ type: 'pong', n: 0 }))
    }
    socket.on('data', onData)
  }

  #session(socket: Socket, dialer: string): void {
    this.sessionsOpened++
    this.#sessionSockets.add(socket)
    socket.on('close', () => this.#sessionSockets.delete(socket)).on('end', () => socket.end())
    const session = Buffer.from(this.#sessions.open(dialer, performance.now())).toString('hex')
    socket.write(encodeFrame({ type: 'challenge', session }))
    socket.write(encodeAvailability({}))
    const frames = dialerFrames()
    socket.on('data', (chunk: Buffer) => {
      for (const { n } of frames.push(chunk).frames) socket.write(encodeFrame({ type: 'pong', n }))
    })
  }

  #connection(socket: Socket, opening: ConnectionOpening, rest: Uint8Array): void {
    const { connection } = opening
    const { service, generation, source, destination } = connection
    this.dialled.push({ service, generation, source: formatIpv6(source.ip), destination: `[${formatIpv6(destination.ip)}]:${destination.port}` })
    if (this.mode === 'silent') return
    const status = this.#check(opening)
    socket.write(Uint8Array.of(status))
    if (status !== STATUS.ok) return void socket.end()
    socket.write(`${this.id}:`)
    socket.write(rest)
    socket.on('data', (chunk: Buffer) => void socket.write(chunk))
    socket.on('end', () => socket.end())
  }

  #check(opening: ConnectionOpening): number {
    if (this.mode === 'refusing') return STATUS.refused
    if (this.mode === 'unavailable') return STATUS.unavailable
    if (opening.connection.agent !== this.id || !verifyConnection(opening, this.#keys)) return STATUS.refused
    const verdict = this.#sessions.check(opening.connection, performance.now())
    if (verdict === 'unknown-session') return STATUS.unknownSession
    return verdict === 'ok' ? STATUS.ok : STATUS.refused
  }
}
