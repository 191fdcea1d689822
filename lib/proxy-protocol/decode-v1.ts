/**
 * Version 1, the text line (section 2.1): `PROXY TCP6 <source> <destination> <source port> <destination port>\r\n`.
 *
 * Exactly one space, CRLF and nothing else at the end, no leading zeros, the whole line within 107 bytes. Stricter than
 * the specification where leniency has been a way around a check: no zone id, no dotted quad and no mapped IPv4 in TCP6.
 */
import { isIpv6Text, parseIpv6 } from '../address.ts'
import { MAX_V1_LINE_BYTES } from './constants.ts'
import type { Decoded, Endpoint, ProxyAddresses, ProxyHeaderV1 } from './header.ts'

const OPENING = 'PROXY '
const CR = 0x0d
const LF = 0x0a

type V1 = Decoded<ProxyHeaderV1>

function invalid(reason: string): { readonly state: 'invalid'; readonly reason: string } {
  return { state: 'invalid', reason }
}

/** Checks byte after byte, so that the first wrong byte decides, however the line was cut. */
export function decodeV1(bytes: Uint8Array): V1 {
  const limit = Math.min(bytes.length, MAX_V1_LINE_BYTES)
  for (let index = 0; index < limit; index++) {
    const byte = bytes[index]
    if (index < OPENING.length) {
      if (byte !== OPENING.charCodeAt(index)) return invalid('it does not start with "PROXY "')
    } else if (bytes[index - 1] === CR) {
      if (byte !== LF) return invalid('a CR stands without LF')
      return decodeLine(Buffer.from(bytes.subarray(0, index - 1)).toString('latin1'), index + 1)
    } else if (byte === LF) {
      return invalid('a LF stands without CR')
    }
  }
  return limit === MAX_V1_LINE_BYTES ? invalid(`no line end within ${MAX_V1_LINE_BYTES} bytes`) : { state: 'incomplete' }
}

function decodeLine(line: string, headerBytes: number): V1 {
  const fields = line.split(' ')
  const addresses = fields[1] === 'UNKNOWN' ? ({ family: 'unspecified' } as const) : decodeFields(fields)
  if (typeof addresses === 'string') return invalid(addresses)
  return { state: 'done', header: { version: 1, addresses }, headerBytes }
}

function decodeFields(fields: readonly string[]): ProxyAddresses | string {
  const [, protocol = '', ...rest] = fields
  if (protocol !== 'TCP4' && protocol !== 'TCP6') return 'the protocol is TCP4, TCP6 or UNKNOWN'
  if (rest.length !== 4) return 'after the protocol come two addresses and two ports, one space before each'
  const [sourceText = '', destinationText = '', sourcePort = '', destinationPort = ''] = rest
  const parse = protocol === 'TCP4' ? parseIpv4 : parseUnmapped
  const source = endpoint(parse(sourceText), parsePort(sourcePort))
  const destination = endpoint(parse(destinationText), parsePort(destinationPort))
  if (source === null || destination === null) return `an address or a port is not one of ${protocol}`
  return { family: protocol === 'TCP4' ? 'ipv4' : 'ipv6', transport: 'stream', source, destination }
}

function endpoint(ip: Uint8Array | null, port: number | null): Endpoint | null {
  return ip === null || port === null ? null : { ip, port }
}

function parsePort(text: string): number | null {
  const port = /^(0|[1-9][0-9]{0,4})$/.test(text) ? Number(text) : -1
  return port >= 0 && port <= 0xffff ? port : null
}

function parseIpv4(text: string): Uint8Array | null {
  const parts = text.split('.')
  const sound = parts.length === 4 && parts.every((part) => /^(0|[1-9][0-9]{0,2})$/.test(part) && Number(part) <= 255)
  return sound ? Uint8Array.from(parts, Number) : null
}

function parseUnmapped(text: string): Uint8Array | null {
  if (!isIpv6Text(text)) return null
  const ip = parseIpv6(text)
  return isMapped(ip) ? null : ip
}

/** ::ffff:0:0/96 */
export function isMapped(ip: Uint8Array): boolean {
  return ip[10] === 0xff && ip[11] === 0xff && ip.subarray(0, 10).every((byte) => byte === 0)
}
