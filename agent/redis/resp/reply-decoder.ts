/**
 * Replies of an engine as values, from chunks that end anywhere: RESP2 and RESP3 (redis.io/docs/reference/protocol-spec),
 * streamed strings and aggregates aside, which no engine sends. Pure.
 *
 * An engine runs a tenant's code, so its replies are bounded like anybody else's: bytes, elements, depth.
 */

export type Reply =
  /** `simple`: a line (+OK), not a bulk string. */
  | { readonly kind: 'text'; readonly text: string; readonly simple?: true }
  /** `bulk`: RESP3's long form. */
  | { readonly kind: 'error'; readonly text: string; readonly bulk?: true }
  | { readonly kind: 'number'; readonly value: number }
  /** `type`: how it was written; `_` in RESP3. */
  | { readonly kind: 'null'; readonly type: '$' | '*' | '_' }
  | { readonly kind: 'list'; readonly items: readonly Reply[] }
  | Resp3Reply

export type Resp3Reply =
  | { readonly kind: 'set'; readonly items: readonly Reply[] }
  /** Out of band: the answer to nothing. */
  | { readonly kind: 'push'; readonly items: readonly Reply[] }
  /** Keys and values in turn. */
  | { readonly kind: 'map'; readonly items: readonly Reply[] }
  | { readonly kind: 'boolean'; readonly value: boolean }
  /** As it was written: `inf` and `nan` too. */
  | { readonly kind: 'double'; readonly text: string }
  | { readonly kind: 'big'; readonly value: bigint }
  /** `format`: `txt` or `mkd`. */
  | { readonly kind: 'verbatim'; readonly format: string; readonly text: string }
  | { readonly kind: 'attributed'; readonly attributes: readonly Reply[]; readonly reply: Reply }

export interface DecodeOptions {
  /** Of one reply. */
  readonly maxBytes?: number
  /** Of one aggregate. */
  readonly maxItems?: number
  readonly maxDepth?: number
  /** `latin1`: each byte is one character, so that nothing is lost. */
  readonly encoding?: 'utf8' | 'latin1'
}

export const MAX_REPLY_BYTES = 1 << 20
const DEFAULTS: Required<DecodeOptions> = { maxBytes: MAX_REPLY_BYTES, maxItems: 1024, maxDepth: 8, encoding: 'utf8' }
const MAX_LINE_BYTES = 64 * 1024
const NO_BYTES = Buffer.alloc(0)

type Aggregate = 'list' | 'set' | 'push' | 'map' | 'attributes'
const AGGREGATES: Readonly<Record<string, Aggregate>> = { '*': 'list', '~': 'set', '>': 'push', '%': 'map', '|': 'attributes' }

interface Open {
  readonly kind: Aggregate
  readonly count: number
  readonly items: Reply[]
  /** Those that stand before the aggregate itself. */
  readonly attributes: readonly (readonly Reply[])[]
}

export class ReplyDecoder {
  readonly #options: Required<DecodeOptions>
  #held: Buffer = NO_BYTES
  /** Line searched so far, so that a slow sender costs no second look. */
  #searched = 0
  #bytes = 0
  #open: Open[] = []
  #attributes: readonly (readonly Reply[])[] = []
  /** A bulk string whose length is known. */
  #bulk: { readonly type: string; readonly length: number } | null = null
  #invalid = false

  constructor(options: DecodeOptions = {}) {
    this.#options = { ...DEFAULTS, ...options }
  }

  /** What a reply that isn't whole yet has brought; 0: none has begun. */
  get heldBytes(): number {
    return this.#bytes + this.#held.length
  }

