/**
 * What a gateway lets through, both ways. The engine has shown already that a packet comes from a peer and that its source
 * is inside that peer's /120; here the rest: it stays in the network that its source belongs to, and goes to a Flycast
 * address or to another peer (crossing.ts). So the proxy beside us may believe the source. The way back is as narrow. Pure.
 *
 * What comes from another gateway is from one peer to another one, and nothing else.
 */
import type { Ipv6, NetworkId } from '../../lib/address.ts'
import { isFlycast, isPeer, networkOf } from '../../lib/address.ts'

/**
 * Why not: no IPv6; another network's address; a machine that is no peer; a protocol that doesn't pass; no answer of a Flycast
 * address to a peer of its network; and between peers (crossing.ts): nobody knows where it is; its gateway isn't reached;
 * longer than the way there takes; met too many routers; from another gateway and for none of our peers.
 */
export const INNER_DROPS = ['ipv4', 'foreign', 'machine', 'protocol', 'reach', 'absent', 'away', 'too-big', 'hops', 'strayed'] as const
export type InnerDrop = (typeof INNER_DROPS)[number]

/** To the proxy beside us, or to another peer of the network. */
export type InnerVerdict = { readonly to: 'flycast' } | { readonly to: 'peer'; readonly network: NetworkId } | { readonly to: null; readonly drop: InnerDrop }

const HEADER_BYTES = 40
const TCP = 6
const UDP = 17
const FRAGMENT = 44
const ICMPV6 = 58
const FLYCAST: InnerVerdict = { to: 'flycast' }

/** From a peer. */
export function judgeInbound(packet: Uint8Array, prefix: number): InnerVerdict {
  if (!isIpv6(packet)) return dropped('ipv4')
  const source = addressAt(packet, 8)
  const destination = addressAt(packet, 24)
  const network = networkOf(source, prefix)
  if (network === null || networkOf(destination, prefix) !== network) return dropped('foreign')
  const protocol = packet[6]
  if (isFlycast(destination, prefix)) {
    // Neither fragments nor options: TCP needs none of them, and they have been ways around filters.
    return protocol === TCP || protocol === ICMPV6 ? FLYCAST : dropped('protocol')
  }
  if (!isPeer(destination, prefix) || !isPeer(source, prefix)) return dropped('machine')
  // Datagrams may come in pieces: nobody looks further than the addresses, which each piece has. Still no options.
  return protocol === TCP || protocol === ICMPV6 || protocol === UDP || protocol === FRAGMENT ? { to: 'peer', network } : dropped('protocol')
}

/** From the host to a peer. @returns why not, or null */
export function judgeOutbound(packet: Uint8Array, prefix: number): InnerDrop | null {
  if (!isIpv6(packet)) return 'ipv4'
  const source = addressAt(packet, 8)
  const destination = addressAt(packet, 24)
  return isFlycast(source, prefix) && isPeer(destination, prefix) && networkOf(source, prefix) === networkOf(destination, prefix) ? null : 'reach'
}

function dropped(drop: InnerDrop): InnerVerdict {
  return { to: null, drop }
}

function isIpv6(packet: Uint8Array): boolean {
  return packet.length >= HEADER_BYTES && (packet[0] ?? 0) >> 4 === 6
}

/** In place. */
function addressAt(packet: Uint8Array, offset: number): Ipv6 {
  // A view of 16 bytes is what an Ipv6 is; it isn't kept.
  return packet.subarray(offset, offset + 16) as Ipv6
}
