/**
 * Requests of Redis clients, from chunks that end anywhere: arrays of bulk strings, and inline commands. Pure.
 *
 * It finds where a request ends, keeps its first words, and adds up what the request announces, so that whoever carries the
 * bytes on can judge a request before its payload has come. Payload isn't copied. An engine has to see the same boundaries:
 * whatever it would read leniently (a line without CR LF, a length with a leading zero) is `invalid` here.
 */

export interface RequestLimits {
  readonly maxArguments: number
  readonly maxBulkBytes: number
  /** Of an inline command. */
  readonly maxLineBytes: number
  /** So many words are kept … */
  readonly keepWords: number
  /** … when they are no longer than this; a longer one is kept as its first bytes. */
  readonly keepBytes: number
}

/** Redis's own limits (proto-max-bulk-len, PROTO_INLINE_MAX_SIZE). */
export const REQUEST_LIMITS: RequestLimits = { maxArguments: 1 << 20, maxBulkBytes: 512 << 20, maxLineBytes: 64 * 1024, keepWords: 2, keepBytes: 64 }

export type RequestStep = 'more' | 'done' | 'invalid'

const START = 0
const COUNT = 1
const DOLLAR = 2
const LENGTH = 3
const PAYLOAD = 4
const PAYLOAD_CR = 5
const PAYLOAD_LF = 6
const INLINE = 7
const OVER = 8

const CR = 0x0d
const LF = 0x0a
const MAX_DIGITS = 10
const NO_BYTES = Buffer.alloc(0)

export class RequestReader {
  readonly #limits: RequestLimits
  #state = START
  #line = new LengthLine()
  #missingArguments = 0
  #missingBytes = 0
  #parts: Buffer[] = []
  /** Where the last step ended in its chunk. */
  offset = 0
  /** Of the present request: its first words, as far as they have come. */
  words: Buffer[] = []
  /** 0: an empty request, which has no reply. */
  argumentCount = 0
  /** On the wire, so far. */
  wireBytes = 0
  /** Of all arguments whose length has been told. */
  announcedBytes = 0
  /** The longest of them. */
  largestBytes = 0
  /** Once a step was `invalid`: why, in Redis's words. */
  problem = ''

  constructor(limits: Partial<RequestLimits> = {}) {
    this.#limits = { ...REQUEST_LIMITS, ...limits }
  }

  /** Reads on in `chunk` at `from` until a request ends or the chunk does. After `invalid` there is no going on. */
  step(chunk: Buffer, from: number): RequestStep {
    if (this.#state === OVER) this.#begin()
    let at = from
    let step: RequestStep = 'more'
    while (at < chunk.length && step === 'more') {
      switch (this.#state) {
        case START:
          if (chunk[at] === 0x2a) at++
          this.#state = at > from ? COUNT : INLINE
          break
        case COUNT:
        case LENGTH: {
          const answer = this.#line.take(chunk[at++] ?? 0)
          if (answer === 'bad') step = this.#invalid(this.#state === COUNT ? 'invalid multibulk length' : 'invalid bulk length')
          else if (answer === 'end') step = this.#state === COUNT ? this.#counted() : this.#measured()
          break
        }
        case DOLLAR:
          if (chunk[at] === 0x24) this.#state = LENGTH
          else step = this.#invalid(`expected '$', got '${printable(chunk[at] ?? 0)}'`)
          at++
          break
        case PAYLOAD:
          at = this.#payload(chunk, at)
          break
        case PAYLOAD_CR:
          if (chunk[at++] === CR) this.#state = PAYLOAD_LF
          else step = this.#invalid('a bulk string without its end')
          break
        case PAYLOAD_LF:
          step = chunk[at++] === LF ? this.#ended() : this.#invalid('a bulk string without its end')
          break
        default: {
          const newline = chunk.indexOf(LF, at)
          const end = newline < 0 ? chunk.length : newline + 1
          this.#parts.push(Buffer.from(chunk.subarray(at, end)))
          if (this.wireBytes + end - from > this.#limits.maxLineBytes) step = this.#invalid('too big inline request')
          else if (newline >= 0) step = this.#inline()
          at = end
        }
      }
    }
    this.offset = at
    this.wireBytes += at - from
    return step
  }

  /** Between two requests. */
  get idle(): boolean {
    return this.#state === START || this.#state === OVER
  }

  #begin(): void {
    this.#state = START
    this.words = []
    this.argumentCount = this.wireBytes = this.announcedBytes = this.largestBytes = 0
  }

  #counted(): RequestStep {
    const count = this.#line.end()
    if (count > this.#limits.maxArguments) return this.#invalid('invalid multibulk length')
    this.argumentCount = Math.max(0, count)
    this.#missingArguments = this.argumentCount
    if (count <= 0) return this.#done()
    this.#state = DOLLAR
    return 'more'
  }

  #measured(): RequestStep {
    const bytes = this.#line.end()
    if (bytes < 0 || bytes > this.#limits.maxBulkBytes) return this.#invalid('invalid bulk length')
    this.announcedBytes += bytes
    this.largestBytes = Math.max(this.largestBytes, bytes)
    this.#missingBytes = bytes
    this.#state = bytes === 0 ? PAYLOAD_CR : PAYLOAD
    return 'more'
  }

  #payload(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + this.#missingBytes)
    if (this.words.length < this.#limits.keepWords) this.#keep(chunk.subarray(at, end))
    this.#missingBytes -= end - at
    if (this.#missingBytes === 0) this.#state = PAYLOAD_CR
    return end
  }

  /** A chunk is its owner's again after the step: what is kept is copied. */
  #keep(part: Buffer): void {
    const kept = this.#parts.reduce((sum, { length }) => sum + length, 0)
    if (kept < this.#limits.keepBytes) this.#parts.push(Buffer.from(part.subarray(0, this.#limits.keepBytes - kept)))
  }

  /** One argument. */
  #ended(): RequestStep {
    if (this.words.length < this.#limits.keepWords) this.words.push(this.#takeParts())
    if (--this.#missingArguments === 0) return this.#done()
    this.#state = DOLLAR
    return 'more'
  }

  #inline(): RequestStep {
    const line = this.#takeParts()
    const words = inlineWords(line.subarray(0, line.at(-2) === CR ? -2 : -1))
    // An engine would wait for ever for the end of such a line.
    if (line.includes(0)) return this.#invalid('a NUL in an inline request')
    if (words === null) return this.#invalid('unbalanced quotes in request')
    this.argumentCount = words.length
    for (const { length } of words) {
      this.announcedBytes += length
      this.largestBytes = Math.max(this.largestBytes, length)
    }
    this.words = words.slice(0, this.#limits.keepWords).map((word) => word.subarray(0, this.#limits.keepBytes))
    return this.#done()
  }

  #takeParts(): Buffer {
    const [first = NO_BYTES, ...more] = this.#parts
    this.#parts = []
    return more.length === 0 ? first : Buffer.concat([first, ...more])
  }

  #done(): RequestStep {
    this.#state = OVER
    return 'done'
  }

  #invalid(problem: string): RequestStep {
    this.problem = problem
    return 'invalid'
  }
}

