/**
 * Bytes and what they mean: the specification's own shapes, and every way in which a known implementation failed.
 * `hex` may hold spaces; `text` is latin1. `headerBytes` omitted means all of it.
 */
export interface Vector {
  readonly name: string
  readonly hex?: string
  readonly text?: string
  /** `done` unless given. */
  readonly state?: 'incomplete' | 'invalid'
  readonly reason?: RegExp
  readonly headerBytes?: number
  readonly header?: unknown
}

const SIG = '0d0a0d0a000d0a515549540a'
const IPV6_BLOCK = 'fdaa000047fb00000001000000000019 fdaa000047fb00000001000000000016 18eb 18eb'
const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
const unspecified = { family: 'unspecified' }
const flycast = {
  family: 'ipv6',
  transport: 'stream',
  source: { ip: bytes('fdaa000047fb00000001000000000019'), port: 6379 },
  destination: { ip: bytes('fdaa000047fb00000001000000000016'), port: 6379 },
}
const ipv4 = {
  family: 'ipv4',
  transport: 'stream',
  source: { ip: bytes('c0a80001'), port: 56324 },
  destination: { ip: bytes('c0a8000b'), port: 443 },
}
const proxyV2 = (tlvs: readonly unknown[]): unknown => ({ version: 2, command: 'proxy', addresses: flycast, tlvs })
const local = (tlvs: readonly unknown[] = []): unknown => ({ version: 2, command: 'local', addresses: unspecified, tlvs })

const v1: readonly Vector[] = [
  {
    name: 'v1: a Flycast address',
    text: 'PROXY TCP6 fdaa:0:47fb:0:1::19 fdaa:0:47fb:0:1::16 6379 6379\r\n',
    header: { version: 1, addresses: flycast },
  },
  { name: 'v1: the example of the specification', text: 'PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n', header: { version: 1, addresses: ipv4 } },
  { name: 'v1: upper case hex is the same address', text: 'PROXY TCP6 FDAA:0:47FB:0:1::19 fdaa:0:47fb:0:1:0:0:16 6379 6379\r\n', header: { version: 1, addresses: flycast } },
  { name: 'v1: UNKNOWN', text: 'PROXY UNKNOWN\r\n', header: { version: 1, addresses: unspecified } },
  {
    name: 'v1: the longest line, UNKNOWN with two full addresses (107 bytes)',
    text: `PROXY UNKNOWN ${'ffff:'.repeat(7)}ffff ${'ffff:'.repeat(7)}ffff 65535 65535\r\n`,
    headerBytes: 107,
    header: { version: 1, addresses: unspecified },
  },
  { name: 'v1: UNKNOWN ignores whatever follows', text: 'PROXY UNKNOWN fe80::1%eth0 \x00\xff rest\r\n', header: { version: 1, addresses: unspecified } },
  { name: 'v1: payload behind the line stays', text: 'PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nPING\r\n', headerBytes: 47, header: { version: 1, addresses: ipv4 } },
  {
    name: 'v1: a second header is payload',
    text: 'PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nPROXY TCP4 9.9.9.9 9.9.9.9 1 1\r\n',
    headerBytes: 47,
    header: { version: 1, addresses: ipv4 },
  },
  { name: 'v1: nothing yet', text: '', state: 'incomplete' },
  { name: 'v1: half a line', text: 'PROXY TCP6 fdaa:0:47fb', state: 'incomplete' },
  { name: 'v1: CR without its LF yet', text: 'PROXY UNKNOWN\r', state: 'incomplete' },
  { name: 'v1: 108 bytes', text: `PROXY UNKNOWN ${'x'.repeat(92)}\r\n`, state: 'invalid', reason: /no line end within 107/ },
  { name: 'v1: no end in 107 bytes', text: `PROXY UNKNOWN ${'x'.repeat(93)}`, state: 'invalid', reason: /no line end within 107/ },
  { name: 'v1: something else', text: 'GET / HTTP/1.1\r\n', state: 'invalid', reason: /PROXY/ },
  { name: 'v1: lower case', text: 'proxy UNKNOWN\r\n', state: 'invalid', reason: /PROXY/ },
  { name: 'v1: bare LF', text: 'PROXY UNKNOWN\n', state: 'invalid', reason: /LF stands without CR/ },
  { name: 'v1: bare CR', text: 'PROXY UNKNOWN\rx', state: 'invalid', reason: /CR stands without LF/ },
  { name: 'v1: UNKNOWN must end or be followed by a space', text: 'PROXY UNKNOWNS\r\n', state: 'invalid' },
  { name: 'v1: unknown protocol', text: 'PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n', state: 'invalid', reason: /protocol/ },
  { name: 'v1: two spaces', text: 'PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n', state: 'invalid' },
  { name: 'v1: a space at the end', text: 'PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n', state: 'invalid' },
  { name: 'v1: a port too few', text: 'PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n', state: 'invalid' },
  { name: 'v1: a leading zero in a port', text: 'PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n', state: 'invalid' },
  { name: 'v1: a leading zero in an address (octal)', text: 'PROXY TCP4 1.2.3.010 1.2.3.4 1 1\r\n', state: 'invalid' },
  { name: 'v1: port 65536', text: 'PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n', state: 'invalid' },
  { name: 'v1: a negative port', text: 'PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n', state: 'invalid' },
  { name: 'v1: 256 in an address', text: 'PROXY TCP4 1.2.3.256 1.2.3.4 1 1\r\n', state: 'invalid' },
  { name: 'v1: a short IPv4 address', text: 'PROXY TCP4 1.2.3 1.2.3.4 1 1\r\n', state: 'invalid' },
  { name: 'v1: families crossed', text: 'PROXY TCP4 ::1 ::1 1 1\r\n', state: 'invalid' },
  { name: 'v1: scoped IPv6 (CVE-2026-26310)', text: 'PROXY TCP6 fe80::1%eth0 fdaa::1 1 1\r\n', state: 'invalid' },
  { name: 'v1: a dotted quad in TCP6', text: 'PROXY TCP6 ::1.2.3.4 fdaa::1 1 1\r\n', state: 'invalid' },
  { name: 'v1: mapped IPv4 in TCP6', text: 'PROXY TCP6 ::ffff:102:304 fdaa::1 1 1\r\n', state: 'invalid' },
  { name: 'v1: two "::"', text: 'PROXY TCP6 fdaa::1::2 fdaa::1 1 1\r\n', state: 'invalid' },
  { name: 'v1: nine groups', text: 'PROXY TCP6 1:2:3:4:5:6:7:8:9 fdaa::1 1 1\r\n', state: 'invalid' },
  { name: 'v1: five digits in a group', text: 'PROXY TCP6 0fdaa::1 fdaa::1 1 1\r\n', state: 'invalid' },
  { name: 'v1: NUL in an address', text: 'PROXY TCP6 fdaa::1\x00 fdaa::1 1 1\r\n', state: 'invalid' },
]

