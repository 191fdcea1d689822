/** Two and more WireGuard engines in one process and simulated time. */
import { expect, test } from 'vitest'
import { INITIATION_BYTES, MESSAGE, RESPONSE_BYTES } from '../../lib/wireguard/constants.ts'
import type { DropReason } from '../../lib/wireguard/drops.ts'
import { Random, testSeed } from '../support/random.ts'
import { CALM, insideOf, ipv6Packet, Network, packetBetween } from '../support/wireguard-network.ts'
import type { Station, Weather } from '../support/wireguard-network.ts'

const seed = testSeed('wireguard-engine')
const HELLO = Buffer.from('hello')

interface Pair {
  readonly network: Network
  readonly a: Station
  readonly b: Station
  readonly random: Random
}

function pair(presharedKey: Uint8Array | null = null): Pair {
  const random = new Random(seed)
  const network = new Network(random)
  const [a, b] = [network.add('a'), network.add('b')]
  network.introduce(a, b, presharedKey)
  return { network, a, b, random }
}

const say = (from: Station, to: Station, payload: Uint8Array = HELLO): void => from.engine.send(packetBetween(from, to, payload))
const heard = (station: Station): string[] => station.delivered.map(({ packet }) => Buffer.from(packet.subarray(40)).toString())
const sentOf = ({ sent }: Station, type: number): number => sent.filter(({ datagram }) => datagram[0] === type).length
const drops = (station: Station, reason: DropReason): number => station.engine.drops.of(reason)
const status = (of: Station, peer: Station): unknown => [...of.engine.peers()].find(({ publicKey }) => publicKey === peer.engine.publicKey)

function established(presharedKey: Uint8Array | null = null): Pair {
  const made = pair(presharedKey)
  say(made.a, made.b)
  made.network.run(100)
  expect(heard(made.b)).toEqual(['hello'])
  return made
}

test.each([null, Uint8Array.from({ length: 32 }, (_, index) => index)])('a packet makes a session, arrives, and is answered (preshared key: %s)', (presharedKey) => {
  const { network, a, b } = established(presharedKey)
  expect(b.delivered[0]?.packet).toEqual(packetBetween(a, b, HELLO))
  expect(b.delivered[0]?.from).toBe(a.engine.publicKey)
  say(b, a, Buffer.from('and back'))
  network.run(100)
  expect(heard(a)).toEqual(['and back'])
  expect(sentOf(a, MESSAGE.initiation)).toBe(1)
  expect(sentOf(b, MESSAGE.initiation)).toBe(0)
  expect(status(a, b)).toMatchObject({ hasSession: true, endpoint: b.endpoint, allowedIps: [`${insideOf(b)}/128`], lastHandshakeMs: expect.any(Number) as number })
})

test('nothing is in the clear, and packets are padded to 16 bytes, up to the MTU', () => {
  const { network, a, b } = established()
  const secret = Buffer.from('a secret that nobody may read on the way')
  for (const length of [1, 16, 17, 1379, 1380]) {
    say(a, b, Buffer.concat([secret, Buffer.alloc(1500)]).subarray(0, length))
    network.run(10)
    expect(b.delivered.at(-1)?.packet.length).toBe(40 + length)
    expect(a.sent.at(-1)?.datagram.length).toBe(32 + Math.min(1420, Math.ceil((40 + length) / 16) * 16))
  }
  say(a, b, secret)
  expect(a.sent.some(({ datagram }) => Buffer.from(datagram).includes(secret.subarray(0, 8)))).toBe(false)
})

test('different preshared keys make no session', () => {
  const { network, a, b } = pair()
  a.engine.setPeer(b.engine.publicKey, { presharedKey: new Uint8Array(32).fill(7) })
  say(a, b)
  network.run(20_000)
  expect(heard(b)).toEqual([])
  expect(drops(a, 'forged-or-replayed')).toBeGreaterThan(0)
  expect(status(a, b)).toMatchObject({ hasSession: false, lastHandshakeMs: null })
})

test('both begin at once: one try is enough for both', () => {
  const { network, a, b } = pair()
  say(a, b, Buffer.from('from a'))
  say(b, a, Buffer.from('from b'))
  network.run(1_000)
  expect([heard(a), heard(b)]).toEqual([['from b'], ['from a']])
  expect([sentOf(a, MESSAGE.initiation), sentOf(b, MESSAGE.initiation)]).toEqual([1, 1])
})

