/**
 * struct sockaddr_in and sockaddr_in6 as bytes, both ways. Pure. Linux layout (no length member), host order = little
 * endian for the family; every platform that the pinned Node runs on is little endian.
 */
import { NearcastError } from '../errors.ts'
import { formatIpv6, ipv6FromBytes, isIpv6Text, parseIpv6 } from '../address.ts'

export const AF_INET = 2
export const AF_INET6 = 10

/** `host` is an IPv4 or IPv6 address, never a name. @throws NearcastError address.invalid */
export function encodeSocketAddress(host: string, port: number): { readonly family: number; readonly bytes: Uint8Array } {
  if (isIpv6Text(host)) {
    const bytes = Buffer.alloc(28)
    bytes.writeUInt16LE(AF_INET6, 0)
    bytes.writeUInt16BE(port, 2)
    bytes.set(parseIpv6(host), 8)
    return { family: AF_INET6, bytes }
  }
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(host)?.slice(1).map(Number)
  if (parts === undefined || parts.some((part) => part > 255)) {
    throw new NearcastError('address.invalid', `"${host.slice(0, 64)}" is neither an IPv4 nor an IPv6 address.`)
  }
  const bytes = Buffer.alloc(16)
  bytes.writeUInt16LE(AF_INET, 0)
  bytes.writeUInt16BE(port, 2)
  bytes.set(parts, 4)
  return { family: AF_INET, bytes }
}

export function decodeSocketAddress(bytes: Uint8Array): { readonly host: string; readonly port: number } {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const port = view.readUInt16BE(2)
  if (view.readUInt16LE(0) === AF_INET6) return { host: formatIpv6(ipv6FromBytes(view.subarray(8, 24))), port }
  return { host: view.subarray(4, 8).join('.'), port }
}