const v2: readonly Vector[] = [
  { name: 'v2: a Flycast address', hex: `${SIG} 21 21 0024 ${IPV6_BLOCK}`, header: proxyV2([]) },
  { name: 'v2: payload behind it stays', hex: `${SIG} 21 21 0024 ${IPV6_BLOCK} 2a310d0a`, headerBytes: 52, header: proxyV2([]) },
  { name: 'v2: a second header is payload', hex: `${SIG} 20 00 0000 ${SIG} 21 21 0024 ${IPV6_BLOCK}`, headerBytes: 16, header: local() },
  {
    name: 'v2: IPv4',
    hex: `${SIG} 21 11 000c c0a80001 c0a8000b dc04 01bb`,
    header: { version: 2, command: 'proxy', addresses: ipv4, tlvs: [] },
  },
  {
    name: 'v2: datagrams',
    hex: `${SIG} 21 12 000c c0a80001 c0a8000b dc04 01bb`,
    header: { version: 2, command: 'proxy', addresses: { ...ipv4, transport: 'datagram' }, tlvs: [] },
  },
  {
    name: 'v2: Unix sockets',
    hex: `${SIG} 21 31 00d8 ${'61'.repeat(108)} ${'62'.repeat(107)}00`,
    header: {
      version: 2,
      command: 'proxy',
      addresses: { family: 'unix', transport: 'stream', source: bytes('61'.repeat(108)), destination: bytes(`${'62'.repeat(107)}00`) },
      tlvs: [],
    },
  },
  { name: 'v2: PROXY of an unspecified family: real end points', hex: `${SIG} 21 00 0000`, header: { version: 2, command: 'proxy', addresses: unspecified, tlvs: [] } },
  { name: 'v2: LOCAL without addresses (CVE-2024-23327)', hex: `${SIG} 20 00 0000`, header: local() },
  { name: 'v2: LOCAL that names a family and has no addresses (CVE-2024-23327)', hex: `${SIG} 20 21 0000`, header: local() },
  { name: 'v2: LOCAL with addresses: skipped', hex: `${SIG} 20 21 0024 ${IPV6_BLOCK} 50`, headerBytes: 52, header: local() },
  { name: 'v2: LOCAL of an unknown family: skipped', hex: `${SIG} 20 f7 0003 ffffff 50`, headerBytes: 19, header: local() },
  { name: 'v2: LOCAL with a torn TLV: skipped', hex: `${SIG} 20 00 0004 04ffff00 50`, headerBytes: 20, header: local() },
  { name: 'v2: LOCAL with a TLV', hex: `${SIG} 20 00 0005 e700020103`, header: local([{ type: 0xe7, value: bytes('0103') }]) },
  {
    name: 'v2: empty TLVs end (haproxy #3482)',
    hex: `${SIG} 21 21 002d ${IPV6_BLOCK} 040000 ea0000 040000`,
    header: proxyV2([
      { type: 4, value: bytes('') },
      { type: 0xea, value: bytes('') },
      { type: 4, value: bytes('') },
    ]),
  },
  { name: 'v2: NUL in a TLV (haproxy #3489)', hex: `${SIG} 21 21 002b ${IPV6_BLOCK} ea0004 61006200`, header: proxyV2([{ type: 0xea, value: bytes('61006200') }]) },
  {
    name: 'v2: a TLV that is not UTF-8 (CVE-2024-23324)',
    hex: `${SIG} 21 21 002b ${IPV6_BLOCK} 020004 fffec328`,
    header: proxyV2([{ type: 2, value: bytes('fffec328') }]),
  },
  {
    name: 'v2: an SSL TLV with sub-TLVs',
    hex: `${SIG} 21 21 0037 ${IPV6_BLOCK} 200010 01 00000000 210004 312e3300 220001 61`,
    header: proxyV2([{ type: 0x20, value: bytes('01 00000000 210004 312e3300 220001 61') }]),
  },
  { name: 'v2: IPv6 mapped bytes are bytes (CVE-2024-23325)', hex: `${SIG} 21 21 0024 ${'00'.repeat(10)}ffff01020304 ${'00'.repeat(15)}01 0001 0002`, headerBytes: 52 },
  { name: 'v2: nothing but half a signature', hex: '0d0a0d0a00', state: 'incomplete' },
  { name: 'v2: half an address', hex: `${SIG} 21 21 0024 fdaa0000`, state: 'incomplete' },
  { name: 'v2: a broken signature', hex: '0d0a0d0a01', state: 'invalid', reason: /signature/ },
  { name: 'v2: version 1', hex: `${SIG} 11`, state: 'invalid', reason: /version/ },
  { name: 'v2: command 2', hex: `${SIG} 22`, state: 'invalid', reason: /command/ },
  { name: 'v2: family 4', hex: `${SIG} 21 41`, state: 'invalid', reason: /family/ },
  { name: 'v2: transport 3', hex: `${SIG} 21 23`, state: 'invalid', reason: /family/ },
  { name: 'v2: a transport without a family', hex: `${SIG} 21 01`, state: 'invalid', reason: /family/ },
  { name: 'v2: too short for IPv6', hex: `${SIG} 21 21 000c`, state: 'invalid', reason: /too short/ },
  { name: 'v2: too short for a Unix path', hex: `${SIG} 21 31 00d7`, state: 'invalid', reason: /too short/ },
  { name: 'v2: longer than the limit, refused before it is read', hex: `${SIG} 21 21 07f1`, state: 'invalid', reason: /2049 bytes, more than the limit of 2048/ },
  { name: 'v2: a TLV cut in its head', hex: `${SIG} 21 21 0026 ${IPV6_BLOCK} 0400`, state: 'invalid', reason: /cut in its head/ },
  { name: 'v2: a TLV longer than its block', hex: `${SIG} 21 21 0028 ${IPV6_BLOCK} 04000200`, state: 'invalid', reason: /longer than its block/ },
  { name: 'v2: an SSL TLV of 4 bytes', hex: `${SIG} 21 21 002b ${IPV6_BLOCK} 200004 00000000`, state: 'invalid', reason: /SSL/ },
  { name: 'v2: a sub-TLV longer than its SSL TLV', hex: `${SIG} 21 21 0030 ${IPV6_BLOCK} 200009 01 00000000 210002 31`, state: 'invalid', reason: /SSL/ },
  { name: 'v2: a unique id of 129 bytes', hex: `${SIG} 21 21 00a8 ${IPV6_BLOCK} 050081 ${'aa'.repeat(129)}`, state: 'invalid', reason: /unique id/ },
  { name: 'v2: a checksum of 3 bytes', hex: `${SIG} 21 21 002a ${IPV6_BLOCK} 030003 000000`, state: 'invalid', reason: /CRC32C/ },
  { name: 'v2: a wrong checksum', hex: `${SIG} 21 21 002b ${IPV6_BLOCK} 030004 deadbeef`, state: 'invalid', reason: /checksum/ },
  { name: 'v2: a wrong checksum on LOCAL', hex: `${SIG} 20 00 0007 030004 deadbeef`, state: 'invalid', reason: /checksum/ },
  { name: 'v2: two checksums', hex: `${SIG} 20 00 000e 030004 00000000 030004 00000000`, state: 'invalid', reason: /two checksums/ },
]

export const proxyProtocolVectors: readonly Vector[] = [...v1, ...v2]

export function vectorBytes(vector: Vector): Uint8Array {
  return vector.hex === undefined ? Uint8Array.from(Buffer.from(vector.text ?? '', 'latin1')) : bytes(vector.hex)
}
