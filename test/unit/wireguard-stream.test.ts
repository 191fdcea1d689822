/** WireGuard in a stream: the framing against awkward pieces, and both ends with TLS between them. */
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { connect, setDefaultCACertificates } from 'node:tls'
import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Issuer } from '../../lib/certificate.ts'
import { WebSocket } from '../../lib/websocket.ts'
import { Device } from '../../lib/wireguard/device.ts'
import { clampPrivate } from '../../lib/wireguard/keys.ts'
import { MemoryTun } from '../../lib/wireguard/memory-tun.ts'
import { StreamDecoder, streamFrame, streamKeepalive, streamOpening } from '../../lib/wireguard/stream-framing.ts'
import { UdpBind } from '../../lib/wireguard/udp-bind.ts'
import { WebSocketBind } from '../../lib/wireguard/websocket-bind.ts'
import { startRelay } from '../../cli/wireguard/relay.ts'
import { JoinedBind } from '../../router/gateway/joined-bind.ts'
import { GatewayWebSocketBind } from '../../router/gateway/websocket-bind.ts'
import { Random, testSeed } from '../support/random.ts'
import { until } from '../support/until.ts'
import { ipv6Packet } from '../support/wireguard-network.ts'

test('the framing, byte by byte', () => {
  expect(Buffer.from(streamOpening()).toString('hex')).toBe('2faced77')
  expect(Buffer.from(streamKeepalive()).toString('hex')).toBe('00000000')
  expect(Buffer.from(streamFrame(Buffer.from('abc'))).toString('hex')).toBe('00000003616263')
})

test('whatever the pieces, the same datagrams come out; keepalives say nothing', () => {
  const random = new Random(testSeed('wireguard-stream'))
  for (let round = 0; round < 200; round++) {
    const datagrams = Array.from({ length: random.below(8) }, () => random.bytes(1 + random.below(2048)))
    const stream = Buffer.concat([streamOpening(), ...datagrams.flatMap((each) => [streamFrame(each), ...(random.below(2) === 0 ? [streamKeepalive()] : [])])])
    const decoder = new StreamDecoder(true)
    const found: Uint8Array[] = []
    for (let offset = 0; offset < stream.length; ) {
      const end = Math.min(stream.length, offset + 1 + random.below(random.below(2) === 0 ? 3 : 3000))
      const piece = Buffer.from(stream.subarray(offset, end))
      expect(decoder.push(piece, (datagram) => found.push(Uint8Array.from(datagram)))).toBe(true)
      // It is the caller's, and used again.
      piece.fill(0xee)
      offset = end
    }
    expect(found).toEqual(datagrams)
  }
})

test.each([
  ['another opening', '2faced78', false],
  ['a length of 2049', '2faced7700000801', false],
  ['a length of 2^32-1', '2faced77ffffffff', false],
  ['half an opening', '2face', true],
  ['half a length', '2faced770000', true],
])('%s: %s', (_what, hex, sound) => {
  const decoder = new StreamDecoder(true)
  expect(decoder.push(Buffer.from(hex, 'hex'), () => expect.unreachable())).toBe(sound)
  // Nothing is taken after what can't be.
  if (!sound) expect(decoder.push(streamFrame(Buffer.from('x')), () => expect.unreachable())).toBe(false)
})

const directory = mkdtempSync(join(tmpdir(), 'nearcast-stream-'))
const files = { certificate: join(directory, 'tls.pem'), key: join(directory, 'tls.key') }
const closing: { close(): Promise<void> }[] = []
let issuer: Issuer

async function certify(commonName: string): Promise<void> {
  const { certificate, key } = await issuer.issueWithKey({ commonName, names: [{ type: 'ip', value: '127.0.0.1' }] })
  writeFileSync(files.key, key)
  writeFileSync(files.certificate, certificate)
}

beforeAll(async () => {
  issuer = await Issuer.create('stream test')
  setDefaultCACertificates([issuer.pem])
  await certify('first')
})
afterEach(async () => {
  for (const each of closing.splice(0).toReversed()) await each.close()
})
afterAll(() => rmSync(directory, { recursive: true }))

interface Gateway {
  readonly device: Device
  readonly sockets: GatewayWebSocketBind
  readonly tun: MemoryTun
  readonly packets: Uint8Array[]
  readonly url: string
}

async function startGateway(peer: string, { maxConnections = 10, silenceMs = 15_000, reloadMs = 10_000, port = 0 } = {}): Promise<Gateway> {
  const packets: Uint8Array[] = []
  const tun = new MemoryTun((packet) => packets.push(packet))
  const sockets = new GatewayWebSocketBind({ listen: `127.0.0.1:${port}`, ...files, maxConnections }, { silenceMs, reloadMs })
  const device = new Device({ privateKey: clampPrivate(randomBytes(32)), tun, bind: new JoinedBind([new UdpBind({ ipv4: '127.0.0.1', ipv6: null }), sockets]) })
  await device.open()
  closing.push(device)
  if (peer !== '') device.setPeer(peer, { allowedIps: ['fdaa:0:1:2::1'] })
  return { device, sockets, tun, packets, url: `wss://127.0.0.1:${sockets.port}/` }
}

