/** Machine to machine: which gateway has whom, and what passes between two peers of one gateway and of two. */
import { randomBytes } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import { asNetworkId, flycastAddress, peerAddress, peerPrefix } from '../../lib/address.ts'
import type { Ipv6, NetworkId } from '../../lib/address.ts'
import type { WireguardRow } from '../../lib/feed/messages.ts'
import { folded, pseudoHeaderSum, sumOf } from '../../lib/wireguard/checksum.ts'
import { Device } from '../../lib/wireguard/device.ts'
import { clampPrivate, encodeKey } from '../../lib/wireguard/keys.ts'
import { MemoryTun } from '../../lib/wireguard/memory-tun.ts'
import { UdpBind } from '../../lib/wireguard/udp-bind.ts'
import { decodeClaims, encodeClaims, gatewayAddress } from '../../router/gateway/claim-packet.ts'
import { GatewayDevice } from '../../router/gateway/gateway-device.ts'
import { icmpError } from '../../router/gateway/icmp-error.ts'
import { JoinedBind } from '../../router/gateway/joined-bind.ts'
import { limitSegments } from '../../router/gateway/tcp-mss.ts'
import { Whereabouts } from '../../router/gateway/whereabouts.ts'
import { Random, testSeed } from '../support/random.ts'
import { until } from '../support/until.ts'

const PREFIX = 0xfdaa
const MTU = 1340
const [acme, globex] = [asNetworkId(1), asNetworkId(2)]
const [UDP, ICMPV6] = [17, 58]

function packet(source: Ipv6, destination: Ipv6, { next = UDP, bytes = 60, hops = 64 } = {}): Uint8Array {
  const made = new Uint8Array(bytes)
  made.set([0x60, 0, 0, 0, (bytes - 40) >> 8, (bytes - 40) & 0xff, next, hops])
  made.set(source, 8)
  made.set(destination, 24)
  return made
}

describe('whereabouts', () => {
  test('gateways agree where everybody is, whatever is lost and whatever their clocks say', () => {
    const random = new Random(testSeed('whereabouts'))
    const keys = ['a', 'b', 'c', 'd']
    // Minutes apart, and one of them far off.
    const clocks = [0, 300_000, -300_000, 1e11]
    let nowMs = 1e12
    const gateways = keys.map((key, index) => new Whereabouts(key, () => nowMs + (clocks[index] ?? 0)))
    const at = (index: number): Whereabouts => gateways[index] ?? new Whereabouts('', () => 0)
    for (const [index] of keys.entries()) for (const other of keys) if (other !== keys[index]) at(index).meet(other)
    /** What is due goes out; `loss` percent of it are lost, on either way. */
    const talk = (loss: number): void => {
      for (const [from, self] of keys.entries()) {
        for (const [to, other] of keys.entries()) {
          if (from === to) continue
          const claims = at(from).due(other, nowMs).filter(() => random.below(100) >= loss)
          for (const claim of claims) at(to).hear(self, claim)
          at(from).heard(other, claims.filter(() => random.below(100) >= loss))
        }
      }
      nowMs += 250
    }
    const peers = Array.from({ length: 30 }, (_, index) => `peer${index}`)
    const last = new Map<string, number>()
    for (let move = 0; move < 400; move++) {
      const [peer, to] = [peers[random.below(peers.length)] ?? '', random.below(keys.length)]
      at(to).arrive(peer)
      last.set(peer, to)
      talk(40)
    }
    const settle = (): void => {
      for (let round = 0; round < 400; round++) talk(20)
    }
    settle()
    for (const peer of last.keys()) {
      const says = keys.map((key, index) => at(index).gatewayOf(peer) ?? key)
      expect(new Set(says).size).toBe(1)
    }
    // What was told before the next move counts, without a clock: the last one has it.
    for (const [peer] of last) at(random.below(keys.length)).arrive(peer)
    const moved = new Map([...last.keys()].map((peer) => [peer, random.below(keys.length)]))
    settle()
    for (const [peer, to] of moved) at(to).arrive(peer)
    settle()
    for (const [peer, to] of moved) expect(keys.map((key, index) => at(index).gatewayOf(peer) ?? key)).toEqual(keys.map(() => keys[to]))
  })

  test('who comes back is told everything again; who is gone takes its peers along', () => {
    const [here, there] = [new Whereabouts('here', () => 5), new Whereabouts('there', () => 5)]
    here.meet('there')
    expect(here.arrive('p')).toBe(true)
    expect(here.arrive('p')).toBe(false)
    const claims = here.due('there', 0)
    expect(claims).toEqual([{ publicKey: 'p', number: 5 }])
    // Not again at once, and not when it was heard.
    expect(here.due('there', 100)).toEqual([])
    expect(here.due('there', 250)).toEqual(claims)
    here.heard('there', claims)
    expect(here.due('there', 60_000)).toEqual([])
    here.meet('there')
    expect(here.due('there', 60_001)).toEqual(claims)
    expect([there.hear('here', { publicKey: 'p', number: 5 }), there.hear('here', { publicKey: 'p', number: 5 }), there.elsewhere]).toEqual([true, false, 1])
    there.part('here')
    expect([there.gatewayOf('p'), there.elsewhere]).toEqual([null, 0])
  })
})

