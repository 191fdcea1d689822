/**
 * An IP prefix as WireGuard's AllowedIPs write it: `192.0.2.0/24`, `fdaa:0:1::/48`, or an address alone. IPv4 has 4 bytes
 * and IPv6 16; the bits behind the length are zero. Pure.
 */
import { formatIpv6, ipv6FromBytes, isIpv6Text, parseIpv6 } from '../address.ts'
import { NearcastError } from '../errors.ts'

export interface Prefix {
  /** Treat as immutable. */
  readonly address: Uint8Array
  /** 0 .. 32 or 128. */
  readonly bits: number
}

/** @throws NearcastError address.invalid */
export function parsePrefix(text: string): Prefix {
  const [host = '', length, ...rest] = text.split('/')
  const address = addressOf(host)
  const limit = (address?.length ?? 0) * 8
  const bits = length === undefined ? limit : /^\d{1,3}$/.test(length) ? Number(length) : Number.NaN
  if (address === null || rest.length > 0 || !(bits <= limit)) {
    throw new NearcastError('address.invalid', `"${text.slice(0, 64)}" is not an IP prefix; write 192.0.2.0/24 or 2001:db8::/32.`, { side: 'client' })
  }
  return { address: address.map((byte, index) => byte & maskOf(bits - 8 * index)), bits }
}

export function formatPrefix({ address, bits }: Prefix): string {
  return `${address.length === 4 ? address.join('.') : formatIpv6(ipv6FromBytes(address))}/${bits}`
}

function addressOf(text: string): Uint8Array | null {
  if (isIpv6Text(text)) return parseIpv6(text)
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1).map(Number)
  return parts?.every((part) => part <= 255) === true ? Uint8Array.from(parts) : null
}

function maskOf(bits: number): number {
  return bits >= 8 ? 0xff : bits <= 0 ? 0 : (0xff << (8 - bits)) & 0xff
}
