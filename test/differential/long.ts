/**
 * `npm run differential`: the long run of the differential test (test/interop/redis-differential.test.ts is the short one).
 *
 *   npm run differential -- --commands 200000 --seed 1
 *
 * Says so many commands each way (passed on, read) in each protocol to a bare engine and to ours. Fails on any difference that
 * isn't intended, and tells which commands no arguments were found for that an engine takes.
 */
import { parseArgs } from 'node:util'
import { Random } from '../support/random.ts'
import { isDenied } from './intended.ts'
import { answersLogins, Batches, carriedOut, compare, described, docsOf, payloadsOf } from './run.ts'
import type { Difference } from './run.ts'
import { startSides, WAYS } from './sides.ts'

const BATCH = 60
const MOST_SHOWN = 20

const { values } = parseArgs({ options: { commands: { type: 'string', default: '200000' }, seed: { type: 'string', default: String(Date.now() % 0x7fff_ffff) } } })
const [wanted, seed] = [Number(values.commands), Number(values.seed)]
if (!Number.isSafeInteger(wanted) || !Number.isSafeInteger(seed)) throw new Error('--commands and --seed are whole numbers')

say(`seed ${seed}, ${wanted.toLocaleString('en')} commands each way and protocol`)
const random = new Random(seed)
const sides = await startSides()
const differences: Difference[] = []
const succeeded = new Set<string>()
let total = 0
try {
  const docs = await docsOf(sides.bare)
  const batches = new Batches(random, docs, await payloadsOf(sides.bare), await answersLogins(sides.bare))
  const own = docs.filter(({ name }) => !isDenied(name))
  for (const way of WAYS) {
    for (const version of [2, 3] as const) {
      const startedMs = performance.now()
      let said = 0
      while (said < wanted && differences.length < MOST_SHOWN) {
        for (const batch of [batches.beginning(version), ...batches.all(version, BATCH), ...Array.from({ length: 20 }, () => batches.stateful(version, BATCH / 4))]) {
          differences.push(...(await compare(batch, sides.bare, sides.ours[way], random.below(3) === 0 ? random : null)))
          said += batch.commands.length
          // What differs once goes on differing.
          if (differences.length >= MOST_SHOWN) break
        }
      }
      total += said
      say(`${way}, RESP${version}: ${said.toLocaleString('en')} commands in ${((performance.now() - startedMs) / 1000).toFixed(0)} s, ${differences.length} differences`)
    }
  }
  // Which are well-formed, asked of the bare engine alone.
  for (let round = 0; round < 20; round++) {
    for (const batch of [batches.beginning(2), ...batches.all(2, BATCH)]) if (batch.kind === 'plain') for (const name of await carriedOut(batch, sides.bare)) succeeded.add(name)
  }
  const never = own.filter(({ name }) => !succeeded.has(name)).map(({ name }) => name)
  say(`${docs.length} commands, ${docs.length - own.length} of them denied; ${total.toLocaleString('en')} said; never carried out in a plain batch: ${never.join(' ')}`)
} finally {
  await sides.close()
}
for (const difference of differences.slice(0, MOST_SHOWN)) say(described(difference))
process.exitCode = differences.length > 0 ? 1 : 0

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
