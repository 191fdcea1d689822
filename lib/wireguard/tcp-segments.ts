/**
 * Many segments of a TCP stream as one packet, both ways, as the kernel hands them over and takes them (linux/virtio_net.h):
 * `split` makes ordinary packets of one that is too large, `TcpRow` puts ordinary ones together that follow each other. Pure.
 */
import { folded, pseudoHeaderSum, sumOf } from './checksum.ts'

/** struct virtio_net_hdr: flags, kind, header's bytes, a segment's bytes, where the checksum begins, where it stands behind that. */
export const VIRTIO_HEADER_BYTES = 10
const NEEDS_CHECKSUM = 1
const [KIND_NONE, KIND_TCP_IPV4, KIND_TCP_IPV6, KIND_ECN] = [0, 1, 4, 0x80]
const TCP = 6
const [FIN, PSH, ACK, CWR] = [0x01, 0x08, 0x10, 0x80]
const TCP_CHECKSUM_OFFSET = 16
const MIN_TCP_BYTES = 20
const IPV6_BYTES = 40
const IPV4_BYTES = 20
const MAX_BYTES = 65_535

/** One segment at a time; `TcpRow` and `split` use it one after the other, never at once. */
const scratch = new Uint8Array(MAX_BYTES + 1)

/**
 * `bytes`: a virtio_net_hdr and a packet, which `split` may change. `use` may use each packet during the call only.
 * @returns false for what can't be understood
 */
export function split(bytes: Uint8Array, use: (packet: Uint8Array) => void): boolean {
  const flags = bytes[0] ?? 0
  const kind = (bytes[1] ?? 0) & ~KIND_ECN
  const packet = bytes.subarray(VIRTIO_HEADER_BYTES)
  const start = little16(bytes, 6)
  const place = start + little16(bytes, 8)
  if (kind === KIND_NONE) {
    if ((flags & NEEDS_CHECKSUM) !== 0) {
      if (place + 2 > packet.length || start >= packet.length) return false
      // What stands there is the sum of the pseudo header.
      // 0 would say that there is none; all ones is the same number.
      write16(packet, place, ~folded(sumOf(packet, start, packet.length)) & 0xffff || 0xffff)
    }
    use(packet)
    return true
  }
  const isIpv6 = kind === KIND_TCP_IPV6
  const segmentBytes = little16(bytes, 4)
  if ((!isIpv6 && kind !== KIND_TCP_IPV4) || segmentBytes === 0 || start < (isIpv6 ? IPV6_BYTES : IPV4_BYTES) || start + MIN_TCP_BYTES > packet.length) return false
  const headerBytes = start + ((packet[start + 12] ?? 0) >> 4) * 4
  if (headerBytes < start + MIN_TCP_BYTES || headerBytes > packet.length) return false
  const sequence = read32(packet, start + 4)
  const flagsOfAll = packet[start + 13] ?? 0
  const identification = read16(packet, 4)
  scratch.set(packet.subarray(0, headerBytes))
  for (let offset = headerBytes, index = 0; offset < packet.length; offset += segmentBytes, index++) {
    const payload = packet.subarray(offset, offset + segmentBytes)
    const length = headerBytes + payload.length
    const isLast = offset + segmentBytes >= packet.length
    scratch.set(payload, headerBytes)
    write32(scratch, start + 4, sequence + offset - headerBytes)
    scratch[start + 13] = flagsOfAll & ~(isLast ? 0 : FIN | PSH) & ~(index === 0 ? 0 : CWR)
    if (isIpv6) write16(scratch, 4, length - IPV6_BYTES)
    else {
      write16(scratch, 2, length)
      write16(scratch, 4, identification + index)
      write16(scratch, 10, 0)
      write16(scratch, 10, ~folded(sumOf(scratch, 0, start)) & 0xffff)
    }
    write16(scratch, start + TCP_CHECKSUM_OFFSET, 0)
    write16(scratch, start + TCP_CHECKSUM_OFFSET, ~folded(pseudoHeaderSum(scratch, isIpv6, TCP, length - start) + sumOf(scratch, start, length)) & 0xffff)
    use(scratch.subarray(0, length))
  }
  return true
}

/**
 * Packets on their way into the kernel, in their order: those that follow each other in one TCP stream leave as one. A
 * packet whose checksum is wrong is put together with no other, so the kernel sees that it is.
 */
export class TcpRow {
  readonly #memory: Uint8Array
  readonly #packet: Uint8Array
  /** Of what is held; 0 for nothing. */
  #length = 0
  #count = 0
  #isIpv6 = false
  /** Where TCP begins, and its payload. */
  #start = 0
  #headerBytes = 0
  #segmentBytes = 0
  #nextSequence = 0
  /** Nothing follows: a short segment, or one that wants to be delivered. */
  #isComplete = false

  /** `memory`: VIRTIO_HEADER_BYTES and 65535 bytes more. */
  constructor(memory: Uint8Array) {
    this.#memory = memory
    this.#packet = memory.subarray(VIRTIO_HEADER_BYTES)
  }

  get isEmpty(): boolean {
    return this.#length === 0
  }

