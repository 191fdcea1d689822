/**
 * A TCP connection begins with how long a segment each side takes (RFC 9293, section 3.7.1). Where the way between is narrower
 * than both know, the word is made smaller as it passes, so that no segment has to be refused first. Pure.
 */
import { folded } from '../../lib/wireguard/checksum.ts'

const IPV6_BYTES = 40
const TCP = 6
const TCP_BYTES = 20
const FLAGS = IPV6_BYTES + 13
const CHECKSUM = IPV6_BYTES + 16
const SYN = 2
const OPTION = { end: 0, nothing: 1, segment: 2 } as const

/** Changes an IPv6 packet in place, if it is such a beginning. `mtu`: of the way. */
export function limitSegments(packet: Uint8Array, mtu: number): void {
  if (packet[6] !== TCP || packet.length < IPV6_BYTES + TCP_BYTES || ((packet[FLAGS] ?? 0) & SYN) === 0) return
  const limit = mtu - IPV6_BYTES - TCP_BYTES
  const end = Math.min(packet.length, IPV6_BYTES + 4 * ((packet[IPV6_BYTES + 12] ?? 0) >> 4))
  for (let at = IPV6_BYTES + TCP_BYTES; at < end && packet[at] !== OPTION.end; ) {
    const length = packet[at] === OPTION.nothing ? 1 : (packet[at + 1] ?? 0)
    if (packet[at] === OPTION.segment && length === 4 && at + 4 <= end) {
      const said = wordAt(packet, at + 2)
      if (said > limit) replaceWord(packet, at + 2, said, limit)
      return
    }
    // Damaged: whoever gets it will see that.
    if (length === 0) return
    at += length
  }
}

/** With the checksum (RFC 1624), whose words begin at even places: one that stands at an odd place counts with its bytes swapped. */
function replaceWord(packet: Uint8Array, at: number, before: number, after: number): void {
  const swap = (word: number): number => ((at & 1) === 0 ? word : ((word & 0xff) << 8) | (word >> 8))
  const sum = folded((~wordAt(packet, CHECKSUM) & 0xffff) + (~swap(before) & 0xffff) + swap(after))
  putWord(packet, at, after)
  putWord(packet, CHECKSUM, ~sum & 0xffff)
}

function wordAt(packet: Uint8Array, at: number): number {
  return ((packet[at] ?? 0) << 8) | (packet[at + 1] ?? 0)
}

function putWord(packet: Uint8Array, at: number, word: number): void {
  packet[at] = word >> 8
  packet[at + 1] = word & 0xff
}
