/**
 * A PROXY header as a value: what decode answers and encode takes. Addresses are bytes, never text.
 */
export interface Endpoint {
  /** 4 bytes (ipv4) or 16 (ipv6), network order. */
  readonly ip: Uint8Array
  readonly port: number
}

export type Transport = 'stream' | 'datagram'

export type ProxyAddresses =
  /** Use the real end points of the connection: v1 UNKNOWN, v2 LOCAL or AF_UNSPEC. */
  | { readonly family: 'unspecified' }
  | { readonly family: 'ipv4' | 'ipv6'; readonly transport: Transport; readonly source: Endpoint; readonly destination: Endpoint }
  /** Paths up to 108 bytes, binary; decoded ones have all 108, padded with NUL. */
  | { readonly family: 'unix'; readonly transport: Transport; readonly source: Uint8Array; readonly destination: Uint8Array }

export interface Tlv {
  /** 0 .. 255 */
  readonly type: number
  /** Binary: neither text nor free of NUL. May be empty. */
  readonly value: Uint8Array
}

export interface ProxyHeaderV1 {
  readonly version: 1
  readonly addresses: ProxyAddresses
}

export interface ProxyHeaderV2 {
  readonly version: 2
  /** `local`: made by the proxy itself (health checks); `addresses` is then always unspecified. */
  readonly command: 'local' | 'proxy'
  readonly addresses: ProxyAddresses
  /** In the order of the wire, NOOP and CRC32C included. Values are views of the decoded buffer: copy what you keep. */
  readonly tlvs: readonly Tlv[]
}

export type ProxyHeader = ProxyHeaderV1 | ProxyHeaderV2

/** A Unix socket's path without its padding: empty for one without a name, a NUL first for an abstract one. Binary. */
export function unixPath(field: Uint8Array): Uint8Array {
  const end = field.indexOf(0, 1)
  if (field[0] !== 0) return end < 0 ? field : field.subarray(0, end)
  // An abstract name may hold NUL anywhere but, in a field of fixed length, not at its end.
  const last = field.findLastIndex((byte) => byte !== 0)
  return field.subarray(0, last + 1)
}

/** The first TLV of a type, or undefined. */
export function findTlv(header: ProxyHeader, type: number): Tlv | undefined {
  return header.version === 2 ? header.tlvs.find((tlv) => tlv.type === type) : undefined
}

/** What a decoder says of the bytes so far. */
export type Decoded<Header extends ProxyHeader = ProxyHeader> =
  | { readonly state: 'incomplete' }
  /** `headerBytes`: where the payload starts. */
  | { readonly state: 'done'; readonly header: Header; readonly headerBytes: number }
  | { readonly state: 'invalid'; readonly reason: string }
