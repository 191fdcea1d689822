/** An IPv6 prefix, `address/length`, as routing tables print it: parsed, and asked what it contains. Pure. */
import { isIpv6Text, parseIpv6 } from '../../lib/address.ts'
import type { Ipv6 } from '../../lib/address.ts'

export interface Cidr {
  readonly address: Ipv6
  /** 0 .. 128 */
  readonly length: number
}

/** A bare address is a /128. null for anything else. */
export function parseCidr(text: string): Cidr | null {
  const [address = '', length = '128', ...rest] = text.split('/')
  if (rest.length > 0 || !isIpv6Text(address) || !/^\d{1,3}$/.test(length) || Number(length) > 128) return null
  return { address: parseIpv6(address), length: Number(length) }
}

export function contains(outer: Cidr, inner: Cidr): boolean {
  if (inner.length < outer.length) return false
  for (let bit = 0; bit < outer.length; bit += 8) {
    const mask = outer.length - bit >= 8 ? 0xff : (0xff << (8 - (outer.length - bit))) & 0xff
    if (((outer.address[bit / 8] ?? 0) & mask) !== ((inner.address[bit / 8] ?? 0) & mask)) return false
  }
  return true
}
