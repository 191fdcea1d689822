/**
 * What a gateway lets through, both ways. The engine has shown already that a packet comes from a peer and that its source
 * is inside that peer's /120; here the rest: it stays in the network that its source belongs to, and goes to a Flycast
 * address. So the proxy beside us may believe the source. The way back is as narrow. Pure.
 *
 * Machines of a network don't reach each other through a gateway.
 */
import type { Ipv6 } from '../../lib/address.ts'
import { isFlycast, isPeer, networkOf } from '../../lib/address.ts'

/** Why not: no IPv6; another network's address; none of Flycast's; neither TCP nor ICMP; no answer of a Flycast address to a peer of its network. */
export const INNER_DROPS = ['ipv4', 'foreign', 'machine', 'protocol', 'reach'] as const
export type InnerDrop = (typeof INNER_DROPS)[number]

const HEADER_BYTES = 40
const TCP = 6
const ICMPV6 = 58

/** From a peer to the host. @returns why not, or null */
export function judgeInbound(packet: Uint8Array, prefix: number): InnerDrop | null {
  if (!isIpv6(packet)) return 'ipv4'
  const destination = addressAt(packet, 24)
  const network = networkOf(addressAt(packet, 8), prefix)
  if (network === null || networkOf(destination, prefix) !== network) return 'foreign'
  if (!isFlycast(destination, prefix)) return 'machine'
  // Neither fragments nor options: TCP needs none of them, and they have been ways around filters.
  return packet[6] === TCP || packet[6] === ICMPV6 ? null : 'protocol'
}

/** From the host to a peer. @returns why not, or null */
export function judgeOutbound(packet: Uint8Array, prefix: number): InnerDrop | null {
  if (!isIpv6(packet)) return 'ipv4'
  const source = addressAt(packet, 8)
  const destination = addressAt(packet, 24)
  return isFlycast(source, prefix) && isPeer(destination, prefix) && networkOf(source, prefix) === networkOf(destination, prefix) ? null : 'reach'
}

function isIpv6(packet: Uint8Array): boolean {
  return packet.length >= HEADER_BYTES && (packet[0] ?? 0) >> 4 === 6
}

/** In place. */
function addressAt(packet: Uint8Array, offset: number): Ipv6 {
  // A view of 16 bytes is what an Ipv6 is; it isn't kept.
  return packet.subarray(offset, offset + 16) as Ipv6
}
