/**
 * Words of 32 bits that several threads see, and how one of them waits for another that is in the middle of something.
 */
export type SharedWords = Int32Array<SharedArrayBuffer>

/** A writer that runs is done within this many looks; one that doesn't run needs this thread's core. */
const SPINS = 200
const NAP_MS = 1

/** One look later. Call it in a loop, counting `turn`: after many it sleeps, as long as the word has that value. */
export function pauseOn(words: SharedWords, position: number, value: number, turn: number): void {
  if (turn >= SPINS) Atomics.wait(words, position, value, NAP_MS)
}
