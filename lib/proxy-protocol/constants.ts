/**
 * The numbers of the PROXY protocol, versions 1 and 2 (HAProxy, doc/proxy-protocol.txt, sections 2.1 and 2.2).
 * Our own limits stand apart, below: the specification leaves them to the receiver.
 */

/** Section 2.2: the 12 bytes that open a version 2 header. Chosen so that no text protocol understands them. */
export const SIGNATURE = Uint8Array.of(0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a)
/** Signature, version and command, family and transport, length. */
export const FIXED_BYTES = 16
/** The length field has 16 bits. */
export const MAX_BLOCK_BYTES = 0xffff

export const VERSION_2 = 0x2
export const COMMAND = { local: 0x0, proxy: 0x1 } as const
export const FAMILY = { unspecified: 0x0, ipv4: 0x1, ipv6: 0x2, unix: 0x3 } as const
export const TRANSPORT = { unspecified: 0x0, stream: 0x1, datagram: 0x2 } as const
/** Bytes of the address block, per family. */
export const ADDRESS_BYTES = { unspecified: 0, ipv4: 12, ipv6: 36, unix: 216 } as const
export const UNIX_PATH_BYTES = 108

/** Section 2.2.1 to 2.2.8. */
export const TLV = {
  alpn: 0x01,
  authority: 0x02,
  crc32c: 0x03,
  noop: 0x04,
  uniqueId: 0x05,
  ssl: 0x20,
  netns: 0x30,
} as const
export const TLV_SSL = { version: 0x21, commonName: 0x22, cipher: 0x23, signature: 0x24, key: 0x25 } as const
export const SSL_CLIENT = { ssl: 0x01, certificateConnection: 0x02, certificateSession: 0x04 } as const
export const MAX_UNIQUE_ID_BYTES = 128

/** Section 2.1: the longest version 1 line (UNKNOWN with two full IPv6 addresses), CRLF included. */
export const MAX_V1_LINE_BYTES = 107

/** Ours: a version 2 header longer than this is refused before it is waited for. */
export const DEFAULT_MAX_HEADER_BYTES = 2048
/** Ours: how long a receiver should wait for a whole header. The specification asks for 3 s at least (one lost SYN). */
export const DEFAULT_HEADER_TIMEOUT_MS = 5000
export const MIN_HEADER_TIMEOUT_MS = 3000
