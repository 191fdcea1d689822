/** The gateway without a host: who becomes a peer and who stays one, and which packets pass, both ways. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { asNetworkId, flycastAddress, formatIpv6, machineAddress, parseIpv6, peerAddress, peerPrefix } from '../../lib/address.ts'
import type { Ipv6 } from '../../lib/address.ts'
import type { Change } from '../../lib/feed/messages.ts'
import { FeedTable } from '../../lib/feed/reader.ts'
import type { RunCommand } from '../../lib/host-command.ts'
import { Device } from '../../lib/wireguard/device.ts'
import { clampPrivate, KeyPair } from '../../lib/wireguard/keys.ts'
import { MemoryTun } from '../../lib/wireguard/memory-tun.ts'
import { UdpBind } from '../../lib/wireguard/udp-bind.ts'
import { GatewayDevice } from '../../router/gateway/gateway-device.ts'
import { judgeInbound, judgeOutbound } from '../../router/gateway/inner-packets.ts'
import { JoinedBind } from '../../router/gateway/joined-bind.ts'
import { GatewayPeers } from '../../router/gateway/peers.ts'
import { gatewayKey } from '../../router/gateway/private-key.ts'
import { ReturnRoutes } from '../../router/gateway/return-routes.ts'
import { Whereabouts } from '../../router/gateway/whereabouts.ts'
import { until } from '../support/until.ts'

const PREFIX = 0xfdaa
const [acme, globex] = [asNetworkId(1), asNetworkId(2)]
const TCP = 6

function packet(source: Ipv6, destination: Ipv6, next = TCP): Uint8Array {
  const bytes = new Uint8Array(60)
  bytes[0] = 0x60
  bytes[5] = 20
  bytes[6] = next
  bytes.set(source, 8)
  bytes.set(destination, 24)
  return bytes
}

describe('packets inside', () => {
  const peer = peerAddress(acme, 1)
  const redis = flycastAddress(acme, 1)

  test.each([
    ['to a Flycast address of its network', packet(peer, redis), 'flycast'],
    ['a ping', packet(peer, redis, 58), 'flycast'],
    ["to another network's", packet(peer, flycastAddress(globex, 1)), 'foreign'],
    ['to a machine of its network', packet(peer, machineAddress(acme, 2, 1)), 'machine'],
    ['to another peer of its network', packet(peer, peerAddress(acme, 2)), 'peer'],
    ['UDP to another peer of its network', packet(peer, peerAddress(acme, 2), 17), 'peer'],
    ['a piece of a datagram to another peer', packet(peer, peerAddress(acme, 2), 44), 'peer'],
    ['options to another peer', packet(peer, peerAddress(acme, 2), 0), 'protocol'],
    ['a routing header to another peer', packet(peer, peerAddress(acme, 2), 43), 'protocol'],
    ["what gateways tell each other, to another peer", packet(peer, peerAddress(acme, 2), 61), 'protocol'],
    ["to another network's peer", packet(peer, peerAddress(globex, 2)), 'foreign'],
    ['from no peer to a peer', packet(machineAddress(acme, 2, 1), peer), 'machine'],
    ['to the infrastructure', packet(peer, parseIpv6('fdaa::3')), 'foreign'],
    ['to all nodes of the link', packet(peer, parseIpv6('ff02::1')), 'foreign'],
    ['to the host itself', packet(peer, parseIpv6('::1')), 'foreign'],
    ['to the Internet', packet(peer, parseIpv6('2001:db8::1')), 'foreign'],
    ['from outside the plan', packet(parseIpv6('2001:db8::1'), parseIpv6('2001:db8::2')), 'foreign'],
    ['UDP', packet(peer, redis, 17), 'protocol'],
    ['a fragment', packet(peer, redis, 44), 'protocol'],
    ['hop-by-hop options', packet(peer, redis, 0), 'protocol'],
    ['a routing header', packet(peer, redis, 43), 'protocol'],
    ['IPv4', Uint8Array.from(packet(peer, redis), (byte, index) => (index === 0 ? 0x45 : byte)), 'ipv4'],
    ['less than a header', packet(peer, redis).subarray(0, 39), 'ipv4'],
  ] as const)('%s: %#', (_what, bytes, verdict) => {
    const judged = judgeInbound(bytes, PREFIX)
    expect(judged.to ?? judged.drop).toBe(verdict)
  })

  test.each([
    ['an answer', packet(redis, peer), null],
    ["another network's answer", packet(flycastAddress(globex, 1), peer), 'reach'],
    ['from a machine', packet(machineAddress(acme, 2, 1), peer), 'reach'],
    ['from a peer', packet(peerAddress(acme, 2), peer), 'reach'],
    ['to a machine', packet(redis, machineAddress(acme, 2, 1)), 'reach'],
    ['router solicitation of the kernel', packet(parseIpv6('fe80::1'), parseIpv6('ff02::2'), 58), 'reach'],
  ] as const)('to a peer, %s', (_what, bytes, verdict) => {
    expect(judgeOutbound(bytes, PREFIX)).toBe(verdict)
  })
})

const closing: { close(): Promise<void> }[] = []
afterEach(async () => {
  await Promise.all(closing.splice(0).map((device) => device.close()))
})

async function opened<Opened extends Device | GatewayDevice>(device: Opened): Promise<Opened> {
  closing.push(device)
  await device.open()
  return device
}

interface Gateway {
  readonly device: GatewayDevice
  readonly tun: MemoryTun
  readonly delivered: Uint8Array[]
  /** What the feed says. */
  say(...changes: Change[]): void
  nowMs: number
}

