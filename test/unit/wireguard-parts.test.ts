/** The small machines of lib/wireguard, each against something simpler. */
import { expect, test } from 'vitest'
import { AllowedIps } from '../../lib/wireguard/allowed-ips.ts'
import { Deadlines } from '../../lib/wireguard/deadlines.ts'
import { HandshakeLoad } from '../../lib/wireguard/handshake-load.ts'
import { ipLength, ipShape } from '../../lib/wireguard/ip-packet.ts'
import { decodeMessage, encodeCookieReply, encodeInitiation, encodeResponse, macsOf, writeTransportHeader } from '../../lib/wireguard/messages.ts'
import { formatPrefix, parsePrefix } from '../../lib/wireguard/prefix.ts'
import type { Prefix } from '../../lib/wireguard/prefix.ts'
import { isLater, timestampAfter } from '../../lib/wireguard/tai64n.ts'
import { PeerTimers } from '../../lib/wireguard/timers.ts'
import { Random, testSeed } from '../support/random.ts'

const random = new Random(testSeed('wireguard-parts'))

function bits(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('')
}

/** What the trie has to do, said plainly. */
class NaiveAllowedIps {
  #rows: { readonly prefix: Prefix; readonly owner: number }[] = []

  insert(prefix: Prefix, owner: number): void {
    this.#rows = [...this.#rows.filter((row) => formatPrefix(row.prefix) !== formatPrefix(prefix)), { prefix, owner }]
  }

  remove(owner: number): void {
    this.#rows = this.#rows.filter((row) => row.owner !== owner)
  }

  lookup(address: Uint8Array): number | null {
    const matching = this.#rows.filter(({ prefix }) => prefix.address.length === address.length && bits(address).startsWith(bits(prefix.address).slice(0, prefix.bits)))
    return matching.toSorted((left, right) => right.prefix.bits - left.prefix.bits)[0]?.owner ?? null
  }

  prefixesOf(owner: number): string[] {
    return this.#rows.filter((row) => row.owner === owner).map(({ prefix }) => formatPrefix(prefix)).toSorted()
  }
}

/** Few distinct bytes, so that prefixes lie within each other. */
function randomPrefix(): Prefix {
  const length = random.pick([4, 16])
  const address = Uint8Array.from({ length }, () => random.pick([0, 0, 1, 128, 255]))
  const size = random.below(length * 8 + 1)
  const text = length === 4 ? address.join('.') : Array.from({ length: 8 }, (_, index) => (((address[2 * index] ?? 0) << 8) | (address[2 * index + 1] ?? 0)).toString(16)).join(':')
  return parsePrefix(`${text}/${size}`)
}

test('allowed addresses: the trie answers as a naive list does', () => {
  for (let round = 0; round < 40; round++) {
    const [trie, naive] = [new AllowedIps<number>(), new NaiveAllowedIps()]
    const seen: Uint8Array[] = []
    for (let step = 0; step < 60; step++) {
      const owner = random.below(8)
      if (random.below(12) === 0) {
        trie.remove(owner)
        naive.remove(owner)
      } else {
        const prefix = randomPrefix()
        seen.push(prefix.address)
        trie.insert(prefix, owner)
        naive.insert(prefix, owner)
      }
      for (let look = 0; look < 6; look++) {
        const address = random.below(2) === 0 ? randomPrefix().address : Uint8Array.from(seen[random.below(seen.length)] ?? new Uint8Array(4))
        const bit = random.below(address.length * 8)
        if (random.below(2) === 0) address[bit >> 3] = (address[bit >> 3] ?? 0) ^ (0x80 >> (bit & 7))
        const packet = new Uint8Array(60)
        const offset = random.below(40)
        packet.set(address, offset)
        expect(trie.lookup(packet, offset, address.length)).toBe(naive.lookup(address))
      }
    }
    for (let owner = 0; owner < 8; owner++) expect(trie.prefixesOf(owner).map(formatPrefix).toSorted()).toEqual(naive.prefixesOf(owner))
  }
})

