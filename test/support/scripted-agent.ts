/**
 * The agent's end of sessions and probes, scripted by a test: listens on a Unix socket or on TLS, reads openings,
 * answers what it is told to. It carries no connection (fake-agent.ts does).
 */
import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import type { HopTls } from '../../lib/plane/plane.ts'
import { dialerFrames, encodeFrame } from '../../lib/hop/frames.ts'
import type { HopOpening } from '../../lib/hop/header.ts'
import { decodeOpening } from '../../lib/hop/header.ts'
import { HOP_ALPN } from '../../lib/hop/protocol.ts'

export interface ScriptedConnection {
  readonly socket: Socket
  readonly opening: HopOpening
}

export class ScriptedAgent {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly connections: ScriptedConnection[] = []
  accepted = 0
  /** What to do with an opening. Default: `answer`. */
  onOpening: (connection: ScriptedConnection) => void = (connection) => this.answer(connection)
  /** false: pings stay without an answer. */
  answersPings = true

  constructor(tls?: HopTls) {
    const onSocket = (socket: Socket): void => this.#serve(socket)
    this.#server =
      tls === undefined
        ? createServer(onSocket)
        : createTlsServer({ ca: tls.ca, cert: tls.certificate, key: tls.key, requestCert: true, ALPNProtocols: [HOP_ALPN] }, onSocket)
  }

  /** On a Unix socket, or on [::1] at a port that is answered. */
  async listen(path?: string): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<void>()
    if (path === undefined) this.#server.listen(0, '::1', resolve)
    else this.#server.listen(path, resolve)
    await promise
    const address = this.#server.address()
    return address !== null && typeof address === 'object' ? address.port : 0
  }

  /** A challenge with the number of the connection, or the probe's pong. */
  answer({ socket, opening }: ScriptedConnection): void {
    if (opening.kind === 'probe') socket.write(encodeFrame({ type: 'pong', n: 0 }))
    if (opening.kind === 'session') socket.write(encodeFrame({ type: 'challenge', session: sessionHex(this.connections.length) }))
  }

  async close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#server.close(() => resolve())
    for (const socket of this.#sockets) socket.destroy()
    await promise
  }

  #serve(socket: Socket): void {
    this.accepted++
    this.#sockets.add(socket)
    let held: Buffer = Buffer.alloc(0)
    let opened = false
    const reader = dialerFrames()
    socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket))
    socket.on('data', (data: Buffer) => {
      held = Buffer.concat([held, data])
      if (!opened) {
        const answer = decodeOpening(held)
        if (answer.state === 'invalid') socket.destroy()
        if (answer.state !== 'done') return
        opened = true
        held = held.subarray(answer.headerBytes)
        const connection = { socket, opening: answer.opening }
        this.connections.push(connection)
        this.onOpening(connection)
      }
      for (const { n } of reader.push(held).frames) if (this.answersPings) socket.write(encodeFrame({ type: 'pong', n }))
      held = Buffer.alloc(0)
    })
  }
}

/** The session that the n-th connection (from 1) is challenged with. */
export function sessionHex(connection: number): string {
  return connection.toString(16).padStart(32, '0')
}
