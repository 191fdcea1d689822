/**
 * The backend that all programs under test share, run as a process of its own: takes the PROXY header off (v1, v2, or our
 * signed hop, which it checks and answers like an agent), dials Redis, carries. Its CPU time is nobody's.
 * On one TCP port it takes no header at all: the way without any proxy, which added latency is counted from.
 */
import { connect, createServer } from 'node:net'
import type { Socket } from 'node:net'
import { dialerFrames, encodeAvailability, encodeFrame } from '../lib/hop/frames.ts'
import { decodeOpening, verifyConnection } from '../lib/hop/header.ts'
import type { ConnectionOpening, HopOpening } from '../lib/hop/header.ts'
import { verifyingKeys } from '../lib/hop/keys.ts'
import { STATUS } from '../lib/hop/protocol.ts'
import { HopSessions } from '../lib/hop/sessions.ts'
import { decode } from '../lib/proxy-protocol/decode.ts'

interface Settings {
  readonly socket: string
  readonly redis: string
  readonly agent: string
  readonly key: string
  readonly direct: number
}

const settings = JSON.parse(process.env['BENCH_BACKEND'] ?? '{}') as Settings
const sessions = new HopSessions()
const keys = verifyingKeys([{ epoch: 1, key: settings.key }])
const BACKLOG = 4096

function onHeader(socket: Socket, found: (bytes: Buffer) => boolean): void {
  let held: Buffer = Buffer.alloc(0)
  const onData = (chunk: Buffer): void => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    const consumed = found(held)
    if (consumed) socket.off('data', onData)
  }
  socket.on('data', onData)
}

function serve(socket: Socket): void {
  socket.on('error', () => socket.destroy())
  onHeader(socket, (held) => {
    const opening = decodeOpening(held)
    if (opening.state === 'done') {
      hop(socket, opening.opening, held.subarray(opening.headerBytes))
      return true
    }
    const plain = decode(held)
    if (opening.state === 'incomplete' && plain.state === 'incomplete') return false
    if (plain.state === 'done') carry(socket, held.subarray(plain.headerBytes))
    else if (plain.state === 'invalid') socket.destroy()
    return plain.state !== 'incomplete'
  })
}

function hop(socket: Socket, opening: HopOpening, rest: Uint8Array): void {
  if (opening.kind === 'connection') {
    const status = check(opening)
    if (status === STATUS.ok) carry(socket, rest, Uint8Array.of(status))
    else socket.end(Uint8Array.of(status))
    return
  }
  if (opening.kind === 'probe') {
    socket.end(encodeFrame({ type: 'pong', n: 0 }))
    return
  }
  const session = Buffer.from(sessions.open(opening.dialer, performance.now())).toString('hex')
  socket.write(Buffer.concat([encodeFrame({ type: 'challenge', session }), encodeAvailability({})]))
  const frames = dialerFrames()
  socket.on('data', (chunk: Buffer) => {
    for (const { n } of frames.push(chunk).frames) socket.write(encodeFrame({ type: 'pong', n }))
  })
}

function check(opening: ConnectionOpening): number {
  if (opening.connection.agent !== settings.agent || !verifyConnection(opening, keys)) return STATUS.refused
  const verdict = sessions.check(opening.connection, performance.now())
  if (verdict === 'unknown-session') return STATUS.unknownSession
  return verdict === 'ok' ? STATUS.ok : STATUS.refused
}

function carry(socket: Socket, rest: Uint8Array, status?: Uint8Array): void {
  const redis = connect({ path: settings.redis }, () => {
    if (status) socket.write(status)
  })
  redis.on('error', () => socket.destroy())
  redis.on('close', () => socket.destroy())
  socket.on('close', () => redis.destroy())
  if (rest.length > 0) redis.write(rest)
  socket.pipe(redis)
  redis.pipe(socket)
}

const hopServer = createServer(serve)
const directServer = createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => socket.destroy())
  carry(socket, new Uint8Array())
})
hopServer.listen({ path: settings.socket, backlog: BACKLOG }, () => {
  directServer.listen({ host: '::1', port: settings.direct, backlog: BACKLOG }, () => process.stdout.write('ready\n'))
})
