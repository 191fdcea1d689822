/**
 * `npm run fuzz`: the long run over the PROXY codec and the hop's openings, and how far its inputs reach; and over the
 * RESP codec.
 *
 *   npm run fuzz -- --inputs 10000000 --resp-inputs 10000000 --seed 1 --coverage-inputs 300000 --peer-inputs 3000
 *
 * Fails on the first input that is judged wrong (with its seed), when less than 30 % of the inputs get past the first
 * stage, or when another implementation reads other end points from a header that both take.
 */
import { parseArgs } from 'node:util'
import { Random } from '../support/random.ts'
import { measureCoverage } from './coverage.ts'
import { fuzzOnce } from './judge.ts'
import { compare, disagreesWithPackage } from './other-implementations.ts'
import { respOnce } from './resp.ts'

const MIN_PAST_SHARE = 0.3
const REPORT_EVERY = 500_000
/** One in so many inputs goes to proxy-protocol-js, which is slow. */
const PACKAGE_EVERY = 50

const { values } = parseArgs({
  options: {
    inputs: { type: 'string', default: '10000000' },
    seed: { type: 'string', default: String(Date.now() % 0x7fff_ffff) },
    'coverage-inputs': { type: 'string', default: '300000' },
    'peer-inputs': { type: 'string', default: '3000' },
    'resp-inputs': { type: 'string', default: '10000000' },
  },
})
const [inputs, seed, coverageInputs, peerInputs, respInputs] = [values.inputs, values.seed, values['coverage-inputs'], values['peer-inputs'], values['resp-inputs']].map((text) => {
  if (!/^\d+$/.test(text)) throw new Error(`"${text}" is no whole number`)
  return Number(text)
}) as [number, number, number, number, number]

say(`seed ${seed}, ${inputs.toLocaleString('en')} inputs`)
const tally = { states: { done: 0, incomplete: 0, invalid: 0 }, past: 0 }
const wrong: string[] = []
const random = new Random(seed)
const startedMs = performance.now()
for (let input = 0; input < inputs; input++) {
  const bytes = fuzzOnce(random, input, tally)
  if (input % PACKAGE_EVERY === 0) {
    const disagreement = disagreesWithPackage(bytes)
    if (disagreement !== null) wrong.push(disagreement)
  }
  if ((input + 1) % REPORT_EVERY === 0) say(`${(input + 1).toLocaleString('en')} in ${seconds()} s, ${rate(input + 1)}/s`)
}
const share = tally.past / Math.max(1, inputs)
say(`${inputs.toLocaleString('en')} inputs in ${seconds()} s, ${rate(inputs)}/s: ${JSON.stringify(tally.states)}`)
say(`past the first stage: ${(share * 100).toFixed(1)} % (at least ${MIN_PAST_SHARE * 100} %)`)
if (inputs > 0 && share < MIN_PAST_SHARE) wrong.push('too few inputs get past the first stage')

if (coverageInputs > 0) {
  const files = await measureCoverage(seed, coverageInputs)
  const [covered, branches] = [files.reduce((sum, each) => sum + each.covered, 0), files.reduce((sum, each) => sum + each.branches, 0)]
  say(`branches of lib/proxy-protocol after ${coverageInputs.toLocaleString('en')} inputs: ${covered} of ${branches} (${((100 * covered) / branches).toFixed(1)} %)`)
  for (const file of files) {
    say(`  ${file.file.padEnd(18)} ${file.covered} of ${file.branches}`)
    for (const missed of file.missed) say(`    never: ${missed}`)
  }
}

for (const program of peerInputs > 0 ? (['haproxy', 'nginx'] as const) : []) {
  const comparison = await compare(program, new Random(seed), peerInputs)
  if (comparison === null) say(`${program} is not installed: not compared`)
  else {
    const { disagreements, ...counts } = comparison
    say(JSON.stringify({ ...counts, disagreements: disagreements.length }, null, 2))
    wrong.push(...disagreements.map((each) => `${program}: ${each}`))
  }
}
const resp = { whole: 0, invalid: 0, past: 0 }
const respRandom = new Random(seed)
const respStartedMs = performance.now()
try {
  for (let input = 0; input < respInputs; input++) {
    respOnce(respRandom, input, resp)
    if ((input + 1) % REPORT_EVERY === 0) say(`RESP: ${(input + 1).toLocaleString('en')} in ${((performance.now() - respStartedMs) / 1000).toFixed(0)} s`)
  }
  say(`RESP: ${respInputs.toLocaleString('en')} inputs: ${JSON.stringify(resp)}`)
} catch (error) {
  wrong.push(error instanceof Error ? error.message : String(error))
}

for (const each of wrong.slice(0, 20)) say(`wrong: ${each}`)
process.exitCode = wrong.length > 0 ? 1 : 0

function seconds(): string {
  return ((performance.now() - startedMs) / 1000).toFixed(1)
}

function rate(done: number): string {
  return Math.round((done * 1000) / (performance.now() - startedMs)).toLocaleString('en')
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