test('two devices through it: packets both ways, by a client of ours and by one that knows UDP only; the gateway comes back', async () => {
  const privateKey = clampPrivate(randomBytes(32))
  const udp = new Device({ privateKey: Uint8Array.from(privateKey), bind: new UdpBind({ ipv4: '127.0.0.1', ipv6: null }), tun: new MemoryTun(() => {}) })
  const { publicKey } = udp
  const gateway = await startGateway(publicKey)

  const packets: Uint8Array[] = []
  const tun = new MemoryTun((packet) => packets.push(packet))
  const states: string[] = []
  const bind = new WebSocketBind({ url: gateway.url, reconnectMs: 20, onState: (state) => states.push(state) })
  const client = new Device({ privateKey, bind, tun })
  await client.open()
  closing.push(client)
  await until('it is connected', () => states.includes('connected'))
  client.setPeer(gateway.device.publicKey, { endpoint: bind.endpoint, allowedIps: ['fdaa:0:1:2::2'] })
  tun.inject(ipv6Packet(1, 2, randomBytes(1380)))
  await until('there', () => gateway.packets.length === 1)
  gateway.tun.inject(ipv6Packet(2, 1, randomBytes(1380)))
  await until('and back', () => packets.length === 1)
  expect(gateway.sockets.connections).toBe(1)

  // The connection breaks; the next one carries the same session.
  for (const each of gateway.device.peers()) expect(each.endpoint?.host).toBe('127.0.0.1')
  const { port } = gateway.sockets
  await closing.splice(0, 1)[0]?.close()
  await until('it has noticed', () => states.at(-1) === 'disconnected')
  const again = await startGateway(publicKey, { port })
  await until('it is connected again', () => states.at(-1) === 'connected' && again.sockets.connections === 1)
  await client.close()
  await until('its connection is gone', () => again.sockets.connections === 0)

  // A stock client, which is given a port of its own machine.
  const relay = await startRelay({ url: again.url, listen: '127.0.0.1:0' })
  closing.push(relay)
  closing.push(udp)
  await udp.open()
  await until('the relay is connected', () => again.sockets.connections === 1)
  udp.setPeer(again.device.publicKey, { endpoint: { host: '127.0.0.1', port: relay.port }, allowedIps: ['fdaa:0:1:2::2'], persistentKeepaliveSeconds: 25 })
  await until('its handshake is through', () => udp.peers()[0]?.lastHandshakeMs !== null)
})

test('a relay ends at once, though the gateway is out of reach by then', async () => {
  // Takes the WebSocket, and never says a word again, not even that it has heard of the end.
  const { key, certificate } = { key: readFileSync(files.key), certificate: readFileSync(files.certificate) }
  const sockets: Duplex[] = []
  const mute = createServer({ key, cert: certificate }).on('upgrade', (request, socket) => {
    sockets.push(socket)
    const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`)
    socket.pause()
  })
  await once(mute.listen(0, '127.0.0.1'), 'listening')
  const { port } = mute.address() as AddressInfo
  const ca = join(directory, 'ca.pem')
  writeFileSync(ca, issuer.pem)
  const relay = spawn(process.execPath, ['cli/main.ts', 'wireguard', 'relay', `wss://127.0.0.1:${port}/`, '--listen', '127.0.0.1:0'], { env: { ...process.env, NODE_EXTRA_CA_CERTS: ca }, stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  relay.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
  await until('it is connected', () => said.includes('connected'))
  const ended = once(relay, 'exit')
  relay.kill('SIGTERM')
  expect(await ended).toEqual([0, null])
  for (const socket of sockets) socket.destroy()
  mute.close()
})

/** Resolves with the close code. */
async function closed(socket: WebSocket): Promise<number> {
  const [code] = (await once(socket, 'close')) as [number]
  return code
}

test('hostile clients: another opening, a length beyond the limit, silence, one too many, no WebSocket at all', async () => {
  const gateway = await startGateway('', { maxConnections: 2, silenceMs: 300 })
  const dial = async (...first: Uint8Array[]): Promise<WebSocket> => {
    const socket = new WebSocket(gateway.url, { ca: issuer.pem })
    await once(socket, 'open')
    for (const each of first) socket.send(each)
    return socket
  }
  expect(await closed(await dial(Buffer.from('GET / HTTP/1.1\r\n')))).toBe(1006)
  expect(await closed(await dial(streamOpening(), Buffer.from('ffffffff', 'hex')))).toBe(1006)
  expect(await closed(await dial(Buffer.alloc(64 * 1024 + 1)))).toBe(1009)
  // Two that say nothing, and a third while they are there.
  await until('none is left', () => gateway.sockets.connections === 0)
  const silent = [await dial(), await dial(streamOpening())]
  const refused = new WebSocket(gateway.url, { ca: issuer.pem })
  const [error] = (await once(refused, 'error')) as [Error]
  expect(error.message).toContain('503')
  await Promise.all(silent.map(closed))
  await until('they are forgotten', () => gateway.sockets.connections === 0)
  expect((await fetch(gateway.url.replace('wss', 'https'))).status).toBe(426)
  expect([...gateway.device.drops.values()].every((count) => count === 0)).toBe(true)
})

test('a certificate that was replaced is taken up; one that is damaged is not', async () => {
  const gateway = await startGateway('', { reloadMs: 10 })
  const name = async (): Promise<string> => {
    const socket = connect({ host: '127.0.0.1', port: gateway.sockets.port, ca: issuer.pem })
    await once(socket, 'secureConnect')
    const { subject } = socket.getPeerCertificate()
    socket.destroy()
    return String(subject.CN)
  }
  expect(await name()).toBe('first')
  writeFileSync(files.certificate, 'nonsense')
  expect(await name()).toBe('first')
  await certify('second')
  const deadlineMs = performance.now() + 10_000
  while ((await name()) !== 'second') expect(performance.now()).toBeLessThan(deadlineMs)
})
