/** The test's end of wire-process.ts: a bare TCP connection from an app host. */
import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Cluster } from './cluster.ts'
import { eventually } from './cluster.ts'
import type { WireCommand, WireEvent } from './wire-process.ts'

const PROCESS = new URL('wire-process.ts', import.meta.url).pathname

export class Wire {
  readonly events: WireEvent[] = []
  readonly #child: ChildProcess

  /** `place`: an app host, like `acme/mad`. */
  constructor(cluster: Cluster, place: string, host: string, port: number) {
    this.#child = cluster.on(place, [process.execPath, PROCESS, host, String(port)])
    if (this.#child.stdout === null) throw new Error('no standard output')
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.events.push(JSON.parse(line) as WireEvent))
  }

  /** Everything that has come. */
  get text(): string {
    return this.events.map(({ text }) => text ?? '').join('')
  }

  tell(command: WireCommand): void {
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`)
  }

  saw(event: WireEvent['event'], code?: string): boolean {
    return this.events.some((each) => each.event === event && (code === undefined || each.code === code))
  }

  /** Waits for an event, or for text at the end of what has come. */
  async until(wanted: WireEvent['event'] | { readonly text: string }): Promise<void> {
    const happened = (): boolean => (typeof wanted === 'string' ? this.saw(wanted) : this.text.endsWith(wanted.text))
    await eventually(`the wire saw ${JSON.stringify(wanted)}`, () => happened() || this.saw('close'), () => JSON.stringify(this.events))
    if (!happened()) throw new Error(`The wire closed without ${JSON.stringify(wanted)}: ${JSON.stringify(this.events)}`)
  }

  close(): void {
    this.#child.stdin?.end()
  }
}
