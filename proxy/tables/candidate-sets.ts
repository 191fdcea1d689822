/**
 * Which nodes hold a service, and in which role, once for all services that are held alike. Kept by the writer; readers
 * see a record of the shared memory (layout.ts).
 */
import type { Arena } from './arena.ts'
import { MAX_CANDIDATES, SET } from './layout.ts'
import type { SharedWords } from './shared-words.ts'

const CELL_WORDS = SET.nodes + MAX_CANDIDATES

export class CandidateSet {
  readonly key: string
  readonly record: number
  uses = 0

  constructor(key: string, record: number) {
    this.key = key
    this.record = record
  }
}

export class CandidateSets {
  readonly #words: SharedWords
  readonly #arena: Arena
  readonly #sets = new Map<string, CandidateSet>()

  constructor(words: SharedWords, arena: Arena) {
    this.#words = words
    this.#arena = arena
  }

  get size(): number {
    return this.#sets.size
  }

  /** One use of the set with these members in this order. @throws NearcastError table.full */
  use(nodes: readonly number[]): CandidateSet {
    const key = nodes.join(' ')
    let set = this.#sets.get(key)
    if (set === undefined) {
      set = new CandidateSet(key, this.#arena.takeCell('set', CELL_WORDS))
      this.#sets.set(key, set)
      this.#write(set, nodes)
    }
    set.uses++
    return set
  }

  /** Ends one use. */
  release(set: CandidateSet): void {
    if (--set.uses > 0) return
    this.#sets.delete(set.key)
    this.#arena.freeCell('set', set.record, CELL_WORDS)
  }

  #write({ record }: CandidateSet, nodes: readonly number[]): void {
    const words = this.#words
    // A cell that never was a set may hold anything, an odd number too.
    const version = (words[record + SET.version] ?? 0) & ~1
    Atomics.store(words, record + SET.version, version + 1)
    Atomics.store(words, record + SET.count, nodes.length)
    nodes.forEach((node, index) => Atomics.store(words, record + SET.nodes + index, node))
    Atomics.store(words, record + SET.version, (version + 2) | 0)
  }
}
