/** The Internet checksum (RFC 1071): sums of 16-bit words in network order, not folded yet. Pure. */
const IS_LITTLE = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

/** `bytes` from `start` up to `end`; an odd last byte counts as the high one. */
export function sumOf(bytes: Uint8Array, start: number, end: number): number {
  let sum = 0
  let at = start
  const last = end - 1
  const place = bytes.byteOffset + start
  // Four bytes at a time where they stand right for that; sums of halves fit, a packet has 64 KiB at most.
  if (IS_LITTLE && (place & 3) === 0 && end - start >= 64) {
    const words = new Uint32Array(bytes.buffer, place, (end - start) >>> 2)
    let [low, high] = [0, 0]
    for (let index = 0; index < words.length; index++) {
      const word = words[index] ?? 0
      low += word & 0xffff
      high += word >>> 16
    }
    sum = swapped(folded(low + high))
    at += words.length * 4
  }
  for (; at < last; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
  return at === last ? sum + ((bytes[at] ?? 0) << 8) : sum
}

/** 16 bits. */
export function folded(sum: number): number {
  let rest = sum
  while (rest > 0xffff) rest = (rest & 0xffff) + Math.floor(rest / 0x1_0000)
  return rest
}

/** The sum of the other byte order is the same with its bytes swapped. */
function swapped(sum: number): number {
  return ((sum & 0xff) << 8) | (sum >>> 8)
}

/** What TCP's checksum covers besides the segment (RFC 9293, section 3.1; RFC 8200, section 8.1): both addresses, length, protocol. */
export function pseudoHeaderSum(packet: Uint8Array, isIpv6: boolean, protocol: number, length: number): number {
  return (isIpv6 ? sumOf(packet, 8, 40) : sumOf(packet, 12, 20)) + protocol + (length >>> 16) + (length & 0xffff)
}
