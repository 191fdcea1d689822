/**
 * One run of one engine: spawned behind its walls, configured through standard input, ended for good.
 *
 * The engine waits for its configuration, so everything that has to be true before it serves (its namespace, the bridge
 * to its primary, its cgroup) is made true while it waits.
 */
import { spawn } from 'node:child_process'
import type { ChildProcessByStdio } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'
import type { EngineDirectory } from './directory.ts'
import { LastWords } from './last-words.ts'
import type { EngineExit, EngineRun } from './run.ts'
import { endInOrder } from './run.ts'
import type { Walls } from './walls.ts'
import { engineCommand, isLockConflict } from './walls.ts'

export class EngineProcess implements EngineRun {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>
  readonly #said = new LastWords(() => this.heard())
  /** It has said something: that it is ready, perhaps. */
  heard: () => void = () => {}
  /** Reaped, too. */
  readonly exited: Promise<EngineExit>
  #over = false

  /** Starts waiting for its configuration. */
  constructor(walls: Walls, directory: EngineDirectory) {
    const [program, ...words] = engineCommand(walls, directory.lockFile, directory.uid)
    // Its own process group, so that a rewriting child ends with it; and nothing of our environment (join tokens).
    const child = spawn(program, words, { cwd: directory.data, env: { PATH: process.env['PATH'] }, stdio: ['pipe', 'pipe', 'pipe'], detached: true })
    this.#child = child
    this.exited = new Promise((resolve) => {
      child.on('error', (error) => resolve(this.#exit(null, error.message)))
      // A rewriting child would hold the lock and the output open after it.
      child.on('exit', () => this.kill())
      child.on('close', (code, signal) => resolve(this.#exit(code, signal === null ? `code ${code}` : signal)))
    })
    // No descriptors left: such a child has no streams, and `error` follows.
    if (child.pid === undefined) return
    this.#said.listen(child.stdout)
    this.#said.listen(child.stderr)
    // It may end before it has read its configuration; `exited` tells.
    child.stdin.on('error', () => {})
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get over(): boolean {
    return this.#over
  }

  configure(text: string): void {
    this.#child.stdin.end(text)
  }

  async stop(timeoutMs: number): Promise<void> {
    if (!this.#over) await endInOrder(this.exited, timeoutMs, (name) => this.#signal(name))
  }

  kill(): void {
    this.#signal('SIGKILL')
  }

  /** One that has no configuration yet ends by itself: it finds its standard input closed. */
  leave(): void {
    this.#child.unref()
    for (const stream of [this.#child.stdin, this.#child.stdout, this.#child.stderr]) stream.destroy()
  }

  #signal(signal: 'SIGTERM' | 'SIGKILL'): void {
    if (this.#over || this.pid === 0) return
    try {
      process.kill(-this.pid, signal)
    } catch {
      this.#child.kill(signal)
    }
  }

  #exit(code: number | null, how: string): EngineExit {
    this.#over = true
    const said = this.#said.lines.join('\n')
    if (isLockConflict(code)) return { reason: 'redis.locked', detail: how }
    const full = /No space left on device|Disk quota exceeded|short write/i.test(said)
    return { reason: full ? 'redis.disk-full' : 'redis.crashed', detail: `${how}: ${this.#said.lines.at(-1) ?? 'it said nothing'}` }
  }
}
