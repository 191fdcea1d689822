/**
 * Many WireGuard clients in one process, the least that they need: a handshake each, and then pings through their sessions.
 * `crowd <settings file>` prints one line of JSON. What is measured is the processor time of the device that answers.
 *
 * One UDP socket for all: the device tells peers apart by their keys and indexes. So that it isn't asked too much at once,
 * at most WINDOW questions are open.
 */
import { createSocket } from 'node:dgram'
import { readFileSync } from 'node:fs'
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import { preferBlake2s } from '../../lib/wireguard/blake2s.ts'
import { wasmAead } from '../../lib/wireguard/wasm-aead.ts'
import { wasmBlake2s } from '../../lib/wireguard/wasm-blake2s.ts'
import { cpuTime } from '../process-usage.ts'
import { parseIpv6 } from '../../lib/address.ts'
import { CookieJar } from '../../lib/wireguard/cookies.ts'
import { decodeKey, KeyPair, PublicKey } from '../../lib/wireguard/keys.ts'
import { decodeMessage, encodeInitiation } from '../../lib/wireguard/messages.ts'
import { NO_PRESHARED_KEY, readSecond, writeFirst } from '../../lib/wireguard/noise.ts'
import type { NoiseState } from '../../lib/wireguard/noise.ts'
import { Session } from '../../lib/wireguard/session.ts'
import { timestampAfter } from '../../lib/wireguard/tai64n.ts'
import { randomBytes } from 'node:crypto'

export interface CrowdSettings {
  readonly device: { readonly publicKey: string; readonly host: string; readonly port: number; readonly inside: string; readonly pid: number }
  readonly clients: readonly { readonly privateKey: string; readonly address: string }[]
  /** 0: handshakes only. */
  readonly pingMs: number
  /** Sessions stay; it waits until it is killed. */
  readonly stay: boolean
  /** A file. */
  readonly wasm: string
  readonly mtu: number
}

export interface CrowdResult {
  readonly handshakes: number
  readonly handshakesPerCpuSecond: number
  readonly pings: number
  readonly cpuUsPerPing: number
}

interface Client {
  readonly local: KeyPair
  readonly ephemeral: KeyPair
  readonly initiation: Uint8Array
  readonly state: NoiseState
  readonly ping: Uint8Array
  session: Session | null
}

const WINDOW = 48
/** What is lost on the way is asked again. */
const LOST_MS = 1000
const settings = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as CrowdSettings
const aead = wasmAead(new Uint8Array(readFileSync(settings.wasm)))
preferBlake2s(wasmBlake2s(new Uint8Array(readFileSync(join(dirname(settings.wasm), 'blake2s.wasm')))))
const remote = new PublicKey(settings.device.publicKey)
const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20, sendBufferSize: 4 << 20 }).bind(0)
await once(socket, 'listening')

const clients = settings.clients.map(prepared)
/** Called with the client that was answered. */
let answered: (index: number) => void = () => undefined
const memory = new Uint8Array(2048)
socket.on('message', (datagram) => {
  const message = decodeMessage(datagram)
  if (message?.type === 'response') {
    const client = clients[message.receiver]
    if (client === undefined || client.session !== null) return
    const read = readSecond(client.state, client.local, client.ephemeral, NO_PRESHARED_KEY, message.second)
    if (read === null) return
    client.session = new Session({ isInitiator: true, localIndex: message.receiver, remoteIndex: message.sender, nowMs: performance.now() }, read.keys, aead)
    answered(message.receiver)
  } else if (message?.type === 'transport' && message.sealed.length > 16 && clients[message.receiver]?.session?.open(message.counter, message.sealed, memory)) answered(message.receiver)
})

const handshakes = await ask(0, (client) => send(client.initiation), clients.length)
// An empty packet of each, so that the device may use its sessions, too.
for (const { session } of clients) if (session !== null) send(session.seal(new Uint8Array(0), settings.mtu))
const pings = settings.pingMs === 0 ? { count: 0, cpuUs: 0 } : await ask(settings.pingMs, ({ session, ping }) => session !== null && send(session.seal(ping, settings.mtu)), Infinity)
const result: CrowdResult = {
  handshakes: handshakes.count,
  handshakesPerCpuSecond: handshakes.count / (handshakes.cpuUs / 1e6),
  pings: pings.count,
  cpuUsPerPing: pings.cpuUs / pings.count,
}
process.stdout.write(`${JSON.stringify(result)}\n`)
if (!settings.stay) process.exit()

function send(bytes: Uint8Array): void {
  socket.send(bytes, settings.device.port, settings.device.host)
}

/** Asks one client after the other, WINDOW at a time, for so long (0: until all were answered once). */
async function ask(durationMs: number, question: (client: Client) => unknown, limit: number): Promise<{ count: number; cpuUs: number }> {
  let next = 0
  let count = 0
  let lastMs = performance.now()
  const askNext = (): void => {
    const index = next++ % clients.length
    const client = clients[index]
    if (next <= limit && client !== undefined) question(client)
  }
  const before = cpuTime([settings.device.pid]).totalUs
  const startMs = performance.now()
  const isOver = (): boolean => (durationMs === 0 ? count >= limit : performance.now() - startMs >= durationMs)
  await new Promise<void>((resolve) => {
    const retry = setInterval(() => {
      if (isOver()) return resolve()
      if (performance.now() - lastMs < LOST_MS) return
      lastMs = performance.now()
      if (durationMs > 0) for (let open = 0; open < WINDOW; open++) askNext()
      else for (const client of clients) if (client.session === null) question(client)
    }, 50)
    answered = () => {
      count++
      lastMs = performance.now()
      if (isOver()) {
        clearInterval(retry)
        resolve()
      } else askNext()
    }
    for (let open = 0; open < WINDOW; open++) askNext()
  })
  answered = () => undefined
  return { count, cpuUs: cpuTime([settings.device.pid]).totalUs - before }
}

function prepared({ privateKey, address }: CrowdSettings['clients'][number], index: number): Client {
  const local = KeyPair.fromPrivate(decodeKey(privateKey))
  const ephemeral = KeyPair.fromPrivate(new Uint8Array(randomBytes(32)))
  const shared = local.agree(remote)
  const written = shared === null ? null : writeFirst({ local, remote, shared }, ephemeral, timestampAfter(Date.now(), null))
  if (written === null) throw new Error('The device has no such key.')
  const initiation = encodeInitiation(index, written.message)
  new CookieJar(remote).sign(initiation, 0)
  return { local, ephemeral, initiation, state: written.state, ping: echoRequest(address, settings.device.inside, index), session: null }
}

/** ICMPv6 (RFC 4443, section 4.1) with 24 bytes inside: 72 bytes in all. */
function echoRequest(from: string, to: string, sequence: number): Uint8Array {
  const packet = Buffer.alloc(72)
  const length = packet.length - 40
  packet[0] = 0x60
  packet.writeUInt16BE(length, 4)
  packet[6] = 58
  packet[7] = 64
  packet.set(parseIpv6(from), 8)
  packet.set(parseIpv6(to), 24)
  packet[40] = 128
  packet.writeUInt16BE(sequence & 0xffff, 46)
  // Of the addresses, the length, the next header, and what is inside (RFC 8200, section 8.1).
  let sum = length + 58
  for (let offset = 8; offset < packet.length; offset += 2) sum += packet.readUInt16BE(offset)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  packet.writeUInt16BE(~sum & 0xffff, 42)
  return packet
}
