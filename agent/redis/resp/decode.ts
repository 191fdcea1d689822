/**
 * Replies of Redis, RESP2, from a buffer that may end anywhere. Pure.
 *
 * Only what the agent's own connection asks for: it doesn't speak RESP3. An engine runs a tenant's code, so its
 * replies are bounded like anybody else's.
 */

export type Reply =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'error'; readonly text: string }
  | { readonly kind: 'number'; readonly value: number }
  | { readonly kind: 'null' }
  | { readonly kind: 'list'; readonly items: readonly Reply[] }

export type DecodedReply =
  | { readonly state: 'incomplete' }
  | { readonly state: 'done'; readonly reply: Reply; readonly end: number }
  | { readonly state: 'invalid' }

export const MAX_REPLY_BYTES = 1 << 20
const MAX_LINE_BYTES = 64 * 1024
const MAX_ITEMS = 1024
const MAX_DEPTH = 4
const INCOMPLETE = { state: 'incomplete' } as const
const INVALID = { state: 'invalid' } as const

export interface DecodeOptions {
  readonly maxBytes?: number
  /** `latin1`: each byte is one character, so that nothing is lost. */
  readonly encoding?: 'utf8' | 'latin1'
}

/** Reads one reply that starts at `offset`. */
export function decodeReply(bytes: Buffer, offset = 0, { maxBytes = MAX_REPLY_BYTES, encoding = 'utf8' }: DecodeOptions = {}, depth = 0): DecodedReply {
  const newline = bytes.indexOf('\r\n', offset, 'latin1')
  if (newline < 0) return bytes.length - offset > MAX_LINE_BYTES ? INVALID : INCOMPLETE
  const line = bytes.toString(encoding, offset + 1, newline)
  const end = newline + 2
  switch (bytes[offset]) {
    case 0x2b: // +
      return { state: 'done', reply: { kind: 'text', text: line }, end }
    case 0x2d: // -
      return { state: 'done', reply: { kind: 'error', text: line }, end }
    case 0x3a: // :
      return /^-?\d{1,19}$/.test(line) ? { state: 'done', reply: { kind: 'number', value: Number(line) }, end } : INVALID
    case 0x24: // $
      return decodeBulk(bytes, line, end, { maxBytes, encoding })
    case 0x2a: // *
      return decodeList(bytes, line, end, { maxBytes, encoding }, depth)
    default:
      return INVALID
  }
}

function decodeBulk(bytes: Buffer, line: string, start: number, { maxBytes, encoding }: Required<DecodeOptions>): DecodedReply {
  if (line === '-1') return { state: 'done', reply: { kind: 'null' }, end: start }
  if (!/^\d{1,9}$/.test(line) || Number(line) > maxBytes) return INVALID
  const stop = start + Number(line)
  if (bytes.length < stop + 2) return INCOMPLETE
  if (bytes[stop] !== 0x0d || bytes[stop + 1] !== 0x0a) return INVALID
  return { state: 'done', reply: { kind: 'text', text: bytes.toString(encoding, start, stop) }, end: stop + 2 }
}

function decodeList(bytes: Buffer, line: string, start: number, options: Required<DecodeOptions>, depth: number): DecodedReply {
  if (line === '-1') return { state: 'done', reply: { kind: 'null' }, end: start }
  if (!/^\d{1,4}$/.test(line) || Number(line) > MAX_ITEMS || depth >= MAX_DEPTH) return INVALID
  const items: Reply[] = []
  let offset = start
  for (let index = 0; index < Number(line); index++) {
    const item = decodeReply(bytes, offset, options, depth + 1)
    if (item.state !== 'done') return item
    items.push(item.reply)
    offset = item.end
  }
  return { state: 'done', reply: { kind: 'list', items }, end: offset }
}
