/**
 * One run of one engine: spawned behind its walls, configured through standard input, ended for good.
 *
 * The engine waits for its configuration, so everything that has to be true before it serves (its namespace, the bridge
 * to its primary, its cgroup) is made true while it waits.
 */
import { spawn } from 'node:child_process'
import type { ChildProcessByStdio } from 'node:child_process'
import { mkdirSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { NearcastError } from '../../../lib/errors.ts'
import type { ErrorCode } from '../../../lib/errors.ts'
import type { EngineDirectory } from './directory.ts'
import type { Walls } from './walls.ts'
import { engineCommand, isLockConflict } from './walls.ts'

const NAMESPACE_TIMEOUT_MS = 2000
const NAMESPACE_POLL_MS = 1
const SIGNAL_INTERVAL_MS = 100
const TAIL_LINES = 20
const MAX_LINE_CHARACTERS = 400
const MAX_PROCESSES = 64

export interface EngineExit {
  readonly reason: ErrorCode
  /** Code or signal, and the last thing it said. */
  readonly detail: string
}

export class EngineProcess {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>
  readonly #tail: string[] = []
  /** Resolves once it has ended and been reaped. Never rejects. */
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
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8')
      stream.on('data', (text: string) => this.#keep(text))
    }
    // It may end before it has read its configuration; `exited` tells.
    child.stdin.on('error', () => {})
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get over(): boolean {
    return this.#over
  }

  /** `/proc/<pid>/ns/net` once that isn't ours any more. @throws NearcastError redis.crashed */
  async ownNamespace(): Promise<string> {
    const path = `/proc/${this.pid}/ns/net`
    const ours = readlinkSync('/proc/self/ns/net')
    const deadlineMs = performance.now() + NAMESPACE_TIMEOUT_MS
    while (!this.#over && performance.now() < deadlineMs) {
      const theirs = linkOf(path)
      if (theirs !== null && theirs !== ours) return path
      await delay(NAMESPACE_POLL_MS)
    }
    throw new NearcastError('redis.crashed', 'The engine never entered its own network namespace.')
  }

  /** Memory and number of processes; the kernel ends the engine, not its neighbours. */
  limit(cgroup: string, service: string, memoryBytes: number): void {
    const directory = join(cgroup, service)
    mkdirSync(directory, { recursive: true })
    writeFileSync(join(directory, 'memory.max'), String(memoryBytes))
    writeFileSync(join(directory, 'pids.max'), String(MAX_PROCESSES))
    writeFileSync(join(directory, 'cgroup.procs'), String(this.pid))
  }

  configure(text: string): void {
    this.#child.stdin.end(text)
  }

  /** SIGTERM writes and syncs the append-only file; SIGKILL follows. Idempotent. */
  async stop(timeoutMs: number): Promise<void> {
    if (this.#over) return
    this.#signal('SIGTERM')
    // While a first append-only file is being written Redis refuses to end and forgets the signal.
    const again = setInterval(() => this.#signal('SIGTERM'), SIGNAL_INTERVAL_MS)
    const timer = setTimeout(() => this.kill(), timeoutMs)
    await this.exited
    clearInterval(again)
    clearTimeout(timer)
  }

  kill(): void {
    this.#signal('SIGKILL')
  }

  #signal(signal: 'SIGTERM' | 'SIGKILL'): void {
    if (this.#over || this.pid === 0) return
    try {
      process.kill(-this.pid, signal)
    } catch {
      this.#child.kill(signal)
    }
  }

  #keep(text: string): void {
    for (const line of text.split('\n')) if (line.trim() !== '') this.#tail.push(line.slice(0, MAX_LINE_CHARACTERS))
    this.#tail.splice(0, this.#tail.length - TAIL_LINES)
  }

  #exit(code: number | null, how: string): EngineExit {
    this.#over = true
    const said = this.#tail.join('\n')
    if (isLockConflict(code)) return { reason: 'redis.locked', detail: how }
    const full = /No space left on device|Disk quota exceeded|short write/i.test(said)
    return { reason: full ? 'redis.disk-full' : 'redis.crashed', detail: `${how}: ${this.#tail.at(-1) ?? 'it said nothing'}` }
  }
}

function linkOf(path: string): string | null {
  try {
    return readlinkSync(path)
  } catch {
    return null
  }
}
