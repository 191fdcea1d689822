/**
 * The PROXY protocol, versions 1 and 2, as a package of its own: `import { HeaderReader, encodeV2 } from 'nearcast/proxy-protocol'`.
 * An incremental decoder with limits (`decode`, and `HeaderReader` for chunks), encoders, TLVs. Pure: it opens no socket. The rest of Nearcast imports the files.
 * Specification: https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt
 */
export { COMMAND, DEFAULT_HEADER_TIMEOUT_MS, DEFAULT_MAX_HEADER_BYTES, FAMILY, MIN_HEADER_TIMEOUT_MS, SIGNATURE, SSL_CLIENT, TLV, TLV_SSL, TRANSPORT } from './constants.ts'
export { decode } from './decode.ts'
export type { DecodeOptions } from './decode.ts'
export { encodeV1, encodeV2 } from './encode.ts'
export type { EncodeV2 } from './encode.ts'
export { findTlv, unixPath } from './header.ts'
export { HeaderReader } from './header-reader.ts'
export type { ReadHeader } from './header-reader.ts'
export type { Decoded, Endpoint, ProxyAddresses, ProxyHeader, ProxyHeaderV1, ProxyHeaderV2, Tlv, Transport } from './header.ts'
export { decodeSsl, encodeSsl } from './tlv.ts'
export type { SslInfo } from './tlv.ts'
