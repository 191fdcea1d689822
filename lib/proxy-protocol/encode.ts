/**
 * Writes PROXY headers, versions 1 and 2 (sections 2.1 and 2.2). Refuses what a header can't say; never wraps, never cuts.
 *
 * A header must be the first bytes of its connection and leave in one write with what follows: the caller's duty.
 */
import { formatIpv6, ipv6FromBytes } from '../address.ts'
import { ADDRESS_BYTES, COMMAND, FAMILY, FIXED_BYTES, MAX_BLOCK_BYTES, SIGNATURE, TLV } from './constants.ts'
import { TRANSPORT, UNIX_PATH_BYTES, VERSION_2 } from './constants.ts'
import { crc32c } from './crc32c.ts'
import { isMapped } from './decode-v1.ts'
import type { Endpoint, ProxyAddresses, Tlv } from './header.ts'
import { refuse, tooLong } from './refusal.ts'
import { checkHead, checkTlv, tlvsBytes, writeTlvs } from './tlv.ts'

export interface EncodeV2 {
  readonly command: 'local' | 'proxy'
  readonly addresses: ProxyAddresses
  /** Only what a decoder takes; a CRC32C is asked for below. */
  readonly tlvs?: readonly Tlv[]
  /** Appends a CRC32C over the whole header. Default false. */
  readonly crc32c?: boolean
}

/** The whole line, CRLF included. @throws NearcastError proxy-header.invalid for Unix sockets, datagrams, mapped addresses. */
export function encodeV1(addresses: ProxyAddresses): Uint8Array {
  if (addresses.family === 'unspecified') return Buffer.from('PROXY UNKNOWN\r\n', 'latin1')
  if (addresses.family === 'unix' || addresses.transport !== 'stream') throw refuse('version 1 knows TCP over IPv4 and IPv6 only')
  checkEndpoints(addresses.family, [addresses.source, addresses.destination])
  const { source, destination } = addresses
  const [protocol, format] = addresses.family === 'ipv4' ? ['TCP4', formatIpv4] : ['TCP6', formatUnmapped]
  const line = `PROXY ${protocol} ${format(source.ip)} ${format(destination.ip)} ${source.port} ${destination.port}\r\n`
  return Buffer.from(line, 'latin1')
}

function formatIpv4(ip: Uint8Array): string {
  return ip.join('.')
}

function formatUnmapped(ip: Uint8Array): string {
  if (isMapped(ip)) throw refuse('an IPv4 address mapped into IPv6 is TCP4')
  return formatIpv6(ipv6FromBytes(ip))
}

function checkEndpoints(family: 'ipv4' | 'ipv6', endpoints: readonly Endpoint[]): void {
  for (const { ip, port } of endpoints) {
    if (ip.length !== (family === 'ipv4' ? 4 : 16)) throw refuse(`an address of ${ip.length} bytes isn't ${family}`)
    if (!Number.isInteger(port) || port < 0 || port > 0xffff) throw refuse(`${port} is no port`)
  }
}

/** @throws NearcastError proxy-header.invalid; proxy-header.too-long when addresses and TLVs exceed 65535 bytes. */
export function encodeV2(header: EncodeV2): Uint8Array {
  const { addresses } = header
  if (header.command === 'local' && addresses.family !== 'unspecified') throw refuse('LOCAL has no addresses')
  const given = header.tlvs ?? []
  for (const tlv of given) {
    checkHead(tlv)
    if (tlv.type === TLV.crc32c) throw refuse('a checksum is computed, not given: ask for it with crc32c')
    const reason = checkTlv(tlv)
    if (reason !== null) throw refuse(reason)
  }
  const tlvs = header.crc32c === true ? [...given, { type: TLV.crc32c, value: new Uint8Array(4) }] : given
  const blockBytes = ADDRESS_BYTES[addresses.family] + tlvsBytes(tlvs)
  if (blockBytes > MAX_BLOCK_BYTES) throw tooLong('A PROXY header', blockBytes)

  const bytes = new Uint8Array(FIXED_BYTES + blockBytes)
  const view = new DataView(bytes.buffer)
  bytes.set(SIGNATURE)
  bytes[12] = (VERSION_2 << 4) | COMMAND[header.command]
  bytes[13] = (FAMILY[addresses.family] << 4) | (addresses.family === 'unspecified' ? 0 : TRANSPORT[addresses.transport])
  view.setUint16(14, blockBytes)
  writeAddresses(bytes, view, addresses)
  writeTlvs(bytes, FIXED_BYTES + ADDRESS_BYTES[addresses.family], tlvs)
  if (header.crc32c === true) view.setUint32(bytes.length - 4, crc32c(bytes))
  return bytes
}

function writeAddresses(bytes: Uint8Array, view: DataView, addresses: ProxyAddresses): void {
  switch (addresses.family) {
    case 'unspecified':
      return
    case 'unix':
      for (const path of [addresses.source, addresses.destination]) {
        if (path.length > UNIX_PATH_BYTES) throw refuse(`a Unix socket's path has at most ${UNIX_PATH_BYTES} bytes`)
      }
      bytes.set(addresses.source, FIXED_BYTES)
      bytes.set(addresses.destination, FIXED_BYTES + UNIX_PATH_BYTES)
      return
    default: {
      const { family, source, destination } = addresses
      checkEndpoints(family, [source, destination])
      bytes.set(source.ip, FIXED_BYTES)
      bytes.set(destination.ip, FIXED_BYTES + source.ip.length)
      view.setUint16(FIXED_BYTES + 2 * source.ip.length, source.port)
      view.setUint16(FIXED_BYTES + 2 * source.ip.length + 2, destination.port)
    }
  }
}
