/** Version 1, section 2.1. Addresses are those for documentation (RFC 5737, RFC 3849). Pure. */
import { MAX_V1_LINE_BYTES } from '../../lib/proxy-protocol/constants.ts'
import type { CheckCase } from './case.ts'
import { apart, halves, only, singleBytes, text, together } from './case.ts'

const TCP4 = 'PROXY TCP4 192.0.2.7 192.0.2.8 40001 6379\r\n'
const TCP6 = 'PROXY TCP6 2001:db8::7 2001:db8::8 40001 6379\r\n'
const FULL = `${'ffff:'.repeat(7)}ffff`
const STRICT = 'Compare the whole line with the grammar and abort on anything else: no lenient number or address parser.'

type Row = Omit<CheckCase, 'version' | 'section'> & { readonly section?: string }

const rows: readonly Row[] = [
  {
    id: 'v1-tcp4', title: 'TCP4', demand: 'accept',
    parts: together(text(TCP4)),
    todo: 'Read the line up to CRLF, then hand what follows to the application.',
  },
  {
    id: 'v1-tcp6', title: 'TCP6', demand: 'accept',
    parts: together(text(TCP6)),
    todo: 'Parse IPv6 addresses in the line; where IPv6 is off, read them all the same.', known: 'CVE-2024-23325',
  },
  {
    id: 'v1-tcp6-longest', title: 'the longest TCP6 line, 104 bytes', demand: 'accept',
    parts: together(text(`PROXY TCP6 ${FULL} ${FULL} 65535 65535\r\n`)),
    todo: 'A buffer of 108 bytes holds every line.',
  },
  {
    id: 'v1-tcp6-upper', title: 'TCP6 in upper case', demand: 'accept',
    parts: together(text('PROXY TCP6 2001:DB8::A 2001:DB8::B 40001 6379\r\n')),
    todo: 'Take hexadecimal digits of either case.',
  },
  {
    id: 'v1-unknown', title: 'UNKNOWN', demand: 'may-accept',
    parts: together(text('PROXY UNKNOWN\r\n')),
    todo: 'Accept it and use the real end points.',
  },
  {
    id: 'v1-unknown-longest', title: 'the longest line, UNKNOWN with addresses, 107 bytes', demand: 'may-accept',
    parts: together(text(`PROXY UNKNOWN ${FULL} ${FULL} 65535 65535\r\n`)),
    todo: 'Ignore what stands between UNKNOWN and CRLF.',
  },
  {
    id: 'v1-unknown-scoped', title: 'UNKNOWN with what is no address', demand: 'may-accept',
    parts: together(text('PROXY UNKNOWN fe80::1%eth0 x y z\r\n')),
    todo: 'Ignore what stands between UNKNOWN and CRLF.',
  },
  {
    id: 'v1-apart', title: 'header and payload in two segments', demand: 'accept', section: '2',
    parts: apart(text(TCP4)),
    todo: 'Go on reading behind the header.',
  },
  {
    id: 'v1-single-bytes', title: 'the header in single bytes', demand: 'may-accept', section: '2',
    parts: singleBytes(text(TCP4)),
    todo: 'Keep what came and wait for the rest: TCP may cut anywhere.',
  },
  {
    id: 'v1-cut-crlf', title: 'cut between CR and LF', demand: 'may-accept', section: '2',
    parts: halves(text(TCP4), TCP4.length - 1),
    todo: 'Keep what came and wait for the rest: TCP may cut anywhere.',
  },
  {
    id: 'v1-late', title: 'the second half 2.5 s later', demand: 'may-accept', section: '2',
    parts: halves(text(TCP4), 20, 2500),
    todo: 'Wait at least 3 s for the header: one lost packet takes that long.', known: 'go-proxyproto #84', slow: true,
  },
  {
    id: 'v1-second', title: 'a second header behind the first is payload', demand: 'payload', section: '2',
    parts: (payload) => [Buffer.concat([text(TCP4), text('PROXY TCP4 198.51.100.1 192.0.2.8 1 6379\r\n'), payload])],
    todo: 'Read exactly one header: a client could replace its own address with a second one.',
  },
  {
    id: 'v1-half', title: 'half a header: the application says nothing', demand: 'withhold', section: '2',
    parts: only(text(TCP4.slice(0, 24))),
    todo: 'Start the application only when the header is whole, also where the server speaks first.',
  },
  {
    id: 'v1-cut-off', title: 'half a header, then the end', demand: 'withhold', section: '2',
    parts: only(text(TCP4.slice(0, 24)), 'end'),
    todo: 'Abort when the connection ends inside the header.',
  },
  {
    id: 'v1-too-long', title: `no line end within ${MAX_V1_LINE_BYTES} bytes`, demand: 'may-refuse',
    parts: together(text(`PROXY UNKNOWN ${'f'.repeat(MAX_V1_LINE_BYTES)}\r\n`)),
    todo: `Abort after ${MAX_V1_LINE_BYTES} bytes without CRLF.`,
  },
  {
    id: 'v1-tcp6-too-long', title: 'a TCP6 line of more than 107 bytes', demand: 'refuse',
    parts: together(text(`PROXY TCP6 ${FULL}:${FULL} ${FULL}:${FULL} 65535 65535\r\n`)),
    todo: `Abort after ${MAX_V1_LINE_BYTES} bytes without CRLF.`,
  },
  {
    id: 'v1-endless', title: '64 KiB without a line end', demand: 'refuse',
    parts: only(text('PROXY TCP4 '), text('1'.repeat(65_536))),
    todo: `Abort after ${MAX_V1_LINE_BYTES} bytes without CRLF: this fills memory.`,
  },
  {
    id: 'v1-bare-lf', title: 'LF without CR', demand: 'may-refuse',
    parts: together(text(TCP4.replace('\r', ''))),
    todo: 'Take CRLF only.',
  },
  {
    id: 'v1-bare-cr', title: 'CR without LF', demand: 'may-refuse',
    parts: together(text(TCP4.replace('\n', ''))),
    todo: 'Take CRLF only.',
  },
  {
    id: 'v1-lower', title: 'in lower case', demand: 'refuse',
    parts: together(text(TCP4.toLowerCase())),
    todo: STRICT,
  },
  {
    id: 'v1-spaces', title: 'two spaces', demand: 'may-refuse',
    parts: together(text(TCP4.replace('TCP4 ', 'TCP4  '))),
    todo: STRICT,
  },
  {
    id: 'v1-protocol', title: 'protocol UDP4', demand: 'refuse',
    parts: together(text(TCP4.replace('TCP4', 'UDP4'))),
    todo: STRICT,
  },
  {
    id: 'v1-crossed', title: 'TCP4 with IPv6 addresses', demand: 'may-refuse',
    parts: together(text(TCP6.replace('TCP6', 'TCP4'))),
    todo: STRICT,
  },
  {
    id: 'v1-port', title: 'port 65536', demand: 'may-refuse',
    parts: together(text(TCP4.replace('40001', '65536'))),
    todo: STRICT,
  },
  {
    id: 'v1-no-port', title: 'a port is missing', demand: 'refuse',
    parts: together(text(TCP4.replace(' 6379', ''))),
    todo: STRICT,
  },
  {
    id: 'v1-octal', title: 'an address with a leading zero', demand: 'may-refuse',
    parts: together(text(TCP4.replace('192.0.2.7', '192.0.2.010'))),
    todo: STRICT,
  },
  {
    id: 'v1-address', title: 'address 192.0.2.256', demand: 'may-refuse',
    parts: together(text(TCP4.replace('192.0.2.7', '192.0.2.256'))),
    todo: STRICT,
  },
  {
    id: 'v1-scoped', title: 'a scoped IPv6 address', demand: 'may-refuse',
    parts: together(text(TCP6.replace('2001:db8::7', 'fe80::1%lo'))),
    todo: 'Refuse zone ids: they get around checks of addresses.', known: 'CVE-2026-26310',
  },
]

export const casesV1: readonly CheckCase[] = rows.map((row) => ({ section: '2.1', ...row, version: 1 }))
