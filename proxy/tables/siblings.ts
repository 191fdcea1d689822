/**
 * Which slots belong to a service: doubly linked lists through the slots of one region, kept by the writer alone, so that
 * a change of a service reaches its addresses without a search. Services are small numbers (ordinals).
 */
const NONE = -1

export class Siblings {
  readonly #next: Int32Array
  readonly #previous: Int32Array
  readonly #owner: Int32Array
  readonly #heads: number[] = []

  constructor(slots: number) {
    this.#next = new Int32Array(slots)
    this.#previous = new Int32Array(slots)
    this.#owner = new Int32Array(slots).fill(NONE)
  }

  /** The service of a slot; -1: none. */
  ownerOf(slot: number): number {
    return this.#owner[slot] ?? NONE
  }

  /** Its first slot; -1: it has none. */
  first(service: number): number {
    return this.#heads[service] ?? NONE
  }

  *of(service: number): Generator<number> {
    for (let slot = this.first(service); slot !== NONE; slot = this.#next[slot] ?? NONE) yield slot
  }

  link(slot: number, service: number): void {
    const first = this.first(service)
    this.#owner[slot] = service
    this.#next[slot] = first
    this.#previous[slot] = NONE
    if (first !== NONE) this.#previous[first] = slot
    this.#heads[service] = slot
  }

  unlink(slot: number): void {
    const service = this.ownerOf(slot)
    if (service === NONE) return
    this.#join(service, this.#previous[slot] ?? NONE, this.#next[slot] ?? NONE)
    this.#owner[slot] = NONE
  }

  /** What stands in one slot stands in another now, which had nothing. */
  move(from: number, to: number): void {
    const service = this.ownerOf(from)
    this.#owner[to] = service
    this.#owner[from] = NONE
    if (service === NONE) return
    const previous = this.#previous[from] ?? NONE
    const next = this.#next[from] ?? NONE
    this.#join(service, previous, to)
    this.#join(service, to, next)
  }

  #join(service: number, left: number, right: number): void {
    if (left === NONE) this.#heads[service] = right
    else this.#next[left] = right
    if (right !== NONE) this.#previous[right] = left
  }
}