async function startGateway(): Promise<Gateway> {
  const delivered: Uint8Array[] = []
  const tun = new MemoryTun((bytes) => delivered.push(bytes))
  const bind = new JoinedBind([new UdpBind({ ipv4: '127.0.0.1', ipv6: null }), new UdpBind({ ipv4: null, ipv6: '::1' })])
  const clock = { monotonicMs: () => performance.now(), wallMs: () => gateway.nowMs }
  const limits = { prefix: PREFIX, handshakesPerSecond: 200, maxPeers: 100, idleMs: 600_000, neighboursMtu: 1340 }
  const table = new FeedTable()
  const gateway: Gateway = {
    device: new GatewayDevice({ privateKey: clampPrivate(randomBytes(32)), bind, tun, clock, ...limits }),
    tun,
    delivered,
    nowMs: Date.now(),
    say: (...changes) => gateway.device.apply({ type: 'some', changes: table.apply(changes).applied }),
  }
  await opened(gateway.device)
  return gateway
}

interface Laptop {
  readonly device: Device
  readonly publicKey: string
  readonly tun: MemoryTun
  readonly received: Uint8Array[]
}

/** `allowed`: what it believes that it may reach. */
async function startLaptop(gateway: Gateway): Promise<Laptop> {
  const received: Uint8Array[] = []
  const tun = new MemoryTun((bytes) => received.push(bytes))
  const device = await opened(new Device({ privateKey: clampPrivate(randomBytes(32)), bind: new UdpBind({ ipv4: '127.0.0.1', ipv6: null }), tun }))
  device.setPeer(gateway.device.publicKey, { endpoint: { host: '127.0.0.1', port: gateway.device.port }, allowedIps: ['::/0'] })
  return { device, publicKey: device.publicKey, tun, received }
}

const row = (publicKey: string, network = acme, number = 1): Change => ({
  table: 'wireguard',
  key: publicKey,
  row: { publicKey, id: `wgp${number}`, org: 'o', network, prefix: peerPrefix(network, number) },
})

test("a peer of the feed is installed with its first handshake, and talks; a stranger isn't; a removed one is out at once", async () => {
  const gateway = await startGateway()
  const laptop = await startLaptop(gateway)
  const [own, redis] = [peerAddress(acme, 1), flycastAddress(acme, 7)]

  // Unknown: nothing is installed, nothing passes.
  laptop.tun.inject(packet(own, redis))
  await until('the handshake of a stranger is dropped', () => (gateway.device.state.deviceDrops.get('unknown-peer') ?? 0) > 0)
  expect([gateway.device.state.peers.installed, gateway.delivered.length]).toEqual([0, 0])

  gateway.say(row(laptop.publicKey))
  expect([gateway.device.state.peers.known, gateway.device.state.peers.installed]).toEqual([1, 0])
  const second = await startLaptop(gateway)
  gateway.say(row(second.publicKey, acme, 2))
  second.tun.inject(packet(peerAddress(acme, 2), redis))
  await until('its packet is through', () => gateway.delivered.length === 1)
  expect([gateway.device.state.peers.known, gateway.device.state.peers.installed]).toEqual([2, 1])
  gateway.tun.inject(packet(redis, peerAddress(acme, 2)))
  await until('the answer is through', () => second.received.length === 1)

  expect(gateway.device.seen([laptop.publicKey, second.publicKey])).toMatchObject([{ publicKey: second.publicKey, receivedBytes: expect.any(Number) }])
  expect(gateway.device.seen([laptop.publicKey])).toEqual([])

  // Somebody else's address, and another network: counted, where each is known.
  second.tun.inject(packet(own, redis))
  second.tun.inject(packet(peerAddress(acme, 2), flycastAddress(globex, 7)))
  await until('both are counted', () => gateway.device.state.deviceDrops.get('source') === 1 && gateway.device.state.innerDrops.get('foreign') === 1)
  expect(gateway.delivered.length).toBe(1)

  // Its session is alive, so it stays, however old its handshake.
  gateway.nowMs += 600_000
  gateway.device.tidy()
  expect(gateway.device.state.peers.installed).toBe(1)

  gateway.say({ table: 'wireguard', key: second.publicKey, row: null })
  expect([gateway.device.state.peers.known, gateway.device.state.peers.installed]).toEqual([1, 0])
  second.tun.inject(packet(peerAddress(acme, 2), redis))
  await until('its session is gone', () => (gateway.device.state.deviceDrops.get('unknown-session') ?? 0) > 0)
  expect(gateway.delivered.length).toBe(1)
})

