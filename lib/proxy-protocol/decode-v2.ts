/**
 * Version 2, the binary header (section 2.2): signature, version and command, family and transport, length, address
 * block, TLVs. Each check happens as soon as its byte is there, in the order of the bytes.
 *
 * LOCAL: the whole block is skipped whatever it holds and the real end points stand; its TLVs are offered where they
 * can be read (our own hop uses them), and are none otherwise.
 */
import { ADDRESS_BYTES, COMMAND, FAMILY, FIXED_BYTES, SIGNATURE, TLV, TRANSPORT, UNIX_PATH_BYTES, VERSION_2 } from './constants.ts'
import { crc32c } from './crc32c.ts'
import type { Decoded, ProxyAddresses, ProxyHeaderV2, Tlv, Transport } from './header.ts'
import { decodeTlvs } from './tlv.ts'

type V2 = Decoded<ProxyHeaderV2>
type Family = keyof typeof ADDRESS_BYTES
type Shape = { readonly family: Family; readonly transport: Transport }

const INCOMPLETE = { state: 'incomplete' } as const

function invalid(reason: string): { readonly state: 'invalid'; readonly reason: string } {
  return { state: 'invalid', reason }
}

export function decodeV2(bytes: Uint8Array, maxBytes: number): V2 {
  const signatureBytes = Math.min(bytes.length, SIGNATURE.length)
  for (let index = 0; index < signatureBytes; index++) {
    if (bytes[index] !== SIGNATURE[index]) return invalid('the signature is wrong')
  }
  const versionAndCommand = bytes[12]
  if (versionAndCommand === undefined) return INCOMPLETE
  if (versionAndCommand >> 4 !== VERSION_2) return invalid('the version is not 2')
  const command = versionAndCommand & 0xf
  if (command !== COMMAND.local && command !== COMMAND.proxy) return invalid('the command is neither LOCAL nor PROXY')

  const shapeByte = bytes[13]
  if (shapeByte === undefined) return INCOMPLETE
  const shape = shapeOf(shapeByte)
  if (shape === null && command === COMMAND.proxy) return invalid('the family or the transport is unknown')

  if (bytes.length < FIXED_BYTES) return INCOMPLETE
  const blockBytes = ((bytes[14] ?? 0) << 8) | (bytes[15] ?? 0)
  const headerBytes = FIXED_BYTES + blockBytes
  if (!(headerBytes <= maxBytes)) return invalid(`it has ${headerBytes} bytes, more than the limit of ${maxBytes}`)
  const addressBytes = shape === null ? 0 : ADDRESS_BYTES[shape.family]
  if (command === COMMAND.proxy && blockBytes < addressBytes) return invalid('it is too short for its addresses')
  if (bytes.length < headerBytes) return INCOMPLETE

  const whole = bytes.subarray(0, headerBytes)
  const tlvs = blockBytes < addressBytes ? [] : decodeTlvs(whole.subarray(FIXED_BYTES + addressBytes))
  if (typeof tlvs === 'string') {
    if (command === COMMAND.proxy) return invalid(tlvs)
    return { state: 'done', header: localHeader([]), headerBytes }
  }
  const checksumReason = checkChecksum(whole, tlvs)
  if (checksumReason !== null) return invalid(checksumReason)
  if (command === COMMAND.local || shape === null) return { state: 'done', header: localHeader(tlvs), headerBytes }
  return { state: 'done', header: { version: 2, command: 'proxy', addresses: addressesOf(whole, shape), tlvs }, headerBytes }
}

function localHeader(tlvs: readonly Tlv[]): ProxyHeaderV2 {
  return { version: 2, command: 'local', addresses: { family: 'unspecified' }, tlvs }
}

function shapeOf(byte: number): Shape | null {
  const transport = byte & 0xf
  if (byte === 0) return { family: 'unspecified', transport: 'stream' }
  if (transport !== TRANSPORT.stream && transport !== TRANSPORT.datagram) return null
  const name: Transport = transport === TRANSPORT.stream ? 'stream' : 'datagram'
  switch (byte >> 4) {
    case FAMILY.ipv4:
      return { family: 'ipv4', transport: name }
    case FAMILY.ipv6:
      return { family: 'ipv6', transport: name }
    case FAMILY.unix:
      return { family: 'unix', transport: name }
    default:
      return null
  }
}

/** Copies out of the buffer: addresses outlive it. */
function addressesOf(whole: Uint8Array, { family, transport }: Shape): ProxyAddresses {
  if (family === 'unspecified') return { family }
  const at = (offset: number, length: number): Uint8Array => Uint8Array.from(whole.subarray(FIXED_BYTES + offset, FIXED_BYTES + offset + length))
  if (family === 'unix') return { family, transport, source: at(0, UNIX_PATH_BYTES), destination: at(UNIX_PATH_BYTES, UNIX_PATH_BYTES) }
  const ipBytes = family === 'ipv4' ? 4 : 16
  const ports = at(2 * ipBytes, 4)
  const port = (index: number): number => ((ports[index] ?? 0) << 8) | (ports[index + 1] ?? 0)
  return {
    family,
    transport,
    source: { ip: at(0, ipBytes), port: port(0) },
    destination: { ip: at(ipBytes, ipBytes), port: port(2) },
  }
}

/** Section 2.2.3: computed over the whole header with the four bytes of the checksum zeroed; a mismatch aborts. */
function checkChecksum(whole: Uint8Array, tlvs: readonly Tlv[]): string | null {
  const [checksum, second] = tlvs.filter((tlv) => tlv.type === TLV.crc32c)
  if (checksum === undefined) return null
  if (second !== undefined) return 'it has two checksums'
  const { value } = checksum
  const zeroed = Uint8Array.from(whole)
  const offset = value.byteOffset - whole.byteOffset
  zeroed.fill(0, offset, offset + 4)
  const expected = new DataView(value.buffer, value.byteOffset).getUint32(0)
  return crc32c(zeroed) === expected ? null : 'the checksum does not match'
}