test('a session is renewed after 120 s by who began it, while packets go on', () => {
  const { network, a, b } = established()
  for (let second = 0; second < 600; second++) {
    say(second % 2 === 0 ? a : b, second % 2 === 0 ? b : a, Buffer.from(String(second)))
    network.run(1_000)
  }
  expect(a.delivered.length + b.delivered.length).toBe(601)
  const times = a.sent.filter(({ datagram }) => datagram[0] === MESSAGE.initiation).map(({ atMs }) => atMs)
  expect(times.length).toBe(5)
  for (const [index, atMs] of times.slice(1).entries()) expect(atMs - (times[index] ?? 0)).toBeGreaterThanOrEqual(120_000)
  expect(sentOf(b, MESSAGE.initiation)).toBe(0)
  // Three sessions at most, and their indexes.
  expect(a.engine.sessionCount).toBeLessThanOrEqual(3)
})

test('who only receives renews a session of its own before it ends (165 s)', () => {
  const { network, a, b } = established()
  for (let second = 0; second < 400; second++) {
    say(b, a, Buffer.from(String(second)))
    network.run(1_000)
  }
  expect(a.delivered.length).toBe(400)
  const times = a.sent.filter(({ datagram }) => datagram[0] === MESSAGE.initiation).map(({ atMs }) => atMs)
  // a's keepalives count as packets that are sent, so 120 s holds for them, too; never later than 165 s.
  for (const [index, atMs] of times.slice(1).entries()) expect(atMs - (times[index] ?? 0)).toBeLessThanOrEqual(166_000)
})

test('silence: a keepalive after 10 s, a new handshake after 15 s without an answer, an end after 90 s', () => {
  const { network, a, b } = established()
  network.run(30_000)
  const before = b.sent.length
  const atMs = network.nowMs
  say(a, b)
  network.run(9_900)
  expect(b.sent.length).toBe(before)
  network.run(200)
  expect(b.sent.slice(before).map(({ datagram }) => datagram.length)).toEqual([32])

  network.weather = { ...CALM, loss: 1 }
  const sentBefore = a.sent.length
  network.run(20_000)
  say(a, b)
  const silentMs = network.nowMs
  network.run(120_000)
  const initiations = a.sent.slice(sentBefore).filter(({ datagram }) => datagram[0] === MESSAGE.initiation)
  expect((initiations[0]?.atMs ?? 0) - silentMs).toBeGreaterThanOrEqual(15_000)
  expect((initiations[0]?.atMs ?? 0) - silentMs).toBeLessThan(15_400)
  expect(initiations.length).toBe(19)
  for (const [index, each] of initiations.slice(1).entries()) {
    const gapMs = each.atMs - (initiations[index]?.atMs ?? 0)
    expect(gapMs).toBeGreaterThanOrEqual(5_000)
    expect(gapMs).toBeLessThan(5_340)
  }
  expect(network.nowMs - atMs).toBeGreaterThan(100_000)
})

test('keys are forgotten 540 s after the last session was made; what waited is dropped when nobody answers', () => {
  const { network, a, b } = established()
  const madeMs = network.nowMs - 100
  network.run(530_000)
  expect(a.engine.sessionCount).toBe(1)
  network.run(madeMs + 540_100 - network.nowMs)
  expect([a.engine.sessionCount, b.engine.sessionCount]).toEqual([0, 0])
  expect(a.engine.nextDeadlineMs).toBe(Infinity)
  network.weather = { ...CALM, loss: 1 }
  for (let index = 0; index < 130; index++) say(a, b)
  expect(drops(a, 'waited-too-long')).toBe(2)
  network.run(120_000)
  expect(drops(a, 'waited-too-long')).toBe(130)
  network.weather = CALM
  say(a, b, Buffer.from('again'))
  network.run(100)
  expect(heard(b)).toEqual(['hello', 'again'])
})

test('a session is not used after 180 s, for sending or receiving', () => {
  const { network, a, b } = established()
  say(a, b, Buffer.from('late'))
  const late = a.sent.at(-1)?.datagram ?? new Uint8Array(0)
  network.run(100)
  network.run(180_000)
  const before = b.delivered.length
  network.inject(late, a.endpoint, b)
  expect(drops(b, 'unknown-session')).toBe(1)
  say(a, b, Buffer.from('new'))
  expect(a.sent.at(-1)?.datagram[0]).toBe(MESSAGE.initiation)
  network.run(100)
  expect(heard(b).slice(before)).toEqual(['new'])
})

