/**
 * Hostile bytes for the decoders: the short run. `npm run fuzz` is the long one, with coverage and other implementations.
 *
 * NEARCAST_SEED repeats a run, NEARCAST_FUZZ_INPUTS makes it longer.
 */
import { expect, test } from 'vitest'
import { decode } from '../../lib/proxy-protocol/decode.ts'
import { encodeV1, encodeV2 } from '../../lib/proxy-protocol/encode.ts'
import { Random, testSeed } from '../support/random.ts'
import { damaged } from './hostile-inputs.ts'
import type { Tally } from './judge.ts'
import { fuzzOnce, structurallySame } from './judge.ts'

const INPUTS = Number(process.env['NEARCAST_FUZZ_INPUTS'] ?? 100_000)

test(`${INPUTS} hostile inputs`, { timeout: 120_000 }, () => {
  const random = new Random(testSeed('fuzz proxy-protocol'))
  const tally: Tally = { states: { done: 0, incomplete: 0, invalid: 0 }, past: 0 }
  for (let input = 0; input < INPUTS; input++) fuzzOnce(random, input, tally)
  // Noise that fails at its first byte proves nothing: the inputs must reach every answer.
  expect(tally.past / INPUTS).toBeGreaterThan(0.3)
  for (const count of Object.values(tally.states)) expect(count / INPUTS).toBeGreaterThan(0.05)
})

test('what a damaged header still says can be encoded again and says the same', () => {
  const random = new Random(testSeed('fuzz proxy-protocol again'))
  let again = 0
  for (let input = 0; input < 20_000; input++) {
    const answer = decode(damaged(random))
    if (answer.state !== 'done') continue
    again++
    const { header } = answer
    const tlvs = header.version === 2 ? header.tlvs.filter((tlv) => tlv.type !== 0x03) : []
    const bytes = header.version === 1 ? encodeV1(header.addresses) : encodeV2({ command: header.command, addresses: header.addresses, tlvs })
    const second = decode(bytes)
    if (second.state !== 'done') throw new Error(`not sound any more, seed ${random.seed}: ${Buffer.from(bytes).toString('hex')}`)
    expect(structurallySame(second.header.addresses, header.addresses)).toBe(true)
  }
  expect(again).toBeGreaterThan(1000)
})