test('claims as packets: as many as fit, whole or not at all', () => {
  const keys = Array.from({ length: 70 }, () => encodeKey(randomBytes(32)))
  const [from, to] = [gatewayAddress(keys[0] ?? '', PREFIX), gatewayAddress(keys[1] ?? '', PREFIX)]
  const claims = keys.map((publicKey, index) => ({ publicKey, number: 2 ** 48 - 1 - index * 2 ** 33 }))
  const packets = [...encodeClaims('claims', claims, from, to)]
  expect(packets.map(({ length }) => length <= 1280)).toEqual([true, true, true])
  expect(packets.flatMap((each) => decodeClaims(each)?.claims ?? [])).toEqual(claims)
  const [first = new Uint8Array()] = packets
  for (const cut of [41, 42, 43, first.length - 1]) expect(decodeClaims(first.subarray(0, cut))).toBeNull()
  for (const [at, byte] of [[6, 17], [40, 2], [41, 3], [41, 0]] as const) expect(decodeClaims(Uint8Array.from(first, (each, index) => (index === at ? byte : each)))).toBeNull()
})

test('an error quotes what fits, with a right checksum; none is made about an error', () => {
  const [from, to] = [peerAddress(acme, 1), peerAddress(acme, 2)]
  const error = icmpError({ kind: 'too-big', mtu: MTU }, packet(from, to, { bytes: 1420 }), peerAddress(acme, 9)) ?? new Uint8Array()
  expect([error.length, error[6], error[40], new DataView(error.buffer).getUint32(44)]).toEqual([1280, ICMPV6, 2, MTU])
  expect(folded(pseudoHeaderSum(error, true, ICMPV6, error.length - 40) + sumOf(error, 40, error.length))).toBe(0xffff)
  expect(error.subarray(24, 40)).toEqual(Uint8Array.from(from))
  expect(icmpError({ kind: 'unreachable' }, error, from)).toBeNull()
  expect(icmpError({ kind: 'hops' }, packet(from, to), from)?.subarray(40, 42)).toEqual(Uint8Array.of(3, 0))
})

