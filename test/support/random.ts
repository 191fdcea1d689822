/**
 * Seeded random numbers for tests (mulberry32). The seed is NEARCAST_SEED or the time, and is printed, so that a
 * failure can be repeated: `NEARCAST_SEED=<seed> npx vitest run <file>`.
 */
export class Random {
  readonly seed: number
  #state: number

  constructor(seed: number) {
    this.seed = seed >>> 0
    this.#state = this.seed
  }

  /** 0 <= n < limit */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b_79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000) * limit)
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256))
  }

  pick<const Item>(items: readonly [Item, ...Item[]]): Item {
    return items[this.below(items.length)] ?? items[0]
  }
}

/** Also the seed for fast-check: `fc.assert(property, { seed: testSeed('name') })`. */
export function testSeed(name: string): number {
  const given = process.env['NEARCAST_SEED']
  const seed = given === undefined ? Date.now() % 0x7fff_ffff : Number(given)
  process.stdout.write(`${name}: NEARCAST_SEED=${seed}\n`)
  return seed
}
