/**
 * Words of 32 bits that several threads see, and how one of them waits for another that is in the middle of something.
 */
import { NearcastError } from '../../lib/errors.ts'
import type { Memory } from './web-assembly.ts'

export type SharedWords = Int32Array<SharedArrayBuffer>

/** @throws NearcastError kernel.unsupported when it isn't shared, and other threads would see nothing */
export function sharedWords({ buffer }: Memory): SharedWords {
  if (!(buffer instanceof SharedArrayBuffer)) throw new NearcastError('kernel.unsupported', 'The tables of the proxy need memory that threads share.')
  return new Int32Array(buffer)
}

/** A writer that runs is done within this many looks; one that doesn't run needs this thread's core. */
const SPINS = 200
const NAP_MS = 1

/** One look later. Call it in a loop, counting `turn`: after many it sleeps, as long as the word has that value. */
export function pauseOn(words: SharedWords, position: number, value: number, turn: number): void {
  if (turn >= SPINS) Atomics.wait(words, position, value, NAP_MS)
}