test('a prefix changes its owner, and the loser is named', () => {
  const trie = new AllowedIps<string>()
  expect(trie.insert(parsePrefix('10.0.0.0/8'), 'a')).toBeNull()
  expect(trie.insert(parsePrefix('10.0.0.0/8'), 'a')).toBeNull()
  expect(trie.insert(parsePrefix('10.1.2.3/8'), 'b')).toBe('a')
  expect(trie.prefixesOf('a')).toEqual([])
  expect(trie.lookup(Uint8Array.of(10, 9, 9, 9), 0, 4)).toBe('b')
  expect(trie.lookup(Uint8Array.of(11, 9, 9, 9), 0, 4)).toBeNull()
})

test('prefixes as text', () => {
  for (const [text, canonical] of [['10.1.2.3/8', '10.0.0.0/8'], ['10.1.2.3', '10.1.2.3/32'], ['fdaa:0:1::9/48', 'fdaa:0:1::/48'], ['::/0', '::/0'], ['::1', '::1/128'], ['0.0.0.0/0', '0.0.0.0/0']] as const) {
    expect(formatPrefix(parsePrefix(text))).toBe(canonical)
  }
  for (const text of ['', '10.0.0.0/33', '::/129', '10.0.0/8', '::1/', '::1/1/1', '256.0.0.1', '::1/-1', '::1/1e1', 'fe80::1%eth0']) {
    expect(() => parsePrefix(text), text).toThrowError(expect.objectContaining({ code: 'address.invalid' }))
  }
})

test('deadlines come in their order, and later ones are found out', () => {
  for (let round = 0; round < 50; round++) {
    const deadlines = new Deadlines<number>()
    const real = new Map<number, number>()
    for (let step = 0; step < 100; step++) {
      const [item, atMs] = [random.below(20), random.below(1000)]
      real.set(item, atMs)
      deadlines.note(item, atMs)
    }
    const gone = random.below(20)
    deadlines.forget(gone)
    real.delete(gone)
    const done: number[] = []
    for (let nowMs = 0; nowMs <= 1000; nowMs++) {
      for (let item = deadlines.take(nowMs); item !== null; item = deadlines.take(nowMs)) {
        const atMs = real.get(item) ?? Infinity
        if (atMs <= nowMs) {
          expect(atMs).toBe(nowMs)
          done.push(item)
        } else deadlines.note(item, atMs)
      }
    }
    expect(new Set(done)).toEqual(new Set(real.keys()))
    expect(done.length).toBe(real.size)
    expect(deadlines.nextMs).toBe(Infinity)
  }
})

test('timers: what is due, one by one', () => {
  const timers = new PeerTimers(() => 0)
  expect(timers.deadlineMs).toBe(Infinity)
  timers.dataReceived(0)
  timers.dataReceived(1)
  expect(timers.deadlineMs).toBe(10_000)
  expect(timers.due(9_999)).toEqual([])
  expect(timers.due(10_000)).toEqual(['keepalive'])
  // Data came meanwhile: another one follows, unless something else was sent.
  expect(timers.deadlineMs).toBe(20_000)
  timers.packetSent(15_000)
  expect(timers.deadlineMs).toBe(Infinity)
  timers.dataSent(20_000)
  timers.dataSent(30_000)
  expect(timers.deadlineMs).toBe(35_000)
  expect(timers.due(35_000)).toEqual(['handshake'])
  timers.sessionMade(40_000)
  expect(timers.due(579_999)).toEqual([])
  expect(timers.due(580_000)).toEqual(['forget'])
  timers.setPersistent(25_000, 600_000)
  timers.packetReceived(610_000)
  expect(timers.due(634_999)).toEqual([])
  expect(timers.due(635_000)).toEqual(['keepalive'])
  expect(timers.deadlineMs).toBe(660_000)
  timers.setPersistent(0, 0)
  for (let attempt = 0; attempt < 18; attempt++) {
    timers.initiationSent(1e6 + 5_000 * attempt)
    expect(timers.due(1e6 + 5_000 * (attempt + 1))).toEqual(['retry'])
  }
  timers.initiationSent(2e6)
  expect(timers.due(2e6 + 5_000)).toEqual(['give-up'])
  expect(timers.due(2e6 + 545_000)).toEqual(['forget'])
})