describe('the length of segments', () => {
  const [from, to] = [peerAddress(acme, 1), peerAddress(acme, 2)]
  /** A beginning with these options, and a right checksum. */
  const syn = (options: readonly number[], flags = 2): Uint8Array => {
    const made = packet(from, to, { next: 6, bytes: 60 + options.length })
    made.set([(5 + options.length / 4) << 4, flags], 52)
    made.set(options, 60)
    new DataView(made.buffer).setUint16(56, ~folded(pseudoHeaderSum(made, true, 6, made.length - 40) + sumOf(made, 40, made.length)))
    return made
  }

  test.each([
    ['more than the way takes', [2, 4, 0x05, 0x50], [2, 4, 0x05, 0x00]],
    ['behind others, at an odd place', [1, 3, 3, 7, 1, 2, 4, 0x05, 0x50, 1, 1, 0], [1, 3, 3, 7, 1, 2, 4, 0x05, 0x00, 1, 1, 0]],
    ['less', [2, 4, 0x04, 0xb0], [2, 4, 0x04, 0xb0]],
    ['none', [1, 1, 1, 0], [1, 1, 1, 0]],
    ['behind the end', [0, 2, 4, 0x05, 0x50, 0, 0, 0], [0, 2, 4, 0x05, 0x50, 0, 0, 0]],
    ['an option without a length', [5, 0, 2, 4, 0x05, 0x50, 0, 0], [5, 0, 2, 4, 0x05, 0x50, 0, 0]],
    ['cut off', [1, 1, 2, 4], [1, 1, 2, 4]],
  ])('%s', (_what, options, expected) => {
    const made = syn(options)
    limitSegments(made, MTU)
    expect([...made.subarray(60)]).toEqual(expected)
    expect(folded(pseudoHeaderSum(made, true, 6, made.length - 40) + sumOf(made, 40, made.length))).toBe(0xffff)
  })

  test('only where a connection begins', () => {
    const made = syn([2, 4, 0x05, 0x50], 0x10)
    limitSegments(made, MTU)
    expect([...made.subarray(60)]).toEqual([2, 4, 0x05, 0x50])
  })
})

test('whatever comes, nothing of it throws, and what is changed keeps its length', () => {
  const random = new Random(testSeed('crossing'))
  const sound = [...encodeClaims('claims', [{ publicKey: encodeKey(random.bytes(32)), number: 7 }], peerAddress(acme, 1), peerAddress(acme, 2))][0] ?? new Uint8Array()
  for (let round = 0; round < 2000; round++) {
    const bytes = round % 2 === 0 ? random.bytes(40 + random.below(80)) : Uint8Array.from(sound, (byte) => (random.below(20) === 0 ? random.below(256) : byte)).subarray(0, 40 + random.below(sound.length - 39))
    for (const claim of decodeClaims(bytes)?.claims ?? []) expect([claim.publicKey.length, Number.isSafeInteger(claim.number)]).toEqual([44, true])
    // As a beginning, of TCP.
    bytes.set([6], 6)
    if (bytes.length > 53) bytes.set([2], 53)
    const { length } = bytes
    limitSegments(bytes, MTU)
    expect([bytes.length, icmpError({ kind: 'unreachable' }, bytes, peerAddress(acme, 1))?.length]).toEqual([length, 48 + length])
  }
})

const closing: { close(): Promise<void> }[] = []
afterEach(async () => {
  await Promise.all(closing.splice(0).map((device) => device.close()))
})

interface Gateway {
  readonly device: GatewayDevice
  readonly toHost: Uint8Array[]
  /** Its clock goes on. */
  pass(ms: number): void
}

async function startGateway(): Promise<Gateway> {
  const toHost: Uint8Array[] = []
  let passedMs = 0
  const speaking = new UdpBind({ ipv4: null, ipv6: '::1' })
  const device = new GatewayDevice({
    privateKey: clampPrivate(randomBytes(32)),
    bind: new JoinedBind([speaking], speaking),
    tun: new MemoryTun((bytes) => toHost.push(bytes)),
    prefix: PREFIX,
    handshakesPerSecond: 200,
    maxPeers: 100,
    idleMs: 600_000,
    neighboursMtu: MTU,
    clock: { monotonicMs: () => performance.now() + passedMs, wallMs: () => Date.now() + passedMs },
  })
  closing.push(device)
  await device.open()
  return { device, toHost, pass: (ms) => (passedMs += ms) }
}

interface Laptop {
  readonly row: WireguardRow
  readonly address: Ipv6
  readonly received: Uint8Array[]
  say(packet: Uint8Array): void
  /** Another gateway from now on. */
  useGateway(gateway: Gateway): void
}

