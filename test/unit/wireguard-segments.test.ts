/** Rows of TCP segments: split into packets that a naive reader finds right, put together again, and neither where it mustn't be. */
import { expect, test } from 'vitest'
import { folded, sumOf } from '../../lib/wireguard/checksum.ts'
import { split, TcpRow, VIRTIO_HEADER_BYTES } from '../../lib/wireguard/tcp-segments.ts'
import { Random, testSeed } from '../support/random.ts'

const seed = testSeed('wireguard-segments')
const [FIN, PSH, ACK, CWR] = [0x01, 0x08, 0x10, 0x80]

interface Segment {
  readonly isIpv6?: boolean
  readonly sequence?: number
  readonly flags?: number
  readonly options?: Uint8Array
  readonly payload: Uint8Array
  readonly port?: number
}

/** RFC 1071, as it is written. */
function naiveSum(bytes: Uint8Array): number {
  let sum = 0
  for (let at = 0; at < bytes.length; at += 2) {
    sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
    if (sum > 0xffff) sum -= 0xffff
  }
  return sum
}

/** Addresses, protocol and length, then the segment itself. */
function covered(packet: Buffer): Buffer {
  const isIpv6 = packet[0] === 0x60
  const start = isIpv6 ? 40 : 20
  const tail = Buffer.alloc(4)
  tail.writeUInt16BE(6, 0)
  tail.writeUInt16BE(packet.length - start, 2)
  return Buffer.concat([packet.subarray(isIpv6 ? 8 : 12, start), tail, packet.subarray(start)])
}

function packetOf({ isIpv6 = true, sequence = 1000, flags = ACK, options = new Uint8Array(0), payload, port = 443 }: Segment): Buffer {
  const start = isIpv6 ? 40 : 20
  const packet = Buffer.alloc(start + 20 + options.length + payload.length)
  if (isIpv6) {
    packet[0] = 0x60
    packet.writeUInt16BE(packet.length - 40, 4)
    packet[6] = 6
    packet[7] = 64
    packet.set(Uint8Array.from({ length: 32 }, (_, index) => index), 8)
  } else {
    packet[0] = 0x45
    packet.writeUInt16BE(packet.length, 2)
    packet.writeUInt16BE(7, 4)
    packet.writeUInt16BE(0x4000, 6)
    packet[8] = 64
    packet[9] = 6
    packet.set([192, 0, 2, 1, 192, 0, 2, 2], 12)
    packet.writeUInt16BE(~naiveSum(packet.subarray(0, 20)) & 0xffff, 10)
  }
  packet.writeUInt16BE(port, start)
  packet.writeUInt16BE(5000, start + 2)
  packet.writeUInt32BE(sequence >>> 0, start + 4)
  packet.writeUInt32BE(77, start + 8)
  packet[start + 12] = ((20 + options.length) / 4) << 4
  packet[start + 13] = flags
  packet.writeUInt16BE(512, start + 14)
  packet.set(options, start + 20)
  packet.set(payload, start + 20 + options.length)
  packet.writeUInt16BE(~naiveSum(covered(packet)) & 0xffff, start + 16)
  return packet
}

function row(): { readonly row: TcpRow; readonly memory: Uint8Array } {
  const memory = new Uint8Array(VIRTIO_HEADER_BYTES + 65_535)
  return { row: new TcpRow(memory), memory }
}

function packetsOf(bytes: Uint8Array): Buffer[] {
  const packets: Buffer[] = []
  expect(split(Uint8Array.from(bytes), (packet) => packets.push(Buffer.from(packet)))).toBe(true)
  return packets
}

test('sums are those of a naive reader, at every place and length', () => {
  const random = new Random(seed)
  const memory = random.bytes(3000)
  for (let round = 0; round < 3000; round++) {
    const start = random.below(20)
    const end = start + random.below(random.pick([4, 80, 1500, 2900]))
    expect(folded(sumOf(memory, start, end)) % 0xffff, `${start} to ${end}`).toBe(naiveSum(memory.subarray(start, end)) % 0xffff)
  }
  expect(folded(sumOf(new Uint8Array(65_536).fill(0xff), 0, 65_536))).toBe(0xffff)
})

test.each([true, false])('what follows each other leaves as one, and comes apart as it was (IPv6: %s)', (isIpv6) => {
  const random = new Random(seed)
  for (let round = 0; round < 60; round++) {
    const segmentBytes = 1 + random.below(1400)
    const count = 2 + random.below(Math.min(40, Math.floor(60_000 / segmentBytes)))
    const options = random.pick([new Uint8Array(0), Uint8Array.from([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2])])
    const first = random.pick([0, 1000, 2 ** 32 - 700])
    const packets = Array.from({ length: count }, (_, index) => {
      const isLast = index === count - 1
      const payload = random.bytes(isLast ? 1 + random.below(segmentBytes) : segmentBytes)
      return packetOf({ isIpv6, sequence: first + index * segmentBytes, flags: isLast && round % 2 === 0 ? ACK | PSH : ACK, options, payload })
    })
    const { row: held, memory } = row()
    for (const packet of packets) expect(held.add(packet)).toBe(true)
    const length = held.finish()
    expect(length).toBeGreaterThan(VIRTIO_HEADER_BYTES + segmentBytes * (count - 1))
    expect(held.isEmpty).toBe(true)
    const again = packetsOf(memory.subarray(0, length))
    // Identifications of IPv4 are counted on from the first, as the kernel does.
    if (!isIpv6) for (const [index, packet] of packets.entries()) identify(packet, 7 + index)
    expect(again).toEqual(packets)
  }
})

