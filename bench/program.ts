/**
 * A program that the bench runs: started, waited for until it says that it is ready, ended. Its output is kept, so that one
 * that fails can say why. All of them die with the bench's pid namespace in any case.
 */
import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import type { NetConnectOpts } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

const READY_TIMEOUT_MS = 15_000
const STOP_TIMEOUT_MS = 5000
const KEPT_CHARACTERS = 4000

export class Program {
  readonly #child: ChildProcess
  readonly #name: string
  readonly #closed: Promise<unknown>
  #output = ''

  constructor(command: string, words: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.#name = command.split('/').at(-1) ?? command
    this.#child = spawn(command, words, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => (this.#output = (this.#output + text).slice(-KEPT_CHARACTERS)))
    }
    this.#closed = once(this.#child, 'close').catch(() => undefined)
    this.#child.on('error', (error) => (this.#output += error.message))
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** Until `text` was printed. @throws Error with what it said when it ends or takes too long. */
  async says(text: string): Promise<this> {
    return await this.until(() => this.#output.includes(text))
  }

  /** Until it accepts there. */
  async accepts(place: NetConnectOpts): Promise<this> {
    return await this.until(() => accepts(place))
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_TIMEOUT_MS)
    await ended
    clearTimeout(timer)
  }

  /** All that it has printed, once it has ended by itself. @throws Error when it fails, or takes too long */
  async ended(timeoutMs: number): Promise<string> {
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), timeoutMs)
    await this.#closed
    clearTimeout(timer)
    if (this.#child.exitCode !== 0) throw new Error(`${this.#name} failed: ${this.#output.trim()}`)
    return this.#output
  }

  /** @throws Error with what it said when it ends or takes too long. */
  async until(condition: () => boolean | Promise<boolean>): Promise<this> {
    const startedMs = performance.now()
    while (!(await condition())) {
      const ended = this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined
      if (ended || performance.now() - startedMs > READY_TIMEOUT_MS) {
        this.#child.kill('SIGKILL')
        throw new Error(`${this.#name} ${ended ? 'ended' : 'is not ready'}: ${this.#output.trim()}`)
      }
      await delay(10)
    }
    return this
  }
}

function accepts(place: NetConnectOpts): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(place)
    socket.on('error', () => resolve(false))
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}

/** The first line that a program prints for these words; null when there is no such program. */
export function firstLine(command: string, ...words: string[]): string | null {
  const { error, stdout, stderr } = spawnSync(command, words, { encoding: 'utf8', timeout: 5000 })
  return error ? null : ((stdout + stderr).split('\n')[0] ?? '')
}
