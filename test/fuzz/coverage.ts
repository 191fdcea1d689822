/**
 * Which branches of lib/proxy-protocol the fuzz inputs reach, by V8's own block coverage. Runs as a worker, because counting
 * costs speed: an isolate of its own, over the first inputs of the same seed. Branches are V8's: a function, and each block
 * in it that may run another number of times than what surrounds it.
 */
import { readFileSync } from 'node:fs'
import { Session } from 'node:inspector/promises'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parentPort, Worker, workerData } from 'node:worker_threads'
import { z } from 'zod'

const COVERED = join(import.meta.dirname, '../../lib/proxy-protocol')
const asked = z.object({ seed: z.number(), inputs: z.number() })
const fileCoverage = z.object({
  file: z.string(),
  branches: z.number(),
  covered: z.number(),
  /** `line: text` of what never ran. */
  missed: z.array(z.string()),
})
export type FileCoverage = z.infer<typeof fileCoverage>

export function measureCoverage(seed: number, inputs: number): Promise<FileCoverage[]> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: { seed, inputs } })
    worker.on('message', (message: unknown) => resolve(z.array(fileCoverage).parse(message)))
    worker.on('error', reject)
    worker.on('exit', (code) => reject(new Error(`the coverage worker ended with ${code}`)))
  })
}

async function measure(): Promise<FileCoverage[]> {
  const { seed, inputs } = asked.parse(workerData)
  const session = new Session()
  session.connect()
  await session.post('Profiler.enable')
  await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
  // Loaded only now: what was compiled before isn't counted.
  const [{ fuzzOnce }, { Random }] = await Promise.all([import('./judge.ts'), import('../support/random.ts')])
  const random = new Random(seed)
  const tally = { states: { done: 0, incomplete: 0, invalid: 0 }, past: 0 }
  for (let input = 0; input < inputs; input++) fuzzOnce(random, input, tally)
  const { result } = await session.post('Profiler.takePreciseCoverage')
  session.disconnect()
  return result
    .filter(({ url }) => url.startsWith('file:') && dirname(fileURLToPath(url)) === COVERED)
    .map(({ url, functions }) => {
      const source = readFileSync(fileURLToPath(url), 'utf8')
      const ranges = functions.flatMap((each) => each.ranges)
      const never = ranges.filter(({ count }) => count === 0)
      const missed = never.map(({ startOffset, endOffset }) => {
        const line = source.slice(0, startOffset).split('\n').length
        return `${line}: ${source.slice(startOffset, endOffset).trim().replaceAll(/\s+/g, ' ').slice(0, 80)}`
      })
      return { file: basename(fileURLToPath(url)), branches: ranges.length, covered: ranges.length - never.length, missed }
    })
    .toSorted((left, right) => left.file.localeCompare(right.file))
}

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker's port has no origin
if (parentPort !== null && workerData !== null && asked.safeParse(workerData).success) parentPort.postMessage(await measure())
