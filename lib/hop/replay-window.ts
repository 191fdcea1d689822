/**
 * Anti-replay window without bit shifting (RFC 6479): a ring of 32-bit words of which one is always being refilled.
 *
 * Accepts each counter once, in any order, as long as it isn't older than SIZE below the highest one. Ask it only for
 * counters whose signature has been verified, else a forger moves the window.
 */
const WORD_BITS = 32
const WORDS = 256
/** One word is reserved for the head, which may be partly in the future. */
const SIZE = (WORDS - 1) * WORD_BITS

export class ReplayWindow {
  static readonly size = SIZE
  readonly #words = new Uint32Array(WORDS)
  #highest = -1

  /** @returns true the first time only. Counters above 2^53-1 are refused: nobody counts that far. */
  accept(counter: bigint): boolean {
    if (counter < 0n || counter > BigInt(Number.MAX_SAFE_INTEGER)) return false
    const value = Number(counter)
    if (this.#highest - value >= SIZE) return false
    const word = Math.floor(value / WORD_BITS)
    if (value > this.#highest) this.#advance(word, value)
    const index = word % WORDS
    const bit = 1 << (value % WORD_BITS)
    const held = this.#words[index] ?? 0
    if ((held & bit) !== 0) return false
    this.#words[index] = held | bit
    return true
  }

  #advance(word: number, value: number): void {
    const headWord = Math.floor(this.#highest / WORD_BITS)
    const fresh = Math.min(word - headWord, WORDS)
    for (let step = 1; step <= fresh; step++) this.#words[(headWord + step + WORDS) % WORDS] = 0
    this.#highest = value
  }
}
