/**
 * One region of slots, as the writer sees it: open addressing with linear probing. What is taken out leaves no tombstone:
 * the slots behind it move up, and the count of moves is odd meanwhile, so that readers who miss something look again.
 * A slot that moves is written at its new place before its old one is given up.
 */
import { keyedHash } from './keyed-hash.ts'
import { CONTROL, SLOT, SLOT_WORDS } from './layout.ts'
import { homeOf } from './route-table.ts'
import type { SharedWords } from './shared-words.ts'
import { Siblings } from './siblings.ts'

/** What a slot is found by. */
export interface SlotKey {
  /** As words, signed or not. */
  readonly network: number
  readonly high: number
  readonly low: number
}

export interface SlotValue {
  readonly port: number
  readonly generation: number
  readonly policy: number
  readonly service: number
  readonly names: number
}

export class Slots {
  readonly base: number
  readonly capacity: number
  readonly siblings: Siblings
  readonly #words: SharedWords
  readonly #seed: readonly [number, number]
  #count = 0

  /** The region's words must be all zero. */
  constructor(words: SharedWords, base: number, capacity: number, seed: readonly [number, number]) {
    this.#words = words
    this.#seed = seed
    this.base = base
    this.capacity = capacity
    this.siblings = new Siblings(capacity)
  }

  get count(): number {
    return this.#count
  }

  /** Its slot, or the complement (~) of the empty one where it would stand. */
  search({ network, high, low }: SlotKey): number {
    const words = this.#words
    let slot = this.#home(network, high, low)
    for (;;) {
      const at = this.base + slot * SLOT_WORDS
      const present = words[at + SLOT.network]
      if (present === 0) return ~slot
      if (present === (network | 0) && words[at + SLOT.low] === (low | 0) && (words[at + SLOT.highAndPort] ?? 0) >>> 16 === high) return slot
      slot = this.#after(slot)
    }
  }

  /** Into an empty slot, or over what has the same key. */
  write(slot: number, { network, high, low }: SlotKey, { port, generation, policy, service, names }: SlotValue): void {
    const at = this.base + slot * SLOT_WORDS
    if (this.#words[at + SLOT.network] === 0) this.#count++
    this.#store(at, network, low, (high << 16) | port, generation, policy, service, names)
  }

  /** Changes what the service of an address says of it. */
  update(slot: number, port: number, policy: number, names: number): void {
    const words = this.#words
    const at = this.base + slot * SLOT_WORDS
    const version = words[at + SLOT.version] ?? 0
    const highAndPort = ((words[at + SLOT.highAndPort] ?? 0) & 0xffff_0000) | port
    if (words[at + SLOT.highAndPort] === highAndPort && words[at + SLOT.policy] === policy && words[at + SLOT.names] === names) return
    Atomics.store(words, at + SLOT.version, (version + 1) | 0)
    Atomics.store(words, at + SLOT.highAndPort, highAndPort)
    Atomics.store(words, at + SLOT.policy, policy)
    Atomics.store(words, at + SLOT.names, names)
    Atomics.store(words, at + SLOT.version, (version + 2) | 0)
  }

  policyOf(slot: number): number {
    return this.#words[this.base + slot * SLOT_WORDS + SLOT.policy] ?? 0
  }

  remove(slot: number): void {
    const words = this.#words
    this.siblings.unlink(slot)
    Atomics.store(words, CONTROL.moves, ((words[CONTROL.moves] ?? 0) + 1) | 0)
    let hole = slot
    for (let next = this.#after(hole); words[this.base + next * SLOT_WORDS + SLOT.network] !== 0; next = this.#after(next)) {
      if (!this.#mayStandAt(next, hole)) continue
      this.#copy(next, hole)
      hole = next
    }
    this.#clear(hole)
    Atomics.store(words, CONTROL.moves, ((words[CONTROL.moves] ?? 0) + 1) | 0)
    this.#count--
  }

  /** Everything that stands here goes to a region that nobody reads yet. */
  copyTo(other: Slots): void {
    const words = this.#words
    for (let slot = 0; slot < this.capacity; slot++) {
      const at = this.base + slot * SLOT_WORDS
      const network = words[at + SLOT.network] ?? 0
      if (network === 0) continue
      const high = (words[at + SLOT.highAndPort] ?? 0) >>> 16
      const to = ~other.search({ network, high, low: words[at + SLOT.low] ?? 0 })
      words.copyWithin(other.base + to * SLOT_WORDS, at, at + SLOT_WORDS)
      other.#count++
      const owner = this.siblings.ownerOf(slot)
      if (owner >= 0) other.siblings.link(to, owner)
    }
  }

  /** Whether a search for what stands in `slot` comes past `hole`, which lies before it. */
  #mayStandAt(slot: number, hole: number): boolean {
    const words = this.#words
    const at = this.base + slot * SLOT_WORDS
    const home = this.#home(words[at + SLOT.network] ?? 0, (words[at + SLOT.highAndPort] ?? 0) >>> 16, words[at + SLOT.low] ?? 0)
    return hole <= slot ? home <= hole || home > slot : home <= hole && home > slot
  }

  #copy(from: number, to: number): void {
    const words = this.#words
    const at = this.base + from * SLOT_WORDS
    const word = (index: number): number => words[at + index] ?? 0
    this.#store(this.base + to * SLOT_WORDS, word(SLOT.network), word(SLOT.low), word(SLOT.highAndPort), word(SLOT.generation), word(SLOT.policy), word(SLOT.service), word(SLOT.names))
    this.siblings.move(from, to)
  }

  #store(at: number, network: number, low: number, highAndPort: number, generation: number, policy: number, service: number, names: number): void {
    const words = this.#words
    const version = words[at + SLOT.version] ?? 0
    Atomics.store(words, at + SLOT.version, (version + 1) | 0)
    Atomics.store(words, at + SLOT.low, low)
    Atomics.store(words, at + SLOT.highAndPort, highAndPort)
    Atomics.store(words, at + SLOT.generation, generation)
    Atomics.store(words, at + SLOT.policy, policy)
    Atomics.store(words, at + SLOT.service, service)
    Atomics.store(words, at + SLOT.names, names)
    // Last: with it an empty slot begins to be one.
    Atomics.store(words, at + SLOT.network, network)
    Atomics.store(words, at + SLOT.version, (version + 2) | 0)
  }

  #clear(slot: number): void {
    const words = this.#words
    const at = this.base + slot * SLOT_WORDS
    const version = words[at + SLOT.version] ?? 0
    Atomics.store(words, at + SLOT.version, (version + 1) | 0)
    Atomics.store(words, at + SLOT.network, 0)
    Atomics.store(words, at + SLOT.version, (version + 2) | 0)
  }

  #home(network: number, high: number, low: number): number {
    return homeOf(keyedHash(this.#seed[0], this.#seed[1], network | 0, high, low | 0), this.capacity)
  }

  #after(slot: number): number {
    return slot + 1 === this.capacity ? 0 : slot + 1
  }
}
