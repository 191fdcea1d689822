/** Every case, in the order of the report. Pure. */
import type { CheckCase } from './case.ts'
import { only, text, together } from './case.ts'
import { casesV1 } from './cases-v1.ts'
import { casesV2 } from './cases-v2.ts'

/** Fixed, and neither text nor a signature. */
const GARBAGE = Uint8Array.from({ length: 64 }, (_, index) => (index * 151 + 129) & 0xff)

export const NO_HEADER: CheckCase = {
  id: 'no-header',
  title: 'no header at all',
  version: null,
  section: '2',
  demand: 'withhold',
  parts: (payload) => [payload],
  todo: 'Require the header on this port and never guess: else whoever connects directly is believed, or may send a header of their own.',
}

const others: readonly CheckCase[] = [
  {
    id: 'garbage', title: '64 bytes of garbage', version: null, section: '2', demand: 'refuse',
    parts: together(GARBAGE),
    todo: 'Abort as soon as the bytes are neither a signature nor "PROXY".',
  },
  {
    id: 'http', title: 'an HTTP request', version: null, section: '2', demand: 'refuse',
    parts: only(text('GET / HTTP/1.1\r\nhost: example\r\n\r\n')),
    todo: 'Abort as soon as the bytes are neither a signature nor "PROXY".',
  },
  {
    id: 'silence', title: 'nothing at all, for 12 s', version: null, section: '2', demand: 'may-refuse',
    parts: only(12_000),
    todo: 'Limit the time for the header (5 s serve well): silent connections use up descriptors.', known: 'CVE-2021-23409', slow: true,
  },
]

export const CASES: readonly CheckCase[] = [NO_HEADER, ...casesV1, ...casesV2, ...others]

/** Whether a version is spoken at all is told by these: one of them is accepted. */
export const BASIC = new Set(['v1-tcp4', 'v1-tcp6', 'v2-tcp4', 'v2-tcp6', 'v2-local'])
