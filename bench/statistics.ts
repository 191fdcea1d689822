/**
 * What is said about measurements: medians, the ratio of medians with its 95 % interval, and the verdict on a goal. Pure.
 *
 * Rounds are interleaved, so the values of one round belong together: the bootstrap draws whole rounds, and what slowed all
 * programs of a round cancels out of the ratio. The seed is fixed: the same values always give the same interval.
 */
import { percentile } from '../lib/distribution.ts'

export type Verdict = 'met' | 'missed' | 'undecided'

export interface Ratio {
  readonly ratio: number
  /** 95 %, percentile bootstrap. */
  readonly interval: readonly [number, number]
}

const RESAMPLES = 4000
const SEED = 0x6e_65_61_72
const TAIL = 0.025

/** NaN for no values. */
export function median(values: readonly number[]): number {
  return percentile(values, 0.5)
}

/**
 * `ours` over the best (smallest) of the `others`, one value a round each. Infinite where the others' is not above 0.
 * @throws RangeError when the numbers of rounds differ or there is nobody to compare with.
 */
export function ratioOfMedians(ours: readonly number[], others: readonly (readonly number[])[]): Ratio {
  if (others.length === 0 || ours.length === 0 || others.some((other) => other.length !== ours.length)) {
    throw new RangeError('a ratio needs the same rounds of both')
  }
  const random = mulberry(SEED)
  const rounds = ours.length
  const drawn = Array.from({ length: RESAMPLES }, () => {
    const picks = Array.from({ length: rounds }, () => Math.floor(random() * rounds))
    const of = (values: readonly number[]): number => median(picks.map((pick) => values[pick] ?? Number.NaN))
    return over(of(ours), Math.min(...others.map(of)))
  })
  return {
    ratio: over(median(ours), Math.min(...others.map(median))),
    interval: [bound(drawn, TAIL), bound(drawn, 1 - TAIL)],
  }
}

/** Met when the upper end is within the goal, missed when the lower end is beyond it, else undecided. */
export function verdict([low, high]: readonly [number, number], goal: number): Verdict {
  if (high <= goal) return 'met'
  return low > goal ? 'missed' : 'undecided'
}

function over(ours: number, theirs: number): number {
  return theirs > 0 ? ours / theirs : Number.POSITIVE_INFINITY
}

/** No interpolation: between a number and infinity there is nothing. */
function bound(values: readonly number[], share: number): number {
  return Float64Array.from(values).toSorted()[Math.round((values.length - 1) * share)] ?? Number.NaN
}

/** Mulberry32: small, and good enough to draw rounds. 0 <= x < 1 */
function mulberry(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b_79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000
  }
}