test('persistent keepalives begin by themselves and come at their interval, whoever speaks', () => {
  const { network, a, b } = pair()
  a.engine.setPeer(b.engine.publicKey, { persistentKeepaliveSeconds: 25 })
  network.run(100)
  expect(status(b, a)).toMatchObject({ lastHandshakeMs: expect.any(Number) as number })
  const before = a.sent.length
  network.run(100_000)
  expect(a.sent.slice(before).filter(({ datagram }) => datagram.length === 32).length).toBe(4)
  a.engine.setPeer(b.engine.publicKey, { persistentKeepaliveSeconds: 0 })
  network.run(1_000)
  const after = a.sent.length
  network.run(60_000)
  expect(a.sent.length).toBe(after)
})

test('roaming: a peer is answered where it was heard last, and only an authentic packet moves it', () => {
  const { network, a, b } = established()
  a.endpoint = { host: '198.51.100.1', port: 4711 }
  const forged = Uint8Array.from(a.sent.at(-1)?.datagram ?? [])
  forged[20] = (forged[20] ?? 0) ^ 1
  network.inject(forged, a.endpoint, b)
  expect(status(b, a)).toMatchObject({ endpoint: { host: '192.0.2.1', port: 51820 } })
  const packet = packetBetween(b, { ...a, endpoint: { host: '192.0.2.1', port: 0 } }, HELLO)
  b.engine.send(packet)
  network.run(100)
  expect(heard(a)).toEqual([])
  a.engine.send(ipv6Packet(1, 2, Buffer.from('moved')))
  network.run(100)
  expect(status(b, a)).toMatchObject({ endpoint: a.endpoint })
  b.engine.send(packet)
  network.run(100)
  expect(heard(a)).toEqual(['hello'])
})

test('forged, replayed, truncated and foreign datagrams change nothing', () => {
  const { network, a, b, random } = established()
  say(b, a, HELLO)
  network.run(60_000)
  const states = (): string => JSON.stringify([[...a.engine.peers()], [...b.engine.peers()], a.engine.sessionCount, b.engine.sessionCount, a.delivered.length, b.delivered.length, a.sent.length, b.sent.length])
  const known = [...a.sent, ...b.sent].map(({ datagram }) => datagram)
  const before = states()
  const stranger = { host: '203.0.113.9', port: 9 }
  for (const datagram of known) {
    for (const station of [a, b]) {
      network.inject(datagram, stranger, station)
      for (let round = 0; round < 40; round++) {
        const changed = Uint8Array.from(datagram)
        const at = random.below(changed.length)
        changed[at] = (changed[at] ?? 0) ^ (1 << random.below(8))
        network.inject(changed, stranger, station)
      }
      for (let length = 0; length < datagram.length; length += 1 + random.below(4)) network.inject(datagram.subarray(0, length), stranger, station)
      network.inject(Buffer.concat([datagram, Buffer.alloc(1)]), stranger, station)
    }
  }
  expect(states()).toBe(before)
  say(a, b, Buffer.from('still there'))
  network.run(100)
  expect(heard(b).at(-1)).toBe('still there')
})

test('packets count once each, in any order, within the window', () => {
  const { network, a, b, random } = established()
  network.weather = { ...CALM, loss: 1 }
  const from = a.sent.length
  for (let index = 0; index < 300; index++) say(a, b, Buffer.from(String(index)))
  const packets = a.sent.slice(from).map(({ datagram }) => datagram)
  const shuffled = packets.flatMap((each) => [each, each]).map((each) => ({ each, key: random.below(1e9) })).toSorted((left, right) => left.key - right.key)
  for (const { each } of shuffled) network.inject(each, a.endpoint, b)
  expect(b.delivered.length).toBe(301)
  expect(new Set(heard(b)).size).toBe(301)
})

test('allowed addresses: others as source are dropped inside, others as destination have no route', () => {
  const { network, a, b } = established()
  a.engine.send(ipv6Packet(9, 2, HELLO))
  network.run(100)
  expect([heard(b).length, drops(b, 'source')]).toEqual([1, 1])
  a.engine.send(ipv6Packet(1, 9, HELLO))
  expect(drops(a, 'no-route')).toBe(1)
  for (const odd of [new Uint8Array(0), Uint8Array.of(0x60), new Uint8Array(60), new Uint8Array(60).fill(0x45)]) a.engine.send(odd)
  expect(drops(a, 'not-ip') + drops(a, 'no-route')).toBe(5)
  // A packet that says it is longer than it is, from a peer.
  const long = packetBetween(a, b, Buffer.alloc(16))
  long[5] = 200
  a.engine.send(long)
  network.run(100)
  expect(drops(b, 'not-ip')).toBe(1)
})

