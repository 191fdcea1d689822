/** One app host of the cluster, with dialer.ts running on it: orders go in, outcomes come out, one at a time. */
import { spawn } from 'node:child_process'
import type { ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { programFile } from '../../dev/program-file.ts'
import type { DemoCluster } from '../cluster.ts'
import type { Order, Outcome } from './dialer.ts'

export class ScaleAppHost {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #lines: AsyncIterator<string>
  #last: Promise<unknown> = Promise.resolve()

  private constructor(child: ChildProcessByStdio<Writable, Readable, null>) {
    this.#child = child
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  }

  static async start(cluster: DemoCluster, org: string, region: string): Promise<ScaleAppHost> {
    const words = ['dev', 'exec', '--org', org, '--region', region, '--', process.execPath, programFile('cli/demo/scale/dialer')]
    const host = new ScaleAppHost(spawn(process.execPath, [...cluster.words, ...words], { stdio: ['pipe', 'pipe', 'inherit'] }))
    await host.#line()
    return host
  }

  /** @throws Error when the program has ended. */
  order(order: Order): Promise<Outcome> {
    const answer = this.#last.then(async () => {
      this.#child.stdin.write(`${JSON.stringify(order)}\n`)
      return JSON.parse(await this.#line()) as Outcome
    })
    this.#last = answer.catch(() => undefined)
    return answer
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.stdin.end()
    await ended
  }

  async #line(): Promise<string> {
    const next = await this.#lines.next()
    if (next.done === true) throw new Error('the program on the app host ended')
    return next.value
  }
}
