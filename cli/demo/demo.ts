/**
 * `nearcast demo`: runs the story against a cluster that it starts itself, shows each step with its real output and
 * verdict, and ends the cluster. With --json the last line is `{"steps":[{"name","ok",…}],"ok":true}`.
 */
import { colours } from '../output.ts'
import { DemoCluster } from './cluster.ts'
import { STORY } from './story.ts'
import type { Memory } from './story.ts'

export interface DemoOptions {
  readonly json: boolean
  /** The script behind `nearcast`. */
  readonly entry: string
  /** Steps to run; the ones they build on (create, set-get) run always. Empty: all. */
  readonly only?: readonly string[]
}

interface StepResult {
  readonly name: string
  readonly ok: boolean
  readonly ms: number
  readonly error?: string
}

const FOUNDATION = new Set(['create', 'set-get'])

/** @returns whether every step held. */
export async function demo(options: DemoOptions): Promise<boolean> {
  // With --json people's text goes to standard error, so that standard output stays one line for programs.
  const print = (line: string): void => void (options.json ? process.stderr : process.stdout).write(`${line}\n`)
  const results: StepResult[] = []
  const started = performance.now()
  print(colours.bold('Starting a cluster of four hosts in three regions'))
  const cluster = await DemoCluster.start(options.entry, (line) => print(colours.dim(`  ${line}`)))
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
      const error = await step.run({ cluster, show, memory }).then(
        () => undefined,
        (reason: unknown) => (reason instanceof Error ? reason.message : String(reason)),
      )
      const ms = Math.round(performance.now() - begun)
      results.push({ name: step.name, ok: error === undefined, ms, ...(error !== undefined && { error }) })
      print(error === undefined ? colours.green(`  ✓ ${step.name} (${ms} ms)`) : colours.red(`  ✗ ${step.name}: ${error}`))
    }
  } finally {
    process.off('SIGINT', stop)
    process.off('SIGTERM', stop)
    await cluster.stop()
  }
  const ok = results.every((result) => result.ok)
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  print(`\n${ok ? colours.green('The story holds') : colours.red('The story does not hold')}: ${results.filter((each) => each.ok).length} of ${results.length} steps in ${seconds} s`)
  if (options.json) process.stdout.write(`${JSON.stringify({ steps: results, ok })}\n`)
  return ok
}
