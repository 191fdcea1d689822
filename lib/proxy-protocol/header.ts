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

/** The first TLV of a type, or undefined. */
export function findTlv(header: ProxyHeader, type: number): Tlv | undefined {
  return header.version === 2 ? header.tlvs.find((tlv) => tlv.type === type) : undefined
}
