/** The test's end of redis-writer.ts: load on a database from an app host, and the verdict on what was acknowledged. */
import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Cluster, Database } from './cluster.ts'
import { eventually } from './cluster.ts'
import type { Books, Verdict } from './redis-writer.ts'

const PROCESS = new URL('redis-writer.ts', import.meta.url).pathname

export class Load {
  books: Books = { acknowledged: 0, errors: {} }
  #verdict: Verdict | undefined
  readonly #child: ChildProcess
  #said = ''

  /** `more`: what redis-writer.ts takes behind the key. */
  constructor(cluster: Cluster, place: string, database: Database, key: string, ...more: readonly number[]) {
    this.#child = cluster.on(place, [process.execPath, PROCESS, key, ...more.map(String)], { REDIS_URL: database.url })
    if (this.#child.stdout === null) throw new Error('no standard output')
    this.#child.stderr?.on('data', (chunk: Buffer) => (this.#said = (this.#said + chunk.toString()).slice(-2000)))
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const said = JSON.parse(line) as Books | Verdict
      if ('lost' in said) this.#verdict = said
      else this.books = said
    })
  }

  /** Waits until so many more writes are acknowledged. */
  async more(count: number): Promise<void> {
    const wanted = this.books.acknowledged + count
    await eventually(`${count} more acknowledged writes`, () => this.books.acknowledged >= wanted, () => `${JSON.stringify(this.books)} ${this.#said}`)
  }

  /** Waits for an error that `matches` more often than before. */
  async error(matches: RegExp): Promise<void> {
    const count = (): number => Object.entries(this.books.errors).reduce((sum, [name, times]) => sum + (matches.test(name) ? times : 0), 0)
    const before = count()
    await eventually(`an error like ${matches.source}`, () => count() > before, () => `${JSON.stringify(this.books)} ${this.#said}`)
  }

  /** Ends the load and reads everything back. */
  async verdict(): Promise<Verdict> {
    this.#child.stdin?.end()
    await eventually('the verdict', () => this.#verdict !== undefined || this.#child.exitCode !== null, () => this.#said)
    if (this.#verdict === undefined) throw new Error(`No verdict: ${this.#said}`)
    return this.#verdict
  }
}
