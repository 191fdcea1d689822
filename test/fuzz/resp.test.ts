/** Hostile bytes for the RESP codec: the short run. `npm run fuzz` is the long one. NEARCAST_SEED repeats a run. */
import { expect, test } from 'vitest'
import { Random, testSeed } from '../support/random.ts'
import { respOnce } from './resp.ts'

const INPUTS = Number(process.env['NEARCAST_FUZZ_INPUTS'] ?? 30_000)

test(`${INPUTS} hostile requests and replies`, { timeout: 120_000 }, () => {
  const random = new Random(testSeed('fuzz resp'))
  const tally = { whole: 0, invalid: 0, past: 0 }
  for (let input = 0; input < INPUTS; input++) respOnce(random, input, tally)
  expect(tally.whole / INPUTS).toBeGreaterThan(0.2)
  expect(tally.invalid / INPUTS).toBeGreaterThan(0.1)
  expect(tally.past / INPUTS).toBeGreaterThan(0.2)
})
