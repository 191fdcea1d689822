/** Version 2, section 2.2. Sound headers come from our encoder, others are bent by hand. Pure. */
import { TLV, TLV_SSL } from '../../lib/proxy-protocol/constants.ts'
import type { EncodeV2 } from '../../lib/proxy-protocol/encode.ts'
import { encodeV2 } from '../../lib/proxy-protocol/encode.ts'
import type { ProxyAddresses, Tlv } from '../../lib/proxy-protocol/header.ts'
import { encodeSsl } from '../../lib/proxy-protocol/tlv.ts'
import type { CheckCase } from './case.ts'
import { apart, halves, only, singleBytes, text, together } from './case.ts'

const ipv4: ProxyAddresses = {
  family: 'ipv4',
  transport: 'stream',
  source: { ip: Uint8Array.of(192, 0, 2, 7), port: 40_001 },
  destination: { ip: Uint8Array.of(192, 0, 2, 8), port: 6379 },
}
const documentation = (last: number): Uint8Array => Uint8Array.of(0x20, 0x01, 0x0d, 0xb8, ...Array<number>(11).fill(0), last)
const ipv6: ProxyAddresses = { family: 'ipv6', transport: 'stream', source: { ip: documentation(7), port: 40_001 }, destination: { ip: documentation(8), port: 6379 } }
const unix: ProxyAddresses = { family: 'unix', transport: 'stream', source: text('/run/client.sock'), destination: text('/run/server.sock') }
const unspecified: ProxyAddresses = { family: 'unspecified' }

function proxied(addresses: ProxyAddresses, rest: Omit<EncodeV2, 'command' | 'addresses'> = {}): Uint8Array {
  return encodeV2({ command: 'proxy', addresses, ...rest })
}

function withTlvs(...tlvs: readonly Tlv[]): Uint8Array {
  return proxied(ipv4, { tlvs })
}

/** `bytes` with some of them replaced: offset -> byte. */
function bent(bytes: Uint8Array, changes: Readonly<Record<number, number>>): Uint8Array {
  return Uint8Array.from(bytes, (byte, index) => changes[index] ?? byte)
}

/** LOCAL that says nothing but what stands in its fixed 16 bytes, and a block. */
function local(shape: number, block: Uint8Array = new Uint8Array(0)): Uint8Array {
  const fixed = bent(encodeV2({ command: 'local', addresses: unspecified }), { 13: shape, 14: block.length >> 8, 15: block.length & 0xff })
  return Buffer.concat([fixed, block])
}

/** A header as long as there can be, of bytes that end a text protocol's connection should they reach it. */
function longest(): Uint8Array {
  const value = Buffer.alloc(0xffff - 12 - 3, '\r\nQUIT\r\n')
  return withTlvs({ type: TLV.noop, value })
}

const TCP4 = proxied(ipv4)
const TCP6 = proxied(ipv6)
const WAIT = 'Keep what came and wait for the rest: TCP may cut anywhere.'
const SKIP = 'Skip as many bytes as the length says, whatever they hold.'
const LOCAL = 'Accept LOCAL, skip its block by the length, use the real end points. Health checks are LOCAL.'
const BINARY = 'Read each TLV by its length and treat its value as bytes: neither text nor free of NUL.'
const FALL_BACK = 'Accept it and use the real end points, or abort: nothing else.'
const ssl = encodeSsl({ client: 1, verify: 0, tlvs: [{ type: TLV_SSL.version, value: text('TLSv1.3') }] })

/** One of each plain kind, short: some receivers take 107 bytes in all. */
const SMALL_TLVS: readonly Tlv[] = [
  { type: TLV.alpn, value: text('h2') },
  { type: TLV.authority, value: text('db.example') },
  { type: TLV.uniqueId, value: text('1') },
  { type: TLV.netns, value: text('ns') },
  { type: 0xe0, value: text('x') },
]

type Row = Omit<CheckCase, 'version' | 'section'> & { readonly section?: string }

