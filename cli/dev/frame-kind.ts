/**
 * What a frame on a link is, by its headers: enough to tell what is sealed from what isn't. Ethernet, IPv6 (the cluster's
 * underlay), TCP, UDP; behind them WireGuard by its message types (whitepaper, section 5.4). Pure.
 */

const ETHERNET_BYTES = 14
const IPV6_BYTES = 40
const UDP_BYTES = 8
const IPV6_ETHERTYPE = 0x86dd
const TCP = 6
const UDP = 17
const ICMPV6 = 58

/** `backbone`: WireGuard from port `backbonePort`; `wireguard`: any other; else `tcp 7400` by the lower port, `udp 53`, `icmpv6`. */
export function frameKind(frame: Uint8Array, backbonePort: number): string {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
  const transport = ETHERNET_BYTES + IPV6_BYTES
  if (frame.length < transport || view.getUint16(12) !== IPV6_ETHERTYPE) return 'other'
  const next = frame[ETHERNET_BYTES + 6]
  if (next === ICMPV6) return 'icmpv6'
  if ((next !== TCP && next !== UDP) || frame.length < transport + UDP_BYTES) return 'other'
  const ports = [view.getUint16(transport), view.getUint16(transport + 2)]
  if (next === UDP && isWireguard(frame.subarray(transport + UDP_BYTES))) return ports.includes(backbonePort) ? 'backbone' : 'wireguard'
  return `${next === TCP ? 'tcp' : 'udp'} ${Math.min(...ports)}`
}

/** A type from 1 to 4, then three zero bytes, then at least as much as the shortest message has. */
function isWireguard(payload: Uint8Array): boolean {
  const [type = 0, ...reserved] = payload.subarray(0, 4)
  return payload.length >= 32 && type >= 1 && type <= 4 && reserved.length === 3 && reserved.every((byte) => byte === 0)
}
