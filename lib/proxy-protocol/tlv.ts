/**
 * Type-length-value vectors of a version 2 header (section 2.2): type u8, length u16 big-endian, value.
 *
 * Every vector is checked against the block that holds it, sub-vectors of SSL against their parent. An empty value is
 * legal. What a value means is the reader's business, except for the three that the specification itself limits.
 */
import { MAX_BLOCK_BYTES, MAX_UNIQUE_ID_BYTES, TLV } from './constants.ts'
import type { Tlv } from './header.ts'
import { refuse, tooLong } from './refusal.ts'

const TLV_HEAD_BYTES = 3
/** `client` u8 and `verify` u32 stand before the sub-vectors of SSL. */
const SSL_HEAD_BYTES = 5

export interface SslInfo {
  /** Bits of SSL_CLIENT. */
  readonly client: number
  /** 0: the client presented a certificate and it was verified. */
  readonly verify: number
  /** Types of TLV_SSL. */
  readonly tlvs: readonly Tlv[]
}

/** @returns the vectors, or the reason why `block` isn't a sequence of them. Values are views of `block`. */
export function decodeTlvs(block: Uint8Array): Tlv[] | string {
  const tlvs = splitTlvs(block)
  if (typeof tlvs === 'string') return tlvs
  for (const tlv of tlvs) {
    const reason = checkTlv(tlv)
    if (reason !== null) return reason
  }
  return tlvs
}

function splitTlvs(block: Uint8Array): Tlv[] | string {
  const tlvs: Tlv[] = []
  let offset = 0
  while (offset < block.length) {
    if (block.length - offset < TLV_HEAD_BYTES) return 'a TLV is cut in its head'
    const type = block[offset] ?? 0
    const length = ((block[offset + 1] ?? 0) << 8) | (block[offset + 2] ?? 0)
    const start = offset + TLV_HEAD_BYTES
    // Progress is by the head at least, so that empty values can't hold the loop.
    offset = start + length
    if (offset > block.length) return 'a TLV is longer than its block'
    tlvs.push({ type, value: block.subarray(start, offset) })
  }
  return tlvs
}

/** @returns why no header may hold it, or null. The same for those read and those written. */
export function checkTlv(tlv: Tlv): string | null {
  if (tlv.type === TLV.crc32c && tlv.value.length !== 4) return 'CRC32C has 4 bytes'
  if (tlv.type === TLV.uniqueId && tlv.value.length > MAX_UNIQUE_ID_BYTES) return `a unique id has at most ${MAX_UNIQUE_ID_BYTES} bytes`
  if (tlv.type === TLV.ssl && decodeSsl(tlv.value) === null) return 'the SSL TLV is malformed'
  return null
}

/** @returns null when `value` isn't the value of an SSL TLV. */
export function decodeSsl(value: Uint8Array): SslInfo | null {
  if (value.length < SSL_HEAD_BYTES) return null
  const tlvs = splitTlvs(value.subarray(SSL_HEAD_BYTES))
  if (typeof tlvs === 'string') return null
  const verify = new DataView(value.buffer, value.byteOffset).getUint32(1)
  return { client: value[0] ?? 0, verify, tlvs }
}

/** The value of an SSL TLV. @throws NearcastError proxy-header.invalid, proxy-header.too-long. */
export function encodeSsl(ssl: SslInfo): Uint8Array {
  const { client, verify } = ssl
  if (!Number.isInteger(client) || client < 0 || client > 0xff) throw refuse(`${client} is no byte of client bits`)
  if (!Number.isInteger(verify) || verify < 0 || verify > 0xffff_ffff) throw refuse(`${verify} is no result of a verification`)
  for (const tlv of ssl.tlvs) checkHead(tlv)
  if (SSL_HEAD_BYTES + tlvsBytes(ssl.tlvs) > MAX_BLOCK_BYTES) throw tooLong('An SSL TLV', SSL_HEAD_BYTES + tlvsBytes(ssl.tlvs))
  const value = new Uint8Array(SSL_HEAD_BYTES + tlvsBytes(ssl.tlvs))
  value[0] = ssl.client
  new DataView(value.buffer).setUint32(1, ssl.verify)
  writeTlvs(value, SSL_HEAD_BYTES, ssl.tlvs)
  return value
}

/** What a TLV's own head can say. @throws NearcastError proxy-header.invalid, proxy-header.too-long. */
export function checkHead({ type, value }: Tlv): void {
  if (!Number.isInteger(type) || type < 0 || type > 0xff) throw refuse(`${type} is no TLV type`)
  if (value.length > MAX_BLOCK_BYTES) throw tooLong('A TLV', value.length)
}

/** Bytes that the vectors take; may exceed what a header can hold, the caller checks. */
export function tlvsBytes(tlvs: readonly Tlv[]): number {
  return tlvs.reduce((sum, tlv) => sum + TLV_HEAD_BYTES + tlv.value.length, 0)
}

/** Writes into `target` from `offset`. @returns the offset behind the last one. */
export function writeTlvs(target: Uint8Array, offset: number, tlvs: readonly Tlv[]): number {
  for (const tlv of tlvs) {
    target[offset] = tlv.type
    target[offset + 1] = tlv.value.length >> 8
    target[offset + 2] = tlv.value.length & 0xff
    target.set(tlv.value, offset + TLV_HEAD_BYTES)
    offset += TLV_HEAD_BYTES + tlv.value.length
  }
  return offset
}
