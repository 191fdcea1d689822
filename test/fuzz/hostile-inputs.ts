/**
 * Hostile inputs for decoders of PROXY headers and hop openings: sound headers, damaged in the ways that have broken
 * others (cut, flipped, lengths lied about, spliced), and noise behind a sound signature.
 */
import { ipv6FromBytes } from '../../lib/address.ts'
import { encodeConnection, encodeProbe, encodeSession } from '../../lib/hop/header.ts'
import { SIGNATURE, TLV } from '../../lib/proxy-protocol/constants.ts'
import { encodeV1, encodeV2 } from '../../lib/proxy-protocol/encode.ts'
import type { EncodeV2 } from '../../lib/proxy-protocol/encode.ts'
import { randomAddresses, randomV2 } from '../support/proxy-headers.ts'
import type { SslInfo } from '../../lib/proxy-protocol/tlv.ts'
import type { Random } from '../support/random.ts'

const V1_OPENING = Buffer.from('PROXY TCP')

function soundHeader(random: Random): Uint8Array {
  switch (random.below(5)) {
    case 0: {
      const addresses = randomAddresses(random, ['ipv4', 'ipv6', 'unspecified'])
      return encodeV1(addresses.family === 'unspecified' ? addresses : { ...addresses, transport: 'stream' })
    }
    case 1:
      return random.below(2) === 0 ? encodeSession('proxy/mad-1', 'gru-1') : encodeProbe('agent/ams-1', 'mad-1')
    case 2: {
      const end = () => ({ ip: ipv6FromBytes(random.bytes(16)), port: random.below(65536) })
      const names = { dialer: 'proxy/mad-1', agent: 'gru-1', service: 'cache' } as const
      const numbers = { generation: random.below(100), epoch: 1, worker: random.below(4), counter: BigInt(random.below(1000)) }
      const connection = { purpose: 'client', ...names, ...numbers, session: random.bytes(16), source: end(), destination: end() } as const
      return encodeConnection(connection, random.bytes(32))
    }
    default:
      return encodeV2(randomV2(random))
  }
}

export function damaged(random: Random): Uint8Array {
  const sound = Buffer.from(soundHeader(random))
  switch (random.below(10)) {
    case 0:
      return sound
    case 7:
      return wordsOfV1(random)
    case 8:
      return oddTlvs(random)
    case 1:
      return sound.subarray(0, random.below(sound.length))
    case 2:
      return Buffer.concat([sound, soundHeader(random)])
    case 3: {
      sound[random.below(sound.length)] = random.below(256)
      return sound
    }
    case 4: {
      // Behind the opening, so that most of these reach the deeper checks.
      for (let flips = 1 + random.below(4); flips > 0; flips--) {
        const index = Math.min(sound.length - 1, 12 + random.below(Math.max(1, sound.length - 12)))
        sound[index] = (sound[index] ?? 0) ^ (1 << random.below(8))
      }
      return sound
    }
    case 5: {
      if (sound.length > 16) sound.writeUInt16BE(random.below(3) === 0 ? random.below(65536) : random.below(300), 14)
      return Buffer.concat([sound, random.bytes(random.below(64))])
    }
    case 6: {
      const head = Buffer.concat([SIGNATURE, random.bytes(4)])
      head[12] = 0x20 | random.below(2)
      head[13] = random.pick([0x00, 0x11, 0x21, 0x31, 0x22, 0x41])
      head.writeUInt16BE(random.below(128), 14)
      return Buffer.concat([head, random.bytes(random.below(160))])
    }
    default:
      return random.below(2) === 0 ? random.bytes(random.below(64)) : Buffer.concat([V1_OPENING, random.bytes(random.below(120))])
  }
}

const WORDS = {
  protocol: ['TCP4', 'TCP6', 'UNKNOWN', 'TCP5', 'tcp4', ''],
  address: ['192.0.2.1', '255.255.255.255', '1.2.3', '1.2.3.04', '1.2.3.256', '::', '2001:db8::1', 'FDAA:0:1:0:1::2', '1::2::3', '::ffff:1.2.3.4', '::ffff:102:304', 'fe80::1%eth0', '1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8:9', '12345::', ''],
  port: ['0', '1', '65535', '65536', '01', '-1', '1e3', '+1', '99999', ''],
  end: ['\r\n', '\r\n', '\r\n', '\r\nPING\r\n', '\n', '\r', '\r\r\n', '', ' \r\n'],
  space: [' ', ' ', ' ', ' ', ' ', ' ', ' ', '  ', '\t', '\0'],
} as const

