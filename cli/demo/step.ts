/** What a step of the story is, what it is given, and the few words that all steps use. */
import type { DemoCluster, Finished } from './cluster.ts'

export interface StepContext {
  readonly cluster: DemoCluster
  /** Shows a line of real output under the step. */
  readonly show: (text: string) => void
  /** What earlier steps found out. */
  readonly memory: Memory
}

export interface Memory {
  url: string
  address: string
  globexUrl: string
  /** Of the database that is left alone until it rests. */
  idleUrl: string
  /** Redis's run_id of acme/cache's engine per region: tells which node has answered. */
  engines: Map<string, string>
}

export interface Step {
  readonly name: string
  readonly title: string
  /** It touches nothing that others do: it may run at the same time as its neighbours that say so, too. */
  readonly beside?: true
  /** @throws Skipped when this machine lacks what the step needs, any other Error when the promise doesn't hold. */
  readonly run: (context: StepContext) => Promise<void>
}

/** Says why, in words. */
export class Skipped extends Error {}

/** Healing takes probe interval x thresholds plus a process start, which a busy machine stretches; more than this is a failure. */
const HEAL_TIMEOUT_MS = 45_000

export function check(condition: boolean, sentence: string): asserts condition {
  if (!condition) throw new Error(sentence)
}

export const said = (finished: Finished): string => (finished.stdout.trim() || finished.stderr.trim()).split('\n').slice(0, 12).join('\n')

export async function until(what: string, condition: () => Promise<boolean>, timeoutMs = HEAL_TIMEOUT_MS): Promise<number> {
  const started = performance.now()
  while (!(await condition())) {
    check(performance.now() - started < timeoutMs, `${what}: not within ${timeoutMs / 1000} s.`)
    await new Promise((resolve) => {
      setTimeout(resolve, 100)
    })
  }
  return performance.now() - started
}