  /** @returns false when `finish` has to come first. */
  add(packet: Uint8Array): boolean {
    if (this.#length === 0) {
      this.#begin(packet)
      return true
    }
    if (!this.#follows(packet)) return false
    const payloadBytes = packet.length - this.#headerBytes
    this.#packet.set(packet.subarray(this.#headerBytes), this.#length)
    this.#length += payloadBytes
    this.#count++
    this.#nextSequence = (this.#nextSequence + payloadBytes) >>> 0
    const isPushed = ((packet[this.#start + 13] ?? 0) & PSH) !== 0
    if (isPushed) this.#packet[this.#start + 13] = (this.#packet[this.#start + 13] ?? 0) | PSH
    this.#isComplete = isPushed || payloadBytes < this.#segmentBytes
    return true
  }

  /** @returns how many bytes of the memory are to be written. */
  finish(): number {
    const length = this.#length
    this.#length = 0
    this.#memory.fill(0, 0, VIRTIO_HEADER_BYTES)
    if (this.#count > 1) this.#seal(length)
    return VIRTIO_HEADER_BYTES + length
  }

  #begin(packet: Uint8Array): void {
    this.#packet.set(packet)
    this.#length = packet.length
    this.#count = 1
    const start = tcpStart(packet)
    this.#isComplete = start === 0
    if (start === 0) return
    this.#isIpv6 = start === IPV6_BYTES
    this.#start = start
    this.#headerBytes = start + ((packet[start + 12] ?? 0) >> 4) * 4
    this.#segmentBytes = packet.length - this.#headerBytes
    this.#nextSequence = (read32(packet, start + 4) + this.#segmentBytes) >>> 0
    const flags = packet[start + 13] ?? 0
    this.#isComplete = this.#headerBytes < start + MIN_TCP_BYTES || this.#segmentBytes <= 0 || flags !== ACK || !hasRightChecksum(packet, this.#isIpv6, start)
  }

  #follows(packet: Uint8Array): boolean {
    const start = this.#start
    const payloadBytes = packet.length - this.#headerBytes
    if (this.#isComplete || payloadBytes <= 0 || payloadBytes > this.#segmentBytes || this.#length + payloadBytes > MAX_BYTES) return false
    const flags = packet[start + 13] ?? 0
    if ((flags & ~PSH) !== ACK || read32(packet, start + 4) !== this.#nextSequence) return false
    // Everything else is as in the first: only lengths, identification, checksums and PSH may differ.
    if (this.#isIpv6) {
      if (read16(packet, 4) !== packet.length - IPV6_BYTES || !this.#isSame(packet, 0, 4) || !this.#isSame(packet, 6, start)) return false
    } else if (read16(packet, 2) !== packet.length || !this.#isSame(packet, 0, 2) || !this.#isSame(packet, 6, 10) || !this.#isSame(packet, 12, start) || folded(sumOf(packet, 0, IPV4_BYTES)) !== 0xffff) return false
    if (!this.#isSame(packet, start, start + 4) || !this.#isSame(packet, start + 8, start + 13)) return false
    if (!this.#isSame(packet, start + 14, start + TCP_CHECKSUM_OFFSET) || !this.#isSame(packet, start + 18, this.#headerBytes)) return false
    return hasRightChecksum(packet, this.#isIpv6, start)
  }

  #isSame(packet: Uint8Array, from: number, to: number): boolean {
    for (let at = from; at < to; at++) if (packet[at] !== this.#packet[at]) return false
    return true
  }

  /** The header that says how it is to be split again, and a checksum of the pseudo header only. */
  #seal(length: number): void {
    const [memory, packet, start] = [this.#memory, this.#packet, this.#start]
    if (this.#isIpv6) write16(packet, 4, length - IPV6_BYTES)
    else {
      write16(packet, 2, length)
      write16(packet, 10, 0)
      write16(packet, 10, ~folded(sumOf(packet, 0, start)) & 0xffff)
    }
    write16(packet, start + TCP_CHECKSUM_OFFSET, folded(pseudoHeaderSum(packet, this.#isIpv6, TCP, length - start)))
    memory[0] = NEEDS_CHECKSUM
    memory[1] = this.#isIpv6 ? KIND_TCP_IPV6 : KIND_TCP_IPV4
    for (const [offset, value] of [[2, this.#headerBytes], [4, this.#segmentBytes], [6, start], [8, TCP_CHECKSUM_OFFSET]] as const) {
      memory[offset] = value
      memory[offset + 1] = value >>> 8
    }
  }
}

/** Where TCP begins in a packet without options and fragments, whose length is right; 0 for anything else. */
function tcpStart(packet: Uint8Array): number {
  const version = (packet[0] ?? 0) >> 4
  if (version === 6) return packet.length >= IPV6_BYTES + MIN_TCP_BYTES && packet[6] === TCP && read16(packet, 4) === packet.length - IPV6_BYTES ? IPV6_BYTES : 0
  const isPlain = packet[0] === 0x45 && packet.length >= IPV4_BYTES + MIN_TCP_BYTES && packet[9] === TCP && read16(packet, 2) === packet.length
  // Neither a fragment nor followed by one.
  return isPlain && (read16(packet, 6) & 0x3fff) === 0 && folded(sumOf(packet, 0, IPV4_BYTES)) === 0xffff ? IPV4_BYTES : 0
}

function hasRightChecksum(packet: Uint8Array, isIpv6: boolean, start: number): boolean {
  return folded(pseudoHeaderSum(packet, isIpv6, TCP, packet.length - start) + sumOf(packet, start, packet.length)) === 0xffff
}

function little16(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8)
}

function read16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
}

function read32(bytes: Uint8Array, at: number): number {
  return ((read16(bytes, at) << 16) | read16(bytes, at + 2)) >>> 0
}

function write16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8
  bytes[at + 1] = value
}

function write32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
}
