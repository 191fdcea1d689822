/**
 * Addresses as Node's sockets print them -> SocketAddress. Pure.
 *
 * Node prints IPv4 peers as dotted quads (`::ffff:` before them on a dual-stack socket) and link-local ones with a zone.
 * Both are legal there and nowhere else in this program (lib/address.ts refuses them), so they are undone here.
 */
import type { Ipv6 } from '../address.ts'
import { ipv6FromBytes, isIpv6Text, parseIpv6 } from '../address.ts'
import type { SocketAddress } from './plane.ts'

/** null when the socket is gone already or has no such address (Unix). */
export function socketAddress(text: string | undefined, port: number | undefined): SocketAddress | null {
  if (text === undefined || port === undefined) return null
  const ip = parse(text.split('%', 1)[0] ?? '')
  return ip && { ip, port }
}

function parse(text: string): Ipv6 | null {
  if (isIpv6Text(text)) return parseIpv6(text)
  const quad = /^(?:::ffff:)?(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/i.exec(text)
  if (!quad) return null
  const bytes = new Uint8Array(16)
  bytes.set([0xff, 0xff, ...quad.slice(1).map(Number)], 10)
  return ipv6FromBytes(bytes)
}
