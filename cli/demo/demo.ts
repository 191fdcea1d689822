/**
 * `nearcast demo`: runs the story against a cluster that it starts itself, shows each step with its real output and
 * verdict, and ends the cluster. With --json the last line is `{"steps":[{"name","ok",…}],"ok":true}`; a step that this
 * machine can't run is `{"name","ok":true,"skipped":"why"}`.
 */
import type { WantedPlane } from '../../lib/plane/wanted.ts'
import { colours } from '../colours.ts'
import { DemoCluster } from './cluster.ts'
import { openNext, Page } from './page.ts'
import { STORY } from './story.ts'
import { Skipped } from './step.ts'
import type { Memory, Step, StepContext } from './step.ts'

export interface DemoOptions {
  readonly json: boolean
  /** The script behind `nearcast`. */
  readonly entry: string
  /** Steps to run; the ones they build on (create, set-get) run always. Empty: all. */
  readonly only?: readonly string[]
  /** Of the cluster, instead of the default. */
  readonly plane?: WantedPlane
}

interface StepResult {
  readonly name: string
  readonly ok: boolean
  readonly ms: number
  readonly error?: string
  /** Why it was not run; `ok` is true then. */
  readonly skipped?: string
}

const FOUNDATION = new Set(['create', 'set-get'])
/** Of steps that may: two cores have more to do than to wait. */
const AT_ONCE = 3

/** @returns whether every step held. */
export async function demo(options: DemoOptions): Promise<boolean> {
  // With --json people's text goes to standard error, so that standard output stays one line for programs.
  const print = (line: string): void => void (options.json ? process.stderr : process.stdout).write(`${line}\n`)
  const results: StepResult[] = []
  const started = performance.now()
  print(colours.bold('Starting a cluster of four hosts in three regions'))
  const cluster = await DemoCluster.start(options.entry, (line) => print(colours.dim(`  ${line}`)), { plane: options.plane })
  const stop = (): void => void cluster.stop()
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  results.push({ name: 'start', ok: true, ms: performance.now() - started })
  const memory: Memory = { url: '', address: '', globexUrl: '', idleUrl: '', engines: new Map() }
  const only = new Set(options.only ?? [])
  try {
    const steps = STORY.filter(({ name }) => only.size === 0 || only.has(name) || FOUNDATION.has(name))
    for (const act of acts(steps)) {
      const pages = act.map((step) => new Page(step.title, print))
      pages[0]?.open()
      const next = act.entries()
      const work = async (): Promise<void> => {
        for (const [index, step] of next) {
          const page = pages[index]
          if (page) results.push(await perform(step, { cluster, show: (text) => page.write(text.replaceAll(/^/gm, '  ')), memory }, page))
          if (page?.isOpen) openNext(pages)
        }
      }
      await Promise.all(Array.from({ length: Math.min(act.length, AT_ONCE) }, work))
    }
    const order = steps.map(({ name }) => name)
    results.sort((left, right) => order.indexOf(left.name) - order.indexOf(right.name))
  } finally {
    process.off('SIGINT', stop)
    process.off('SIGTERM', stop)
    await cluster.stop()
  }
  const ok = results.every((result) => result.ok)
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  const held = results.filter((each) => each.ok && each.skipped === undefined).length
  const skipped = results.filter((each) => each.skipped !== undefined).length
  const count = `${held} of ${results.length} steps${skipped === 0 ? '' : `, ${skipped} skipped,`} in ${seconds} s`
  print(`\n${ok ? colours.green('The story holds') : colours.red('The story does not hold')}: ${count}`)
  if (options.json) process.stdout.write(`${JSON.stringify({ steps: results, ok })}\n`)
  return ok
}

/** Steps that run one after the other, and those that run at the same time. */
function acts(steps: readonly Step[]): Step[][] {
  const found: Step[][] = []
  for (const step of steps) {
    const last = found.at(-1)
    if (step.beside === true && last?.at(-1)?.beside === true) last.push(step)
    else found.push([step])
  }
  return found
}

/** Never rejects. */
async function perform(step: Step, context: StepContext, page: Page): Promise<StepResult> {
  const begun = performance.now()
  const failure = await step.run(context).then(
    () => null,
    (reason: unknown) => (reason instanceof Error ? reason : new Error(String(reason))),
  )
  const result: StepResult = { name: step.name, ms: Math.round(performance.now() - begun), ...verdict(failure) }
  page.write(verdictLine(result))
  page.end()
  return result
}

/** What a step's end means. */
export function verdict(failure: Error | null): Pick<StepResult, 'ok' | 'error' | 'skipped'> {
  if (failure === null) return { ok: true }
  return failure instanceof Skipped ? { ok: true, skipped: failure.message } : { ok: false, error: failure.message }
}

function verdictLine({ name, ms, error, skipped }: StepResult): string {
  if (skipped !== undefined) return colours.yellow(`  - ${name} skipped: ${skipped}`)
  return error === undefined ? colours.green(`  ✓ ${name} (${ms} ms)`) : colours.red(`  ✗ ${name}: ${error}`)
}
