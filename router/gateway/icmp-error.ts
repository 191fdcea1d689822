/** ICMPv6 errors about a packet (RFC 4443, sections 3.1 to 3.3), from a router that it met. Pure. */
import type { Ipv6 } from '../../lib/address.ts'
import { folded, pseudoHeaderSum, sumOf } from '../../lib/wireguard/checksum.ts'

/** Nobody there; longer than `mtu`; it has met too many routers. */
export type IcmpProblem = { readonly kind: 'unreachable' } | { readonly kind: 'too-big'; readonly mtu: number } | { readonly kind: 'hops' }

const HEADER_BYTES = 40
const ICMPV6 = 58
const ICMP_HEAD_BYTES = 8
/** The error itself is never too big. */
const MAX_BYTES = 1280
const TYPES = { unreachable: 1, 'too-big': 2, hops: 3 } as const
const ADDRESS_UNREACHABLE = 3

/** `from`: an address of the router. @returns null when there is to be none: no error about an error (section 2.4) */
export function icmpError(problem: IcmpProblem, packet: Uint8Array, from: Ipv6): Uint8Array | null {
  if (packet[6] === ICMPV6 && (packet[HEADER_BYTES] ?? 0) < 128) return null
  const quoted = packet.subarray(0, MAX_BYTES - HEADER_BYTES - ICMP_HEAD_BYTES)
  const length = ICMP_HEAD_BYTES + quoted.length
  const error = new Uint8Array(HEADER_BYTES + length)
  const view = new DataView(error.buffer)
  view.setUint32(0, 0x6000_0000)
  view.setUint16(4, length)
  error.set([ICMPV6, 64], 6)
  error.set(from, 8)
  error.set(packet.subarray(8, 24), 24)
  error.set([TYPES[problem.kind], problem.kind === 'unreachable' ? ADDRESS_UNREACHABLE : 0], HEADER_BYTES)
  if (problem.kind === 'too-big') view.setUint32(HEADER_BYTES + 4, problem.mtu)
  error.set(quoted, HEADER_BYTES + ICMP_HEAD_BYTES)
  view.setUint16(HEADER_BYTES + 2, ~folded(pseudoHeaderSum(error, true, ICMPV6, length) + sumOf(error, HEADER_BYTES, error.length)))
  return error
}