  /** The replies that `chunk` completes. `invalid`: what follows them is none; there is no going on. */
  push(chunk: Buffer): { readonly replies: readonly Reply[]; readonly invalid: boolean } {
    const replies: Reply[] = []
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    let offset = 0
    while (!this.#invalid) {
      const used = this.#element(offset, replies)
      if (used === 0) break
      offset += used
    }
    this.#held = this.#held.subarray(offset)
    if (this.#bytes + this.#held.length > this.#options.maxBytes) this.#invalid = true
    return { replies, invalid: this.#invalid }
  }

  /** Reads one element at `offset`. @returns its bytes; 0: it isn't whole */
  #element(offset: number, replies: Reply[]): number {
    const used = this.#bulk === null ? this.#lineAt(offset, replies) : this.#bulkAt(offset, replies)
    this.#bytes = replies.length > 0 && this.#isIdle() ? 0 : this.#bytes + used
    if (this.#bytes > this.#options.maxBytes) this.#fail()
    return used
  }

  #isIdle(): boolean {
    return this.#open.length === 0 && this.#bulk === null && this.#attributes.length === 0
  }

  #bulkAt(offset: number, replies: Reply[]): number {
    const { type, length } = this.#bulk ?? { type: '', length: 0 }
    const held = this.#held
    const end = offset + length
    if (held.length < end + 2) return 0
    if (held[end] !== 0x0d || held[end + 1] !== 0x0a) return this.#fail()
    this.#bulk = null
    const text = held.toString(this.#options.encoding, offset, end)
    if (type === '$') this.#value({ kind: 'text', text }, replies)
    else if (type === '!') this.#value({ kind: 'error', text, bulk: true }, replies)
    else if (text[3] === ':') this.#value({ kind: 'verbatim', format: text.slice(0, 3), text: text.slice(4) }, replies)
    else return this.#fail()
    return length + 2
  }

  #lineAt(offset: number, replies: Reply[]): number {
    const held = this.#held
    const newline = held.indexOf(0x0a, Math.max(offset, this.#searched))
    if (newline < 0) {
      if (held.length - offset > MAX_LINE_BYTES) this.#fail()
      this.#searched = held.length - offset
      return 0
    }
    this.#searched = 0
    // A type, CR and LF at least.
    if (newline < offset + 2 || held[newline - 1] !== 0x0d) return this.#fail()
    const type = String.fromCharCode(held[offset] ?? 0)
    const line = held.toString(this.#options.encoding, offset + 1, newline - 1)
    if (!this.#line(type, line, replies)) return this.#fail()
    return newline + 1 - offset
  }

  #line(type: string, line: string, replies: Reply[]): boolean {
    const aggregate = AGGREGATES[type]
    if (aggregate !== undefined && !(type === '*' && line === '-1')) return this.#begin(aggregate, line, replies)
    if (type === '$' || type === '!' || type === '=') return this.#beginBulk(type, line, replies)
    const reply = scalar(type, line)
    if (reply === null) return false
    this.#value(reply, replies)
    return true
  }

  #begin(kind: Aggregate, line: string, replies: Reply[]): boolean {
    const count = lengthOf(line)
    if (count === null || count > this.#options.maxItems || this.#open.length >= this.#options.maxDepth) return false
    const elements = kind === 'map' || kind === 'attributes' ? 2 * count : count
    // Out of band means between replies.
    if (kind === 'push' && (this.#open.length > 0 || count === 0)) return false
    this.#open.push({ kind, count: elements, items: [], attributes: this.#attributes })
    this.#attributes = []
    this.#close(replies)
    return true
  }

  #beginBulk(type: string, line: string, replies: Reply[]): boolean {
    if (type === '$' && line === '-1') {
      this.#value({ kind: 'null', type: '$' }, replies)
      return true
    }
    const length = lengthOf(line)
    if (length === null || length > this.#options.maxBytes) return false
    this.#bulk = { type, length }
    return true
  }

  #value(reply: Reply, replies: Reply[]): void {
    const whole = this.#attributes.reduceRight<Reply>((inner, attributes) => ({ kind: 'attributed', attributes, reply: inner }), reply)
    this.#attributes = []
    const into = this.#open.at(-1)
    if (into === undefined) replies.push(whole)
    else into.items.push(whole)
    this.#close(replies)
  }

  /** Aggregates that are whole become values. */
  #close(replies: Reply[]): void {
    const last = this.#open.at(-1)
    if (last === undefined || last.items.length < last.count) return
    this.#open.pop()
    if (last.kind === 'attributes') {
      this.#attributes = [...last.attributes, last.items]
      return
    }
    this.#attributes = last.attributes
    this.#value({ kind: last.kind, items: last.items }, replies)
  }

  #fail(): 0 {
    this.#invalid = true
    return 0
  }
}

function lengthOf(line: string): number | null {
  return /^(0|[1-9]\d{0,9})$/.test(line) ? Number(line) : null
}

function scalar(type: string, line: string): Reply | null {
  switch (type) {
    case '+':
      return { kind: 'text', text: line, simple: true }
    case '-':
      return { kind: 'error', text: line }
    case ':':
      return /^[+-]?\d{1,19}$/.test(line) ? { kind: 'number', value: Number(line) } : null
    case '*':
      return { kind: 'null', type: '*' }
    case '_':
      return line === '' ? { kind: 'null', type: '_' } : null
    case '#':
      return line === 't' || line === 'f' ? { kind: 'boolean', value: line === 't' } : null
    case ',':
      return /^(?:-?(?:inf|nan)|[+-]?\d{1,400}(?:\.\d{0,400})?(?:[eE][+-]?\d{1,4})?)$/.test(line) ? { kind: 'double', text: line } : null
    case '(':
      return /^-?\d{1,4096}$/.test(line) ? { kind: 'big', value: BigInt(line) } : null
    default:
      return null
  }
}