test('peers come, change and go while others talk on', () => {
  const { network, a, b } = established()
  const c = network.add('c')
  network.introduce(a, c)
  network.introduce(b, c)
  say(c, a, Buffer.from('c is here'))
  network.run(100)
  expect(heard(a)).toEqual(['c is here'])
  const session = (): unknown => [...a.sent].filter(({ datagram }) => datagram[0] === MESSAGE.initiation).length
  const initiations = session()
  a.engine.setPeer(c.engine.publicKey, { presharedKey: new Uint8Array(32).fill(1), allowedIps: ['fdaa:0:1:2::77', '192.0.2.0/24'] })
  c.engine.setPeer(a.engine.publicKey, { presharedKey: new Uint8Array(32).fill(1) })
  say(c, a, Buffer.from('no longer its address'))
  network.run(100)
  expect(drops(a, 'source')).toBe(1)
  expect(a.engine.removePeer(c.engine.publicKey)).toBe(true)
  expect(a.engine.removePeer(c.engine.publicKey)).toBe(false)
  say(c, a)
  say(b, a, Buffer.from('b goes on'))
  say(a, b, Buffer.from('a goes on'))
  network.run(30_000)
  expect(heard(a)).toEqual(['c is here', 'b goes on'])
  expect(heard(b).at(-1)).toBe('a goes on')
  expect(session()).toBe(initiations)
  expect(drops(a, 'unknown-peer')).toBeGreaterThan(0)
})

test('a new private key: the old one is nobody any more, the new one works once the peer knows it', () => {
  const { network, a, b, random } = established()
  const old = a.engine.publicKey
  a.engine.setPrivateKey(random.bytes(32))
  expect(a.engine.publicKey).not.toBe(old)
  say(a, b, Buffer.from('as somebody new'))
  network.run(1_000)
  expect(heard(b)).toEqual(['hello'])
  b.engine.removePeer(old)
  b.engine.setPeer(a.engine.publicKey, { endpoint: a.endpoint, allowedIps: [insideOf(a)] })
  network.run(10_000)
  expect(heard(b)).toEqual(['hello', 'as somebody new'])
})

test('a restarted peer, with its clock set back, is back by its own retries', () => {
  const { network, a, b } = established()
  say(b, a)
  network.run(100)
  network.wallMs -= 3_600_000
  network.run(200_000)
  say(a, b, Buffer.from('after the jump'))
  network.run(10_000)
  // The same process counts on from its last timestamp, so its clock doesn't matter.
  expect(heard(b).at(-1)).toBe('after the jump')
})

test('machines sleep for hours, and clocks jump: packets pass again with the first one', () => {
  const { network, a, b } = established()
  for (const jumpMs of [200_000, 3_600_000, 86_400_000, -86_400_000]) {
    if (jumpMs > 0) network.sleep(jumpMs)
    else network.wallMs += jumpMs
    const before = b.delivered.length
    say(a, b)
    network.run(6_000)
    expect(b.delivered.length).toBe(before + 1)
  }
})

test('under load: a cookie is asked for, the one who has it comes through, others cost no key agreement', () => {
  const random = new Random(seed)
  const network = new Network(random)
  const server = network.add('server', { handshakesPerSecond: 5 })
  const client = network.add('client')
  network.introduce(client, server)
  // Somebody who knows the server's key repeats an old initiation.
  say(client, server)
  const old = client.sent[0]?.datagram ?? new Uint8Array(0)
  network.run(50)
  expect(heard(server)).toEqual(['hello'])
  const flood = (): void => {
    for (let index = 0; index < 20; index++) network.inject(old, { host: '203.0.113.7', port: index }, server)
  }
  flood()
  expect(drops(server, 'cookie-asked')).toBeGreaterThan(10)
  server.engine.removePeer(client.engine.publicKey)
  server.engine.setPeer(client.engine.publicKey, { endpoint: client.endpoint, allowedIps: [insideOf(client)] })
  client.engine.removePeer(server.engine.publicKey)
  client.engine.setPeer(server.engine.publicKey, { endpoint: server.endpoint, allowedIps: [insideOf(server)] })
  say(client, server, Buffer.from('under load'))
  for (let step = 0; step < 70; step++) {
    flood()
    network.run(100)
  }
  expect(heard(server)).toEqual(['hello', 'under load'])
  expect(sentOf(server, MESSAGE.cookieReply)).toBeGreaterThan(20)
  expect(sentOf(client, MESSAGE.initiation)).toBeLessThanOrEqual(4)
})