/** A line of words that are right, nearly right or wrong. */
function wordsOfV1(random: Random): Uint8Array {
  const word = (kind: keyof typeof WORDS): string => random.pick<string>(WORDS[kind])
  const kind = random.below(3)
  const protocol = kind === 0 ? 'TCP4' : kind === 1 ? 'TCP6' : word('protocol')
  const address = (): string => (random.below(2) === 0 ? word('address') : protocol === 'TCP4' ? '192.0.2.7' : '2001:db8::7')
  const port = (): string => (random.below(2) === 0 ? word('port') : String(random.below(65_536)))
  const words = ['PROXY', protocol, address(), address(), port(), port(), ...(random.below(16) === 0 ? ['more'] : [])]
  return Buffer.from(words.slice(0, random.below(16) === 0 ? random.below(6) : 7).join(word('space')) + word('end'), 'latin1')
}

/** A header whose TLVs are whole, and each for itself may be what no header should hold: written without the encoder. */
function oddTlvs(random: Random): Uint8Array {
  const sound = encodeV2({ ...randomV2(random), crc32c: random.below(2) === 0 })
  const tlvs = Array.from({ length: 1 + random.below(2) }, () => {
    const length = random.pick([0, 1, 3, 4, 4, 5, 8, 12, 128, 129])
    return [random.pick([TLV.crc32c, TLV.uniqueId, TLV.ssl, TLV.noop]), 0, length, ...random.bytes(length)]
  })
  const bytes = Buffer.concat([sound, Uint8Array.from(tlvs.flat())])
  bytes.writeUInt16BE(bytes.length - 16, 14)
  return bytes
}

/** What a program might ask of the SSL TLV. */
export function randomSsl(random: Random): SslInfo {
  const length = random.below(300) === 0 ? random.pick([65_527, 65_528, 65_536]) : random.below(40)
  const odd = random.below(4) === 0
  return {
    client: odd ? random.pick([-1, 256, 1.5]) : random.below(256),
    verify: random.below(4) === 0 ? random.pick([-1, 2 ** 32, 0.5]) : random.below(2 ** 32),
    tlvs: [{ type: random.below(260), value: new Uint8Array(length) }],
  }
}

/** What a program might ask of the encoder: mostly sound, else out of range in one place. */
export function randomDemand(random: Random): EncodeV2 {
  const sound = randomV2(random)
  const { addresses } = sound
  const tlv = (type: number, length: number): EncodeV2 => ({ ...sound, tlvs: [{ type, value: new Uint8Array(length) }] })
  switch (random.below(12)) {
    case 0:
      return tlv(random.pick([-1, 256, 1.5, Number.NaN, 0xe0]), 1)
    case 1:
      return tlv(random.pick([TLV.crc32c, TLV.uniqueId, TLV.ssl, random.below(256)]), random.pick([0, 1, 4, 5, 128, 129, 300]))
    case 2:
      return random.below(200) === 0 ? tlv(0xe0, random.pick([65_316, 65_532, 65_533, 65_535, 65_536, 70_000])) : sound
    case 3:
      return { command: 'local', addresses }
    case 4: {
      if (addresses.family !== 'ipv4' && addresses.family !== 'ipv6') return sound
      const port = random.pick([-1, 65_536, 1.5, Number.NaN, 0, 65_535])
      return { ...sound, addresses: { ...addresses, source: { ...addresses.source, port } } }
    }
    case 6: {
      const mapped = { ip: Buffer.from('00000000000000000000ffffc0000207', 'hex'), port: 1 }
      return addresses.family === 'ipv6' ? { ...sound, addresses: { ...addresses, transport: 'stream', source: mapped } } : sound
    }
    case 5:
      if (addresses.family === 'unix') return { ...sound, addresses: { ...addresses, source: random.bytes(random.below(120)) } }
      if (addresses.family === 'unspecified') return sound
      return { ...sound, addresses: { ...addresses, destination: { ...addresses.destination, ip: random.bytes(random.pick([0, 3, 4, 5, 15, 16, 17])) } } }
    default:
      return sound
  }
}

/** Noise that fails at its first byte proves nothing: these are past it. */
export function isPastSignature(bytes: Uint8Array): boolean {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  return buffer.subarray(0, 12).equals(SIGNATURE) || buffer.subarray(0, 6).equals(V1_OPENING.subarray(0, 6))
}
