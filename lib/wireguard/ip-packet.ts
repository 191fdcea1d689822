/** What WireGuard needs to know of an IP packet: its version, its length, where its addresses stand (RFC 791, RFC 8200). Pure. */
export interface IpShape {
  /** Bytes of an address. */
  readonly addressBytes: 4 | 16
  readonly sourceOffset: number
  readonly destinationOffset: number
}

const IPV4: IpShape = { addressBytes: 4, sourceOffset: 12, destinationOffset: 16 }
const IPV6: IpShape = { addressBytes: 16, sourceOffset: 8, destinationOffset: 24 }
const IPV4_HEADER_BYTES = 20
const IPV6_HEADER_BYTES = 40

/** @returns null for what is no IP packet. */
export function ipShape(packet: Uint8Array): IpShape | null {
  const version = (packet[0] ?? 0) >> 4
  if (version === 4) return packet.length >= IPV4_HEADER_BYTES ? IPV4 : null
  return version === 6 && packet.length >= IPV6_HEADER_BYTES ? IPV6 : null
}

/** The bytes that the packet says it has, of the `packet.length` with padding; 0 when that can't be. */
export function ipLength(packet: Uint8Array, shape: IpShape): number {
  const isIpv4 = shape.addressBytes === 4
  const offset = isIpv4 ? 2 : 4
  const field = ((packet[offset] ?? 0) << 8) | (packet[offset + 1] ?? 0)
  const length = isIpv4 ? field : field + IPV6_HEADER_BYTES
  return length > packet.length || length < IPV4_HEADER_BYTES ? 0 : length
}