test('just-in-time peers: installed by their own first handshake, not by a claim', () => {
  const random = new Random(seed)
  const network = new Network(random)
  const asked: string[] = []
  const known = new Map<string, string>()
  const gateway = network.add('gateway', {
    admit: (publicKey) => {
      asked.push(publicKey)
      const address = known.get(publicKey)
      return address === undefined ? null : { allowedIps: [address] }
    },
  })
  const [client, stranger] = [network.add('client'), network.add('stranger')]
  known.set(client.engine.publicKey, insideOf(client))
  for (const each of [client, stranger]) each.engine.setPeer(gateway.engine.publicKey, { endpoint: gateway.endpoint, allowedIps: [insideOf(gateway)] })
  say(stranger, gateway)
  network.run(1_000)
  expect([...gateway.engine.peers()]).toEqual([])
  expect(drops(gateway, 'unknown-peer')).toBe(1)
  say(client, gateway)
  const first = Uint8Array.from(client.sent[0]?.datagram ?? [])
  // The claim is genuine, the proof isn't; mac1 is anybody's.
  const forged = Uint8Array.from(first)
  forged[100] = (forged[100] ?? 0) ^ 1
  network.inject(forged, client.endpoint, gateway)
  expect(gateway.engine.hasPeer(client.engine.publicKey)).toBe(false)
  network.run(1_000)
  expect(gateway.engine.hasPeer(client.engine.publicKey)).toBe(true)
  expect(heard(gateway)).toEqual(['hello'])
  say(gateway, client, Buffer.from('welcome'))
  network.run(100)
  expect(heard(client)).toEqual(['welcome'])
  expect(asked).toContain(stranger.engine.publicKey)
})

const STORM: Weather = { loss: 0.25, doubling: 0.2, delayMs: 400 }

test('in bad weather nothing arrives twice or changed, and what is sent mostly arrives', () => {
  const { network, a, b, random } = pair()
  network.weather = STORM
  const sent = { a: new Set<string>(), b: new Set<string>() }
  for (let index = 0; index < 3_000; index++) {
    const fromA = random.below(2) === 0
    const text = `${index} ${'x'.repeat(random.below(600))}`
    sent[fromA ? 'a' : 'b'].add(text)
    say(fromA ? a : b, fromA ? b : a, Buffer.from(text))
    network.run(random.below(500))
    if (random.below(400) === 0) network.wallMs += (random.below(2) === 0 ? 1 : -1) * random.below(10_000_000)
  }
  network.run(20_000)
  for (const [station, texts] of [[b, sent.a], [a, sent.b]] as const) {
    const arrived = heard(station)
    expect(new Set(arrived).size).toBe(arrived.length)
    expect(arrived.every((text) => texts.has(text))).toBe(true)
    expect(arrived.length).toBeGreaterThan(texts.size * 0.6)
  }
})

test('24 hours of timers: traffic that comes and goes, at most three sessions, nothing is left over', () => {
  const { network, a, b, random } = pair()
  const untilMs = network.nowMs + 86_400_000
  let said = 0
  while (network.nowMs < untilMs) {
    const pauseMs = random.pick([1_000, 5_000, 12_000, 40_000, 200_000, 600_000])
    for (let packets = random.below(10); packets >= 0; packets--) {
      const fromA = random.below(3) > 0
      said++
      say(fromA ? a : b, fromA ? b : a)
      network.run(random.below(2_000))
    }
    network.run(pauseMs)
    expect(a.engine.sessionCount).toBeLessThanOrEqual(3)
    expect(b.engine.sessionCount).toBeLessThanOrEqual(3)
  }
  expect(a.delivered.length + b.delivered.length).toBe(said)
  const handshakes = [...a.sent, ...b.sent].filter(({ datagram }) => datagram.length === INITIATION_BYTES || datagram.length === RESPONSE_BYTES).length
  // Each session lasts for 120 s at least, and has two messages; both may begin at once.
  expect(handshakes).toBeLessThan(4 * (86_400 / 120))
  expect(handshakes).toBeGreaterThan(100)
  network.run(600_000)
  expect([a.engine.sessionCount, b.engine.sessionCount]).toEqual([0, 0])
  expect([a.engine.nextDeadlineMs, b.engine.nextDeadlineMs]).toEqual([Infinity, Infinity])
})
