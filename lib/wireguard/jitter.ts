/**
 * The random part of a timer, 0 to MAX_JITTER_MS. From a stock of random bytes: packets wait for it, and asking the system costs
 * more than all the rest of sending one.
 */
import { MAX_JITTER_MS } from './constants.ts'
import type { RandomBytes } from './cookies.ts'

const STOCK_BYTES = 256

export class Jitter {
  readonly #random: RandomBytes
  #stock: Uint8Array = new Uint8Array(0)
  #at = 0

  constructor(random: RandomBytes) {
    this.#random = random
  }

  readonly nextMs = (): number => {
    if (this.#at + 2 > this.#stock.length) {
      this.#stock = this.#random(STOCK_BYTES)
      this.#at = 0
    }
    const first = this.#stock[this.#at++] ?? 0
    const second = this.#stock[this.#at++] ?? 0
    return Math.floor((((first << 8) | second) / 0x1_0000) * (MAX_JITTER_MS + 1))
  }
}