async function startLaptop(network: NetworkId, number: number, gateway: Gateway): Promise<Laptop> {
  const received: Uint8Array[] = []
  const tun = new MemoryTun((bytes) => received.push(bytes))
  const device = new Device({ privateKey: clampPrivate(randomBytes(32)), bind: new UdpBind({ ipv4: null, ipv6: '::1' }), tun })
  closing.push(device)
  await device.open()
  const useGateway = ({ device: { publicKey, port } }: Gateway): void => {
    for (const peer of device.peers()) device.removePeer(peer.publicKey)
    device.setPeer(publicKey, { endpoint: { host: '::1', port }, allowedIps: ['::/0'] })
  }
  useGateway(gateway)
  const row = { publicKey: device.publicKey, id: `wgp${network}-${number}`, org: 'o', network, prefix: peerPrefix(network, number) }
  return { row, address: peerAddress(network, number), received, say: (bytes) => tun.inject(bytes), useGateway }
}

const drops = (gateway: Gateway, ...reasons: ('foreign' | 'absent' | 'away' | 'too-big' | 'hops' | 'strayed')[]): number[] => reasons.map((reason) => gateway.device.state.innerDrops.get(reason) ?? 0)

/** Two gateways that know each other, three machines of acme and one of globex: all but `far` come in by `one`. */
async function startNetwork(): Promise<{ one: Gateway; two: Gateway; near: Laptop; beside: Laptop; far: Laptop; other: Laptop }> {
  const [one, two] = [await startGateway(), await startGateway()]
  const [near, beside, far, other] = [await startLaptop(acme, 1, one), await startLaptop(acme, 2, one), await startLaptop(acme, 3, two), await startLaptop(globex, 1, one)]
  for (const { device } of [one, two]) device.apply({ type: 'all', rows: [near, beside, far, other].map(({ row }) => row) })
  one.device.applyNeighbours([{ publicKey: two.device.publicKey, endpoint: `[::1]:${two.device.port}` }])
  two.device.applyNeighbours([{ publicKey: one.device.publicKey, endpoint: `[::1]:${one.device.port}` }])
  await until('the gateways reach each other', () => [one, two].every(({ device }) => device.state.gateways.reached === 1))
  // Everybody comes in.
  for (const laptop of [near, beside, far, other]) laptop.say(packet(laptop.address, flycastAddress(asNetworkId(laptop.row.network), 1), { next: ICMPV6 }))
  await until('all are there, and known to be', () => one.toHost.length === 3 && two.toHost.length === 1 && one.device.state.peers.elsewhere === 1 && two.device.state.peers.elsewhere === 3)
  return { one, two, near, beside, far, other }
}

test('machines of a network reach each other at one gateway and at two; nobody else does', async () => {
  const { one, two, near, beside, far, other } = await startNetwork()
  near.say(packet(near.address, beside.address))
  near.say(packet(near.address, far.address))
  await until('both have it', () => beside.received.length === 1 && far.received.length === 1)
  // One router less to go for each that it met.
  expect([beside.received[0]?.[7], far.received[0]?.[7]]).toEqual([63, 62])
  far.say(packet(far.address, near.address, { bytes: MTU }))
  await until('the answer is there, as long as the way takes it', () => near.received.some(({ length }) => length === MTU))

  // Too long for the way between gateways, not for the gateway itself; too many routers.
  near.say(packet(near.address, far.address, { bytes: MTU + 1 }))
  near.say(packet(near.address, far.address, { hops: 1 }))
  near.say(packet(near.address, beside.address, { bytes: MTU + 1 }))
  await until('it is told so', () => near.received.filter((each) => each[6] === ICMPV6).length === 2)
  expect(near.received.filter((each) => each[6] === ICMPV6).map((each) => each[40])).toEqual([2, 3])
  await until('the long one is there', () => beside.received.length === 2)

  // Another network's, both ways; somebody else's address.
  other.say(packet(other.address, near.address))
  near.say(packet(near.address, other.address))
  near.say(packet(beside.address, far.address))
  await until('they are counted', () => drops(one, 'foreign')[0] === 2 && one.device.state.deviceDrops.get('source') === 1)
  expect([drops(one, 'too-big', 'hops'), other.received.length, beside.received.length, far.received.length]).toEqual([[1, 1], 0, 2, 1])
  expect([one.device.state.packets.crossed, two.device.state.packets.crossed]).toEqual([4, 2])
})