const rows: readonly Row[] = [
  {
    id: 'v2-tcp4', title: 'TCP over IPv4', demand: 'accept',
    parts: together(TCP4),
    todo: 'Read 16 bytes, then as many as the length says; what follows is payload.',
  },
  {
    id: 'v2-tcp6', title: 'TCP over IPv6', demand: 'accept',
    parts: together(TCP6),
    todo: 'Read IPv6 addresses also where IPv6 is off.', known: 'CVE-2024-23325',
  },
  {
    id: 'v2-local', title: 'LOCAL', demand: 'accept',
    parts: together(local(0x00)),
    todo: LOCAL,
  },
  {
    id: 'v2-local-family', title: 'LOCAL that names a family and has no addresses', demand: 'accept',
    parts: together(local(0x21)),
    todo: LOCAL, known: 'CVE-2024-23327',
  },
  {
    id: 'v2-local-addresses', title: 'LOCAL with addresses', demand: 'accept',
    parts: together(local(0x21, TCP6.subarray(16))),
    todo: LOCAL,
  },
  {
    id: 'v2-local-unknown', title: 'LOCAL of an unknown family', demand: 'accept',
    parts: together(local(0xf7, Uint8Array.of(255, 255, 255))),
    todo: LOCAL,
  },
  {
    id: 'v2-unspecified', title: 'PROXY of an unspecified family', demand: 'may-accept',
    parts: together(proxied(unspecified)),
    todo: FALL_BACK,
  },
  {
    id: 'v2-unix', title: 'Unix sockets', demand: 'may-accept',
    parts: together(proxied(unix)),
    todo: FALL_BACK,
  },
  {
    id: 'v2-datagram', title: 'UDP over IPv4', demand: 'may-accept',
    parts: together(proxied({ ...ipv4, transport: 'datagram' })),
    todo: FALL_BACK,
  },
  {
    id: 'v2-tlvs', title: 'TLVs: ALPN, authority, unique id, namespace, custom', demand: 'accept',
    parts: together(withTlvs(...SMALL_TLVS)),
    todo: SKIP,
  },
  {
    id: 'v2-empty-tlvs', title: 'empty TLVs', demand: 'accept', section: '2.2.4',
    parts: together(withTlvs({ type: TLV.noop, value: text('') }, { type: 0xea, value: text('') }, { type: TLV.noop, value: text('') })),
    todo: "Move on by the three bytes of a TLV's head at least: a length of zero is legal.", known: 'haproxy #3482',
  },
  {
    id: 'v2-binary-tlv', title: 'a TLV with NUL', demand: 'accept',
    parts: together(withTlvs({ type: 0xea, value: Uint8Array.of(97, 0, 98, 0) })),
    todo: BINARY, known: 'haproxy #3489',
  },
  {
    id: 'v2-not-utf8', title: 'an authority that is not UTF-8', demand: 'may-accept', section: '2.2.2',
    parts: together(withTlvs({ type: TLV.authority, value: Uint8Array.of(0xff, 0xfe, 0xc3, 0x28) })),
    todo: BINARY, known: 'CVE-2024-23324',
  },
  {
    id: 'v2-ssl', title: 'the SSL TLV with a sub-TLV', demand: 'accept', section: '2.2.6',
    parts: together(withTlvs({ type: TLV.ssl, value: ssl })),
    todo: SKIP,
  },
  {
    id: 'v2-crc', title: 'a right checksum', demand: 'accept', section: '2.2.3',
    parts: together(proxied(ipv4, { crc32c: true })),
    todo: 'Compute CRC32C over the whole header, TLVs included, with the four bytes of the checksum zeroed.',
  },
  {
    id: 'v2-crc-wrong', title: 'a wrong checksum', demand: 'may-refuse', section: '2.2.3',
    parts: together(bent(proxied(ipv4, { crc32c: true }), { 19: 9 })),
    todo: 'Verify the checksum, and abort when it does not match.',
  },
  {
    id: 'v2-536', title: 'a header of 536 bytes, the smallest segment', demand: 'may-accept', section: '2',
    parts: together(withTlvs({ type: TLV.noop, value: new Uint8Array(536 - 28 - 3) })),
    todo: 'Accept headers of at least 536 bytes, or abort.',
  },
  {
    id: 'v2-longest', title: 'the longest header, 65551 bytes', demand: 'may-accept',
    parts: together(longest()),
    todo: 'Accept it, or abort at once because of its length. No byte of it may reach the application.', known: 'CVE-2026-47692',
  },
  {
    id: 'v2-apart', title: 'header and payload in two segments', demand: 'accept', section: '2',
    parts: apart(TCP4),
    todo: 'Go on reading behind the header.',
  },
  {
    id: 'v2-single-bytes', title: 'the header in single bytes', demand: 'may-accept', section: '2',
    parts: singleBytes(TCP4),
    todo: WAIT,
  },
  {
    id: 'v2-cut-16', title: 'cut behind the fixed 16 bytes', demand: 'may-accept', section: '2',
    parts: halves(TCP4, 16),
    todo: WAIT,
  },
  {
    id: 'v2-late', title: 'the second half 2.5 s later', demand: 'may-accept', section: '2',
    parts: halves(TCP4, 14, 2500),
    todo: 'Wait at least 3 s for the header: one lost packet takes that long.', known: 'go-proxyproto #84', slow: true,
  },
  {
    id: 'v2-idle', title: 'header, 6 s of silence, payload', demand: 'may-accept', section: '2',
    parts: apart(TCP4, 6000),
    todo: 'Clear the time limit for the header once the header is in.', known: 'go-proxyproto #75', slow: true,
  },
  {
    id: 'v2-second', title: 'a second header behind the first is payload', demand: 'payload', section: '2',
    parts: (payload) => [Buffer.concat([local(0x00), TCP4, payload])],
    todo: 'Read exactly one header: a client could replace its own address with a second one.',
  },
  {
    id: 'v2-half', title: 'half a header: the application says nothing', demand: 'withhold', section: '2',
    parts: only(TCP4.subarray(0, 20)),
    todo: 'Start the application only when the header is whole, also where the server speaks first.',
  },
  {
    id: 'v2-cut-off', title: 'half a header, then the end', demand: 'withhold', section: '2.2',
    parts: only(TCP4.subarray(0, 20), 'end'),
    todo: 'Abort when the connection ends inside the header.',
  },
  {
    id: 'v2-signature', title: 'a wrong signature', demand: 'refuse',
    parts: together(bent(TCP4, { 11: 0x0b })),
    todo: 'Compare all 12 bytes.',
  },
  {
    id: 'v2-version-1', title: 'version 1 in the binary format', demand: 'refuse',
    parts: together(bent(TCP4, { 12: 0x11 })),
    todo: 'Accept version 2 only.',
  },
  {
    id: 'v2-version-3', title: 'version 3', demand: 'refuse',
    parts: together(bent(TCP4, { 12: 0x31 })),
    todo: 'Accept version 2 only.',
  },
  {
    id: 'v2-command', title: 'command 2', demand: 'may-refuse',
    parts: together(bent(TCP4, { 12: 0x22 })),
    todo: 'Drop commands other than LOCAL and PROXY.',
  },
  {
    id: 'v2-family', title: 'family 4', demand: 'may-refuse',
    parts: together(bent(TCP4, { 13: 0x41 })),
    todo: 'Refuse families that the specification does not know.',
  },
  {
    id: 'v2-transport', title: 'transport 3', demand: 'may-refuse',
    parts: together(bent(TCP4, { 13: 0x13 })),
    todo: 'Refuse transports that the specification does not know.',
  },
  {
    id: 'v2-short', title: 'a length too short for IPv4 addresses', demand: 'refuse',
    parts: together(bent(TCP4, { 15: 4 }).subarray(0, 20)),
    todo: 'Compare the length with what the family needs before reading an address.',
  },
  {
    id: 'v2-short-tcp6', title: 'a length too short for IPv6 addresses', demand: 'refuse',
    parts: together(bent(TCP6, { 15: 12 }).subarray(0, 28)),
    todo: 'Compare the length with what the family needs before reading an address.',
  },
  {
    id: 'v2-tlv-long', title: 'a TLV longer than the header', demand: 'may-refuse',
    parts: together(bent(withTlvs({ type: 0xea, value: text('ab') }), { 30: 200 })),
    todo: 'Check each TLV against the length of the header, or skip them all.',
  },
  {
    id: 'v2-tlv-torn', title: 'a TLV cut in its head', demand: 'may-refuse',
    parts: together(bent(Buffer.concat([TCP4, Uint8Array.of(0xea, 0)]), { 15: 14 })),
    todo: 'Check each TLV against the length of the header, or skip them all.',
  },
]

export const casesV2: readonly CheckCase[] = rows.map((row) => ({ section: '2.2', ...row, version: 2 }))
