/**
 * Where a reply of an engine ends, in chunks that end anywhere: RESP2 and RESP3, push frames too. Pure.
 *
 * Values aren't built and payload isn't looked at: elements that are still missing are a number, whatever their depth.
 * `reply-decoder.ts` builds values.
 */
import { LengthLine } from './request-reader.ts'

export type ReplyStep = 'more' | 'done' | 'invalid'

/** Longer lines than this no engine sends. */
const MAX_LINE_BYTES = 64 * 1024
const TYPE = 0
const LENGTH = 1
const PAYLOAD = 2
const LINE = 3

const ATTRIBUTE = 0x7c
const CR = 0x0d
const LF = 0x0a

export class ReplyScanner {
  #state = TYPE
  #type = 0
  /** Values until the present frame is whole. */
  #missing = 1
  #missingBytes = 0
  #lineBytes = 0
  #lastByte = 0
  readonly #line = new LengthLine()
  #over = true
  /** What the present frame is hasn't come: nothing of it, or only attributes. */
  #typeMissing = true
  /** Where the last step ended in its chunk. */
  offset = 0
  /** The first byte of the present frame; behind attributes that of what they belong to. */
  type = 0

  /** Between two frames. */
  get idle(): boolean {
    return this.#over
  }

  /** Reads on in `chunk` at `from` until a frame ends or the chunk does. After `invalid` there is no going on. */
  step(chunk: Buffer, from: number): ReplyStep {
    let at = from
    if (this.#over) this.#begin()
    while (at < chunk.length) {
      switch (this.#state) {
        case TYPE: {
          this.#type = chunk[at++] ?? 0
          if (this.#typeMissing && this.#missing === 1) {
            this.type = this.#type
            this.#typeMissing = this.#type === ATTRIBUTE
          }
          const state = STATE_OF[this.#type] ?? null
          if (state === null) return this.#end(at, 'invalid')
          this.#state = state
          break
        }
        case LENGTH: {
          const answer = this.#line.take(chunk[at++] ?? 0)
          if (answer === 'bad' || (answer === 'end' && !this.#measured())) return this.#end(at, 'invalid')
          break
        }
        case PAYLOAD: {
          const end = Math.min(chunk.length, at + this.#missingBytes)
          this.#missingBytes -= end - at
          at = end
          if (this.#missingBytes === 0) this.#value(0)
          break
        }
        default: {
          const newline = chunk.indexOf(LF, at)
          const end = newline < 0 ? chunk.length : newline + 1
          this.#lineBytes += end - at
          const before = end - 2 >= at ? chunk[end - 2] : this.#lastByte
          this.#lastByte = chunk[end - 1] ?? 0
          at = end
          if (this.#lineBytes > MAX_LINE_BYTES || (newline >= 0 && before !== CR)) return this.#end(at, 'invalid')
          if (newline < 0) break
          this.#lineBytes = this.#lastByte = 0
          this.#value(0)
        }
      }
      if (this.#missing === 0) return this.#end(at, 'done')
    }
    return this.#end(at, 'more')
  }

  #begin(): void {
    this.#over = false
    this.#typeMissing = true
    this.#missing = 1
    this.type = 0
  }

  #end(at: number, step: ReplyStep): ReplyStep {
    this.offset = at
    if (step === 'done') this.#over = true
    // Nothing of it has come.
    else if (step === 'more' && this.type === 0) this.#over = true
    return step
  }

  /** One is there, which brings `more`. */
  #value(more: number): void {
    this.#missing += more - 1
    this.#state = TYPE
  }

  #measured(): boolean {
    const length = this.#line.end()
    if (length < -1) return false
    switch (this.#type) {
      case 0x24: // $
      case 0x21: // !
      case 0x3d: // =
        if (length === -1) {
          this.#value(0)
          return this.#type === 0x24
        }
        this.#missingBytes = length + 2
        this.#state = PAYLOAD
        return true
      case 0x25: // %
        this.#value(2 * length)
        return length >= 0
      case ATTRIBUTE: // | comes before the value that it belongs to
        this.#value(2 * length + 1)
        return length >= 0
      default: // * ~ >
        this.#value(Math.max(0, length))
        return length >= 0 || this.#type === 0x2a
    }
  }
}

const STATE_OF: Readonly<Record<number, number>> = Object.fromEntries([
  ...Array.from('$!=%|*~>', (type) => [type.charCodeAt(0), LENGTH]),
  ...Array.from('+-:_#,(', (type) => [type.charCodeAt(0), LINE]),
]) as Record<number, number>