function identify(packet: Buffer, identification: number): void {
  packet.writeUInt16BE(identification, 4)
  packet.writeUInt16BE(0, 10)
  packet.writeUInt16BE(~naiveSum(packet.subarray(0, 20)) & 0xffff, 10)
}

test('one alone goes as it came, whatever it is', () => {
  for (const packet of [packetOf({ payload: Buffer.from('x') }), Buffer.from([0x60]), Buffer.alloc(60, 0x45), packetOf({ payload: new Uint8Array(0) })]) {
    const { row: held, memory } = row()
    expect(held.add(packet)).toBe(true)
    expect(held.finish()).toBe(VIRTIO_HEADER_BYTES + packet.length)
    expect(memory.subarray(0, VIRTIO_HEADER_BYTES)).toEqual(new Uint8Array(VIRTIO_HEADER_BYTES))
    expect(Buffer.from(memory.subarray(VIRTIO_HEADER_BYTES, VIRTIO_HEADER_BYTES + packet.length))).toEqual(packet)
  }
})

function joins(first: Buffer, second: Buffer): boolean {
  const { row: held } = row()
  held.add(first)
  return held.add(second)
}

function changed(packet: Buffer, at: number): Buffer {
  const copy = Buffer.from(packet)
  copy[at] = (copy[at] ?? 0) ^ 1
  return copy
}

test.each([true, false])('nothing joins that isn’t the next of the same stream (IPv6: %s)', (isIpv6) => {
  const payload = Buffer.alloc(100, 7)
  const first = packetOf({ isIpv6, payload })
  const second = (more: Partial<Segment> = {}): Buffer => packetOf({ isIpv6, sequence: 1100, payload, ...more })
  expect(joins(first, second())).toBe(true)
  expect(joins(first, second({ flags: ACK | PSH }))).toBe(true)
  expect(joins(first, second({ sequence: 1099 }))).toBe(false)
  expect(joins(first, second({ payload: Buffer.alloc(101) }))).toBe(false)
  expect(joins(first, second({ payload: new Uint8Array(0) }))).toBe(false)
  expect(joins(first, second({ port: 444 }))).toBe(false)
  expect(joins(first, second({ options: new Uint8Array(4).fill(1) }))).toBe(false)
  for (const flags of [ACK | FIN, ACK | CWR, 0, ACK | 2, ACK | 4, ACK | 0x20, ACK | 0x40]) {
    expect(joins(first, second({ flags }))).toBe(false)
    expect(joins(packetOf({ isIpv6, payload, flags }), second())).toBe(false)
  }
  // Behind a short or a pushed one nothing follows; a wrong checksum stays alone, so that the kernel sees it.
  expect(joins(packetOf({ isIpv6, payload, flags: ACK | PSH }), second())).toBe(false)
  expect(joins(first, changed(second(), (isIpv6 ? 60 : 40) + 3))).toBe(false)
  expect(joins(changed(first, (isIpv6 ? 60 : 40) + 3), second())).toBe(false)
  for (let at = 0; at < (isIpv6 ? 60 : 40); at++) expect(joins(first, changed(second(), at)), `byte ${at}`).toBe(false)
})

test('no more than a packet may hold', () => {
  const { row: held } = row()
  let count = 0
  while (held.add(packetOf({ sequence: 1000 + 1380 * count, payload: Buffer.alloc(1380, 1) }))) count++
  expect(count).toBe(47)
  expect(held.finish()).toBeLessThanOrEqual(VIRTIO_HEADER_BYTES + 65_535)
})

test('what the kernel hands over with its checksum to be filled in gets it; nonsense is refused', () => {
  const packet = packetOf({ payload: Buffer.from('hello') })
  const partial = Buffer.from(packet)
  const { length } = partial.subarray(40)
  partial.writeUInt16BE(naiveSum(Buffer.concat([partial.subarray(8, 40), Buffer.from([0, 6, 0, length])])), 56)
  const header = Buffer.alloc(VIRTIO_HEADER_BYTES)
  header[0] = 1
  header.writeUInt16LE(40, 6)
  header.writeUInt16LE(16, 8)
  expect(packetsOf(Buffer.concat([header, partial]))).toEqual([packet])
  const random = new Random(seed)
  for (let round = 0; round < 5000; round++) {
    const bytes = Buffer.concat([random.bytes(VIRTIO_HEADER_BYTES), partial.subarray(0, random.below(partial.length + 1))])
    bytes[1] = random.pick([0, 1, 4, 0x81, 0x84, 3, 5])
    if (random.below(2) === 0) bytes.writeUInt16LE(random.below(70), 6)
    if (random.below(2) === 0) bytes.writeUInt16LE(random.below(20), 8)
    if (random.below(2) === 0) bytes.writeUInt16LE(random.below(3), 4)
    split(bytes, (each) => expect(each.length).toBeLessThanOrEqual(partial.length))
  }
  for (const kind of [3, 5]) {
    header[1] = kind
    expect(split(Buffer.concat([header, partial]), () => expect.unreachable())).toBe(false)
  }
})