test('load: counted by second, lasts a second longer; a proven address has its own budget, and the table its limit', () => {
  const load = new HandshakeLoad(10)
  for (let count = 0; count < 10; count++) expect(load.isUnder(5)).toBe(false)
  expect(load.isUnder(5)).toBe(true)
  expect(load.isUnder(1_004)).toBe(true)
  // That one was the twelfth of its second.
  expect(load.isUnder(2_003)).toBe(true)
  expect(load.isUnder(2_004)).toBe(false)
  for (let count = 0; count < 5; count++) expect(load.mayCome('a', 0)).toBe(true)
  expect(load.mayCome('a', 0)).toBe(false)
  expect(load.mayCome('b', 0)).toBe(true)
  expect(load.mayCome('a', 50)).toBe(true)
  expect(load.mayCome('a', 50)).toBe(false)
  for (let host = 0; host < 5_000; host++) load.mayCome(`host ${host}`, 60)
  // Forgotten as the oldest.
  expect(load.mayCome('a', 60)).toBe(true)
})

test('timestamps grow, whatever the clock does, in steps of 16.8 ms', () => {
  const first = timestampAfter(Date.UTC(2026, 0, 1), null)
  expect(Buffer.from(first).toString('hex')).toBe('400000006955b90a00000000')
  let last = first
  for (const wallMs of [Date.UTC(2026, 0, 1), 0, Date.UTC(2025, 0, 1), Date.UTC(2026, 0, 1) + 1, Date.UTC(2027, 0, 1) + 999]) {
    const next = timestampAfter(wallMs, last)
    expect(isLater(next, last)).toBe(true)
    expect(new DataView(next.buffer).getUint32(8) & 0xff_ffff).toBe(0)
    expect(new DataView(next.buffer).getUint32(8)).toBeLessThan(1e9)
    last = next
  }
  for (let count = 0; count < 200; count++) {
    const next = timestampAfter(0, last)
    expect(isLater(next, last)).toBe(true)
    last = next
  }
})

test('messages: encoded and decoded', () => {
  const first = { ephemeral: random.bytes(32), sealedStatic: random.bytes(48), sealedPayload: random.bytes(28) }
  const initiation = encodeInitiation(0xffff_fffe, first)
  expect(initiation.length).toBe(148)
  expect(decodeMessage(initiation)).toEqual({ type: 'initiation', sender: 0xffff_fffe, first })
  const second = { ephemeral: random.bytes(32), sealedPayload: random.bytes(16) }
  const response = encodeResponse(1, 2, second)
  expect(response.length).toBe(92)
  expect(decodeMessage(response)).toEqual({ type: 'response', sender: 1, receiver: 2, second })
  const [nonce, sealedCookie] = [random.bytes(24), random.bytes(32)]
  expect(decodeMessage(encodeCookieReply(3, nonce, sealedCookie))).toEqual({ type: 'cookie-reply', receiver: 3, nonce, sealedCookie })
  const transport = new Uint8Array(40)
  writeTransportHeader(transport, 4, 2 ** 52 + 5)
  expect(decodeMessage(transport)).toEqual({ type: 'transport', receiver: 4, counter: 2 ** 52 + 5, sealed: transport.subarray(16) })
  transport[15] = 0xff
  expect(decodeMessage(transport)).toMatchObject({ counter: -1 })
  transport[1] = 1
  expect(decodeMessage(transport)).toBeNull()
  expect(macsOf(initiation)).toMatchObject({ body: { length: 116 }, mac1: { length: 16 }, withMac1: { length: 132 }, mac2: { length: 16 } })
  expect(decodeMessage(initiation.subarray(0, 147))).toBeNull()
  expect(decodeMessage(new Uint8Array(31))).toBeNull()
})

test('IP packets say how long they are, and are not believed beyond what came', () => {
  const ipv4 = new Uint8Array(48)
  ipv4[0] = 0x45
  ipv4[3] = 33
  const shape = ipShape(ipv4)
  expect(shape).toMatchObject({ addressBytes: 4, sourceOffset: 12 })
  if (shape !== null) {
    expect(ipLength(ipv4, shape)).toBe(33)
    ipv4[3] = 49
    expect(ipLength(ipv4, shape)).toBe(0)
    ipv4[3] = 19
    expect(ipLength(ipv4, shape)).toBe(0)
  }
  expect(ipShape(ipv4.subarray(0, 19))).toBeNull()
  expect(ipShape(Uint8Array.from({ length: 39 }, () => 0x60))).toBeNull()
  expect(ipShape(Uint8Array.from({ length: 64 }, () => 0x50))).toBeNull()
})