const alone = () => ({ prefix: PREFIX, whereabouts: new Whereabouts('self', () => 0), isGateway: () => false, gateways: () => 0 })
const status = (publicKey: string, lastHandshakeMs: number | null, hasSession: boolean) => ({ publicKey, endpoint: null, allowedIps: [], receivedBytes: 0, sentBytes: 0, lastHandshakeMs, hasSession })

test('silent peers go, also those that never spoke again after their handshake; there is a limit to them', () => {
  const present = new Map([status('live', 0, true), status('idle', 0, false), status('fresh', 9000, false), status('half', null, false)].map((peer) => [peer.publicKey, peer]))
  const device = {
    get peerCount() {
      return present.size
    },
    peers: () => [...present.values()],
    removePeer: (key: string) => present.delete(key),
    setOwner: () => undefined,
  }
  const peers = new GatewayPeers({ device, ...alone(), idleMs: 5000, maxInstalled: 3, nowMs: () => 10_000 })
  const table = new FeedTable()
  const key = KeyPair.fromPrivate(clampPrivate(randomBytes(32))).publicKey.text
  table.apply([row(key)])
  peers.apply(table, 'partial')
  // Nobody of them is in the table.
  expect(present.size).toBe(0)
  for (const peer of [status('live', 0, true), status('idle', 0, false), status('fresh', 9000, false), status('half', null, false)]) present.set(peer.publicKey, peer)
  expect([peers.admit(key), peers.refused]).toEqual([null, 1])
  peers.tidy()
  expect([...present.keys()]).toEqual(['live', 'fresh', 'half'])
  peers.tidy()
  expect([...present.keys()]).toEqual(['live', 'fresh'])
  expect(peers.admit(key)).toEqual({ allowedIps: ['fdaa:0:1:ffff:ffff::100/120'] })
  expect(peers.admit('nobody')).toBeNull()
})

test.each([peerPrefix(globex, 1), 'fdaa:0:1:ffff:ffff::/80', 'fdaa:0:1::/48', `${formatIpv6(machineAddress(acme, 2, 1))}/120`, `${formatIpv6(flycastAddress(acme, 1))}/120`])(
  'a row that would give more than a place of its own network, %s, makes no peer',
  (prefix) => {
    const peers = new GatewayPeers({ device: { peerCount: 0, peers: () => [], removePeer: () => false, setOwner: () => undefined }, ...alone(), idleMs: 1, maxInstalled: 9, nowMs: () => 0 })
    const table = new FeedTable()
    const key = KeyPair.fromPrivate(clampPrivate(randomBytes(32))).publicKey.text
    const { applied } = table.apply([{ table: 'wireguard', key, row: { publicKey: key, id: 'x', org: 'o', network: acme, prefix } }])
    peers.apply(table, applied)
    expect([peers.known, peers.admit(key)]).toEqual([1, null])
  },
)

test('ways back: one for each network that has peers, in one batch; what failed is asked again', async () => {
  const batches: string[] = []
  let fails = false
  const run: RunCommand = (_program, _args, input = '') => {
    if (fails) return Promise.reject(new Error('refused'))
    batches.push(input)
    return Promise.resolve('')
  }
  const routes = new ReturnRoutes('wg0', PREFIX, run)
  await routes.replace(new Set([acme, globex]))
  await routes.replace(new Set([acme, globex]))
  fails = true
  await expect(routes.replace(new Set([globex]))).rejects.toThrow('refused')
  fails = false
  await routes.replace(new Set([globex]))
  expect(batches).toEqual([
    'route replace fdaa:0:1:ffff:ffff::/80 dev wg0\nroute replace fdaa:0:2:ffff:ffff::/80 dev wg0\n',
    'route del fdaa:0:1:ffff:ffff::/80 dev wg0\n',
  ])
})

test('its key is made once, for itself alone; a gateway that has joined makes no other', () => {
  const directory = mkdtempSync(join(tmpdir(), 'nearcast-gateway-'))
  try {
    const made = gatewayKey(directory)
    expect(statSync(join(directory, 'wireguard.key')).mode & 0o777).toBe(0o600)
    expect(gatewayKey(directory)).toEqual(made)
    rmSync(join(directory, 'wireguard.key'))
    writeFileSync(join(directory, 'identity.json'), JSON.stringify({ identity: 'gateway/x', certificate: '', key: '', ca: '' }))
    expect(() => gatewayKey(directory)).toThrow(expect.objectContaining({ code: 'identity.invalid' }))
  } finally {
    rmSync(directory, { recursive: true })
  }
})