test('a peer that moves is found where it is, and its old gateway lets go of it; a removed one is nowhere', async () => {
  const { one, two, near, far } = await startNetwork()
  far.useGateway(one)
  far.say(packet(far.address, near.address))
  await until('its word is there', () => near.received.length === 1)
  await until('the other gateway knows, and let go', () => two.device.state.peers.elsewhere === 4 && two.device.state.peers.installed === 0)
  near.say(packet(near.address, far.address))
  await until('it is found', () => far.received.length === 1)
  expect(two.device.state.packets.crossed).toBe(0)

  for (const { device } of [one, two]) device.apply({ type: 'some', changes: [{ table: 'wireguard', key: far.row.publicKey, row: null }] })
  near.say(packet(near.address, far.address))
  await until('nobody is there, and it is told so', () => near.received.some((each) => each[6] === ICMPV6 && each[40] === 1))
  expect([drops(one, 'absent'), two.device.state.peers.elsewhere]).toEqual([[1], 3])
})

test('a gateway that is gone: its peers are away until they come in elsewhere; what it says for others counts no more', async () => {
  const { one, two, near, far } = await startNetwork()
  await two.device.close()
  one.device.look()
  one.pass(16_000)
  one.device.look()
  expect(one.device.state.gateways).toEqual({ known: 1, reached: 0 })
  near.say(packet(near.address, far.address))
  await until('the sender is told', () => near.received.some((each) => each[6] === ICMPV6 && each[40] === 1))
  expect(drops(one, 'away')).toEqual([1])
  far.useGateway(one)
  far.say(packet(far.address, near.address))
  await until('it is back', () => near.received.some((each) => each[6] === UDP))
  near.say(packet(near.address, far.address))
  await until('both ways', () => far.received.length === 1)
  one.device.applyNeighbours([])
  expect(one.device.state).toMatchObject({ gateways: { known: 0, reached: 0 }, peers: { elsewhere: 0 } })
})

test('another gateway may bring packets of its own peers to ours, and nothing else', async () => {
  const [one, near] = await startGateway().then(async (gateway) => [gateway, await startLaptop(acme, 1, gateway)] as const)
  const far = await startLaptop(acme, 3, one)
  one.device.apply({ type: 'all', rows: [near.row, far.row] })
  // A gateway that keeps no rules.
  const tun = new MemoryTun(() => undefined)
  const rogue = new Device({ privateKey: clampPrivate(randomBytes(32)), bind: new UdpBind({ ipv4: null, ipv6: '::1' }), tun })
  closing.push(rogue)
  await rogue.open()
  one.device.applyNeighbours([{ publicKey: rogue.publicKey, endpoint: `[::1]:${rogue.port}` }])
  const [own, its] = [gatewayAddress(rogue.publicKey, PREFIX), gatewayAddress(one.device.publicKey, PREFIX)]
  rogue.setPeer(one.device.publicKey, { endpoint: { host: '::1', port: one.device.port }, allowedIps: ['::/0'] })
  near.say(packet(near.address, flycastAddress(acme, 1), { next: ICMPV6 }))
  await until('a peer is there', () => one.toHost.length === 1)

  // Before it has said that it has that peer, and as a peer that it hasn't: the device knows better.
  tun.inject(packet(far.address, near.address))
  tun.inject(packet(near.address, far.address))
  await until('both are refused', () => one.device.state.deviceDrops.get('source') === 2)
  for (const claim of encodeClaims('claims', [{ publicKey: far.row.publicKey, number: 7 }], own, its)) tun.inject(claim)
  await until('it has the peer', () => one.device.state.peers.elsewhere === 1)
  tun.inject(packet(far.address, near.address))
  await until('its peer is heard', () => near.received.length === 1)
  // To a service, to its own peer and back, nonsense in its own name.
  tun.inject(packet(far.address, flycastAddress(acme, 1), { next: 6 }))
  tun.inject(packet(far.address, far.address))
  tun.inject(packet(own, its))
  await until('all are refused', () => drops(one, 'strayed', 'absent').join() === '2,1')
  expect([near.received.length, one.toHost.length]).toEqual([1, 1])
})
