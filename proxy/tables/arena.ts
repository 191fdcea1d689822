/**
 * Who has which words of the shared memory: whole regions, and cells of a few words cut from chunks. Kept by the writer
 * alone, outside the shared memory. A cell that is given back is only ever given out again as one of the same size and
 * use, so that a late reader finds a version where it expects one.
 */
import { NearcastError } from '../../lib/errors.ts'
import { CONTROL_WORDS } from './layout.ts'

const CHUNK_WORDS = 16_384

/** What a cell is for. */
export type CellUse = 'service' | 'set' | 'names'

interface Region {
  readonly start: number
  readonly words: number
}

export class Arena {
  readonly #words: number
  /** In order, never adjacent. */
  #free: Region[]
  #used = CONTROL_WORDS
  /** use and size -> cells given back */
  readonly #cells = new Map<string, number[]>()
  readonly #chunks = new Map<CellUse, { next: number; end: number; count: number }>()

  constructor(words: number) {
    this.#words = words
    this.#free = [{ start: CONTROL_WORDS, words: words - CONTROL_WORDS }]
  }

  /** @throws NearcastError table.full. What was in it before is still there. */
  takeRegion(words: number): number {
    const index = this.#free.findIndex((region) => region.words >= words)
    const region = this.#free[index]
    if (region === undefined) {
      throw new NearcastError('table.full', `The table of routes has no room for ${words * 4} more bytes of its ${this.#words * 4}; remove addresses, or serve them from more proxies.`)
    }
    const rest = { start: region.start + words, words: region.words - words }
    this.#free.splice(index, 1, ...(rest.words > 0 ? [rest] : []))
    this.#used += words
    return region.start
  }

  freeRegion(start: number, words: number): void {
    const regions = [...this.#free, { start, words }].toSorted((left, right) => left.start - right.start)
    this.#free = []
    for (const region of regions) {
      const last = this.#free.at(-1)
      if (last !== undefined && last.start + last.words === region.start) this.#free.splice(-1, 1, { start: last.start, words: last.words + region.words })
      else this.#free.push(region)
    }
    this.#used -= words
  }

  /** An even position. @throws NearcastError table.full */
  takeCell(use: CellUse, words: number): number {
    const even = words + (words & 1)
    const back = this.#cells.get(`${use}${even}`)?.pop()
    if (back !== undefined) return back
    const chunk = this.#chunks.get(use)
    if (chunk !== undefined && chunk.next + even <= chunk.end) {
      chunk.next += even
      return chunk.next - even
    }
    const start = this.takeRegion(CHUNK_WORDS)
    this.#chunks.set(use, { next: start + even, end: start + CHUNK_WORDS, count: (chunk?.count ?? 0) + 1 })
    return start
  }

  freeCell(use: CellUse, start: number, words: number): void {
    const size = `${use}${words + (words & 1)}`
    const cells = this.#cells.get(size)
    if (cells) cells.push(start)
    else this.#cells.set(size, [start])
  }

  /** Bytes of regions and chunks that are given out. */
  get usedBytes(): number {
    return this.#used * 4
  }

  /** Those of one use alone. */
  bytesFor(use: CellUse): number {
    return (this.#chunks.get(use)?.count ?? 0) * CHUNK_WORDS * 4
  }
}