/** A whole number and CR LF, byte by byte. Canonical, as Redis's string2ll wants it. */
export class LengthLine {
  #value = 0
  #digits = 0
  #negative = false
  #sawCr = false

  take(byte: number): 'more' | 'end' | 'bad' {
    if (this.#sawCr) return byte === LF ? 'end' : 'bad'
    if (byte === CR && this.#digits > 0) {
      this.#sawCr = true
      return 'more'
    }
    if (byte === 0x2d && this.#digits === 0 && !this.#negative) {
      this.#negative = true
      return 'more'
    }
    const zeroFirst = this.#digits === 1 && this.#value === 0
    if (byte < 0x30 || byte > 0x39 || zeroFirst || this.#digits === MAX_DIGITS || (this.#negative && byte === 0x30 && this.#digits === 0)) return 'bad'
    this.#value = this.#value * 10 + byte - 0x30
    this.#digits++
    return 'more'
  }

  /** The number; ready for the next line. */
  end(): number {
    const value = this.#negative ? -this.#value : this.#value
    this.#value = this.#digits = 0
    this.#negative = this.#sawCr = false
    return value
  }
}

const ESCAPES: Readonly<Record<string, number>> = { n: 0x0a, r: 0x0d, t: 0x09, b: 0x08, a: 0x07 }

/** As Redis splits an inline command (sdssplitargs): quotes and escapes. null: quotes that don't match. */
export function inlineWords(line: Buffer): Buffer[] | null {
  const text = line.toString('latin1')
  const words: Buffer[] = []
  const pattern = /"((?:\\[^]|[^"\\])*)"|'((?:\\'|\\(?!')|[^'\\])*)'/y
  let at = 0
  while (at < text.length) {
    while (isSpace(text[at])) at++
    if (at === text.length) break
    let word = ''
    while (at < text.length && !endsWord(text[at])) {
      const character = text[at] ?? ''
      if (character !== '"' && character !== "'") {
        word += character
        at++
        continue
      }
      pattern.lastIndex = at
      const match = pattern.exec(text)
      if (match === null) return null
      at = pattern.lastIndex
      // A closing quote ends the word.
      if (at < text.length && !isSpace(text[at])) return null
      word += match[1] === undefined ? (match[2] ?? '').replaceAll("\\'", "'") : unescaped(match[1])
      break
    }
    words.push(Buffer.from(word, 'latin1'))
  }
  return words
}

function isSpace(character: string | undefined): boolean {
  return character !== undefined && /[ \f\n\r\t\v]/.test(character)
}

function endsWord(character: string | undefined): boolean {
  return character !== undefined && /[ \n\r\t]/.test(character)
}

function unescaped(text: string): string {
  return text.replaceAll(/\\(?:x([0-9a-fA-F]{2})|([^]))/g, (_all, hex: string | undefined, character: string | undefined) =>
    String.fromCharCode(hex === undefined ? (ESCAPES[character ?? ''] ?? (character ?? '').charCodeAt(0)) : Number.parseInt(hex, 16)),
  )
}

function printable(byte: number): string {
  return byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '?'
}
