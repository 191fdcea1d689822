/**
 * `nearcast demo`: runs the story against a cluster that it starts itself, shows each step with its real output and
 * verdict, and ends the cluster. With --json the last line is `{"steps":[{"name","ok",…}],"ok":true}`; a step that this
 * machine can't run is `{"name","ok":true,"skipped":"why"}`.
 */
import type { WantedPlane } from '../../lib/plane/wanted.ts'
import { colours } from '../output.ts'
import { DemoCluster } from './cluster.ts'
import { STORY } from './story.ts'
import { Skipped } from './step.ts'
import type { Memory } from './step.ts'

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
  const memory: Memory = { url: '', address: '', globexUrl: '', engines: new Map() }
  const only = new Set(options.only ?? [])
  try {
    for (const step of STORY.filter(({ name }) => only.size === 0 || only.has(name) || FOUNDATION.has(name))) {
      print(`\n${colours.bold(step.title)}`)
      const begun = performance.now()
      const show = (text: string): void => print(text.replaceAll(/^/gm, '  '))
      const failure = await step.run({ cluster, show, memory }).then(
        () => null,
        (reason: unknown) => (reason instanceof Error ? reason : new Error(String(reason))),
      )
      const ms = Math.round(performance.now() - begun)
      const result: StepResult = { name: step.name, ms, ...verdict(failure) }
      results.push(result)
      print(verdictLine(result))
    }
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

/** What a step's end means. */
export function verdict(failure: Error | null): Pick<StepResult, 'ok' | 'error' | 'skipped'> {
  if (failure === null) return { ok: true }
  return failure instanceof Skipped ? { ok: true, skipped: failure.message } : { ok: false, error: failure.message }
}

function verdictLine({ name, ms, error, skipped }: StepResult): string {
  if (skipped !== undefined) return colours.yellow(`  - ${name} skipped: ${skipped}`)
  return error === undefined ? colours.green(`  ✓ ${name} (${ms} ms)`) : colours.red(`  ✗ ${name}: ${error}`)
}
