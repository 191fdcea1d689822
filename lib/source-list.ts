/**
 * Which sources may connect: addresses and subnets, IPv4 and IPv6. What an entry is, and whether one holds an address.
 * Pure. A source is always 16 bytes; IPv4 stands in it mapped (::ffff:a.b.c.d), as PROXY headers of TCP6 carry it.
 */
import { BlockList, isIP } from 'node:net'
import type { Ipv6 } from './address.ts'
import { formatIpv6 } from './address.ts'

export const MAX_SOURCES = 64

const MAPPED = Buffer.from('00000000000000000000ffff', 'hex')

export class SourceList {
  readonly #sources = new BlockList()

  /** `entries`: those that `parseSource` accepts; others allow nothing. */
  constructor(entries: readonly string[]) {
    for (const entry of entries) {
      const parsed = parseSource(entry)
      if (parsed !== null) this.#sources.addSubnet(parsed.address, parsed.bits, parsed.family)
    }
  }

  holds(source: Ipv6): boolean {
    return this.#sources.check(sourceText(source), isMapped(source) ? 'ipv4' : 'ipv6')
  }
}

/** As its owner would write it. */
export function sourceText(source: Ipv6): string {
  return isMapped(source) ? source.subarray(12).join('.') : formatIpv6(source)
}

function isMapped(source: Ipv6): boolean {
  return MAPPED.equals(source.subarray(0, 12))
}

/** `10.0.0.0/8`, `192.0.2.7`, `fdaa:0:1::/48`; null for what is neither an address nor a subnet. */
export function parseSource(text: string): { readonly address: string; readonly bits: number; readonly family: 'ipv4' | 'ipv6' } | null {
  const [, address = '', digits] = /^([0-9a-fA-F:.]{2,45})(?:\/(\d{1,3}))?$/.exec(text) ?? []
  const family = isIP(address)
  if (family === 0) return null
  const width = family === 6 ? 128 : 32
  const bits = digits === undefined ? width : Number(digits)
  return bits > width ? null : { address, bits, family: family === 6 ? 'ipv6' : 'ipv4' }
}
