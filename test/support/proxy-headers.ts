/** Random PROXY headers, sound ones: the ground for round trips, fuzzing and comparison with other implementations. */
import { TLV, TLV_SSL } from '../../lib/proxy-protocol/constants.ts'
import type { EncodeV2 } from '../../lib/proxy-protocol/encode.ts'
import type { ProxyAddresses, Tlv } from '../../lib/proxy-protocol/header.ts'
import { encodeSsl } from '../../lib/proxy-protocol/tlv.ts'
import type { Random } from './random.ts'

export function randomAddresses(random: Random, families: readonly ['ipv4' | 'ipv6' | 'unix' | 'unspecified', ...string[]]): ProxyAddresses {
  const family = random.pick(families as ['ipv4' | 'ipv6' | 'unix' | 'unspecified'])
  if (family === 'unspecified') return { family }
  const transport = random.pick(['stream', 'datagram'])
  if (family === 'unix') return { family, transport, source: random.bytes(108), destination: random.bytes(108) }
  const length = family === 'ipv4' ? 4 : 16
  const endpoint = () => ({ ip: random.bytes(length), port: random.below(65536) })
  return { family, transport, source: endpoint(), destination: endpoint() }
}

export function randomTlvs(random: Random): Tlv[] {
  return Array.from({ length: random.below(5) }, () => {
    const type = random.pick([TLV.alpn, TLV.authority, TLV.noop, TLV.uniqueId, TLV.ssl, TLV.netns, 0xe0, 0xe7, 0xea, 0xee, 0xf0])
    if (type !== TLV.ssl) return { type, value: random.bytes(random.below(40)) }
    const tlvs = [TLV_SSL.version, TLV_SSL.commonName].slice(random.below(3)).map((sub) => ({ type: sub, value: random.bytes(random.below(12)) }))
    return { type, value: encodeSsl({ client: random.below(8), verify: random.below(2 ** 32), tlvs }) }
  })
}

export function randomV2(random: Random): EncodeV2 {
  const command = random.below(5) === 0 ? 'local' : 'proxy'
  return {
    command,
    addresses: command === 'local' ? { family: 'unspecified' } : randomAddresses(random, ['ipv6', 'ipv6', 'ipv4', 'unix', 'unspecified']),
    tlvs: randomTlvs(random),
    crc32c: random.below(3) === 0,
  }
}
