/**
 * Who is due first, of many whose deadlines mostly move away before they come: a heap that is told about nearer
 * deadlines only. A later one is found out when the old one comes up, so packets cost nothing here. Pure.
 */
interface Entry<Item> {
  readonly atMs: number
  readonly item: Item
}

export class Deadlines<Item> {
  readonly #heap: Entry<Item>[] = []
  readonly #scheduled = new Map<Item, number>()

  /** The time at which `take` is worth asking; Infinity for never. */
  get nextMs(): number {
    return this.#heap[0]?.atMs ?? Infinity
  }

  /** Tells that the item is due at this time; ignored when it is looked at earlier anyway. */
  note(item: Item, atMs: number): void {
    if (atMs === Infinity || atMs >= (this.#scheduled.get(item) ?? Infinity)) return
    this.#scheduled.set(item, atMs)
    this.#heap.push({ atMs, item })
    this.#up(this.#heap.length - 1)
  }

  forget(item: Item): void {
    this.#scheduled.delete(item)
  }

  /** One whose time has come: ask it for its deadline, and note that. */
  take(nowMs: number): Item | null {
    for (let first = this.#heap[0]; first !== undefined && first.atMs <= nowMs; first = this.#heap[0]) {
      this.#removeFirst()
      // Entries of forgotten items, and those that an earlier one replaced, are left behind.
      if (this.#scheduled.get(first.item) !== first.atMs) continue
      this.#scheduled.delete(first.item)
      return first.item
    }
    return null
  }

  #removeFirst(): void {
    const last = this.#heap.pop()
    if (last === undefined || this.#heap.length === 0) return
    this.#heap[0] = last
    this.#down(0)
  }

  #at(index: number): number {
    return this.#heap[index]?.atMs ?? Infinity
  }

  #up(from: number): void {
    for (let index = from; index > 0; ) {
      const parent = (index - 1) >> 1
      if (this.#at(parent) <= this.#at(index)) return
      this.#swap(parent, index)
      index = parent
    }
  }

  #down(from: number): void {
    for (let index = from; ; ) {
      const left = 2 * index + 1
      const child = this.#at(left + 1) < this.#at(left) ? left + 1 : left
      if (this.#at(child) >= this.#at(index)) return
      this.#swap(child, index)
      index = child
    }
  }

  #swap(left: number, right: number): void {
    const [a, b] = [this.#heap[left], this.#heap[right]]
    if (a === undefined || b === undefined) return
    this.#heap[left] = b
    this.#heap[right] = a
  }
}
