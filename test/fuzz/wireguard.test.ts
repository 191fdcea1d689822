/**
 * Hostile datagrams for the WireGuard engine: noise, messages with the right first bytes, and genuine ones damaged and cut,
 * also with a valid mac1 (anybody who knows a public key can make that). Nothing throws, nothing is delivered, no state
 * changes but counters; and packets inside that lie about themselves.
 *
 * NEARCAST_SEED repeats a run, NEARCAST_FUZZ_INPUTS makes it longer.
 */
import { expect, test } from 'vitest'
import { blake2s } from '../../lib/wireguard/blake2s.ts'
import { MESSAGE } from '../../lib/wireguard/constants.ts'
import { decodeKey } from '../../lib/wireguard/keys.ts'
import { decodeMessage, macsOf } from '../../lib/wireguard/messages.ts'
import { Random, testSeed } from '../support/random.ts'
import { CALM, Network, packetBetween } from '../support/wireguard-network.ts'

const INPUTS = Number(process.env['NEARCAST_FUZZ_INPUTS'] ?? 200_000)
const LENGTHS = [0, 1, 4, 15, 16, 31, 32, 33, 48, 63, 64, 65, 91, 92, 93, 147, 148, 149, 1500] as const

/** Of a handshake message, what Noise covers. */
function proven(bytes: Uint8Array): Uint8Array {
  return bytes.subarray(8, bytes.length - 32)
}

function damaged(random: Random, bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes)
  for (let changes = 1 + random.below(3); changes > 0; changes--) {
    const at = random.below(copy.length)
    copy[at] = random.pick([0, 0xff, (copy[at] ?? 0) ^ (1 << random.below(8)), random.below(256)])
  }
  return random.below(4) === 0 ? copy.subarray(0, random.below(copy.length + 1)) : copy
}

test(`the parser: ${INPUTS} inputs, every answer reached`, { timeout: 120_000 }, () => {
  const random = new Random(testSeed('fuzz wireguard parser'))
  const tally = new Map<string, number>()
  for (let input = 0; input < INPUTS; input++) {
    const bytes = new Uint8Array(random.pick(LENGTHS) + (random.below(4) === 0 ? random.below(20) : 0))
    for (let index = 4; index < Math.min(bytes.length, 20); index++) bytes[index] = random.below(256)
    if (bytes.length > 0) bytes[0] = random.below(6)
    if (bytes.length > 3 && random.below(8) === 0) bytes[1 + random.below(3)] = random.below(256)
    const message = decodeMessage(bytes)
    tally.set(message?.type ?? 'none', (tally.get(message?.type ?? 'none') ?? 0) + 1)
    if (message?.type === 'transport') expect(message.counter === -1 || Number.isSafeInteger(message.counter)).toBe(true)
  }
  for (const type of ['none', 'initiation', 'response', 'cookie-reply', 'transport']) expect((tally.get(type) ?? 0) / INPUTS, type).toBeGreaterThan(0.003)
})

test('the engine: nothing throws, is delivered, or changes', { timeout: 120_000 }, () => {
  const random = new Random(testSeed('fuzz wireguard engine'))
  const network = new Network(random)
  const [a, b] = [network.add('a', { handshakesPerSecond: 1e9 }), network.add('b', { handshakesPerSecond: 1e9 })]
  network.introduce(a, b)
  a.engine.send(packetBetween(a, b, Buffer.from('hello')))
  network.run(60_000)
  // Beside what has arrived: an initiation that is under way and will never be answered.
  network.weather = { ...CALM, loss: 1 }
  network.run(130_000)
  a.engine.send(packetBetween(a, b, Buffer.from('lost')))
  const genuine = [...a.sent, ...b.sent].map(({ datagram }) => datagram)
  const state = (): string => JSON.stringify([[...a.engine.peers()], [...b.engine.peers()], a.engine.sessionCount, b.engine.sessionCount, a.delivered.length, b.delivered.length, a.sent.length, b.sent.length])
  const before = state()
  const undamaged = new Set(genuine.map((datagram) => Buffer.from(datagram).toString('hex')))
  for (let input = 0; input < INPUTS / 20; input++) {
    const station = random.pick([a, b])
    const datagram = damaged(random, genuine[random.below(genuine.length)] ?? new Uint8Array(1))
    const isHandshake = (datagram.length === 148 && datagram[0] === MESSAGE.initiation) || (datagram.length === 92 && datagram[0] === MESSAGE.response)
    if (isHandshake && random.below(2) === 0) {
      const { body, mac1 } = macsOf(datagram)
      mac1.set(blake2s(16, blake2s(32, null, Buffer.from('mac1----'), decodeKey(station.engine.publicKey)), body))
    }
    // What came out whole by chance is genuine. So is what differs only where Noise doesn't look: who is on the way may
    // change the sender's index and the macs of a message that hasn't arrived, and gets nothing but a session that nobody has.
    if (undamaged.has(Buffer.from(datagram).toString('hex'))) continue
    if (isHandshake && genuine.some((each) => each.length === datagram.length && Buffer.compare(proven(each), proven(datagram)) === 0)) continue
    network.inject(datagram, { host: '203.0.113.9', port: 1 + random.below(65_535) }, station)
  }
  expect(state()).toBe(before)
  expect(a.engine.drops.of('forged-or-replayed') + b.engine.drops.of('forged-or-replayed')).toBeGreaterThan(100)
  expect(a.engine.drops.of('malformed')).toBeGreaterThan(100)
  expect(a.engine.drops.of('mac1')).toBeGreaterThan(10)
})

test('packets of a peer that lie about themselves are not delivered beyond what they may be', { timeout: 120_000 }, () => {
  const random = new Random(testSeed('fuzz wireguard packets'))
  const network = new Network(random)
  const [a, b] = [network.add('a'), network.add('b')]
  network.introduce(a, b)
  // The sender doesn't look at a packet beyond its destination.
  a.engine.setPeer(b.engine.publicKey, { allowedIps: ['::/0', '0.0.0.0/0'] })
  const source = packetBetween(a, b, new Uint8Array(0)).subarray(8, 24)
  for (let input = 0; input < INPUTS / 100; input++) {
    const packet = damaged(random, packetBetween(a, b, random.bytes(random.below(80))))
    if (packet.length === 0) continue
    a.engine.send(packet)
    network.run(10)
  }
  expect(b.delivered.length).toBeGreaterThan(100)
  for (const { packet } of b.delivered) {
    expect((packet[0] ?? 0) >> 4).toBe(6)
    expect(40 + ((packet[4] ?? 0) << 8) + (packet[5] ?? 0)).toBe(packet.length)
    expect(packet.subarray(8, 24)).toEqual(source)
  }
  expect(b.engine.drops.of('source')).toBeGreaterThan(10)
  expect(b.engine.drops.of('not-ip')).toBeGreaterThan(10)
})
