/**
 * The private world of a cluster, seen from outside: starts process 1 (inside.ts) in fresh namespaces and talks to it.
 *
 * Nobody has to clean up: PDEATHSIG ends unshare with this process and process 1 with unshare, the closed channel tells
 * process 1 as well, and with process 1 the kernel ends everything that it made. Listening sockets of the outside are
 * inherited by process 1 as descriptors 4, 5, …
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { NearcastError } from '../../lib/errors.ts'
import type { ErrorCode } from '../../lib/errors.ts'
import type { InsideMessage, Operation, Requests } from './inside-protocol.ts'
import { programFile } from './program-file.ts'

const HELLO_TIMEOUT_MS = 15_000
const ERROR_TAIL_CHARACTERS = 2000
/** Behind standard input, output, error and the IPC channel. */
export const FIRST_INHERITED_FD = 4

interface Waiting {
  readonly resolve: (answer: unknown) => void
  readonly reject: (error: Error) => void
}

export class World {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, Waiting>()
  #number = 0
  #errors = ''
  #hello: (() => void) | undefined
  /** Process 1 as the outside numbers it. */
  insidePid = 0
  /** Resolves, with the reason, once the world is gone. */
  readonly ended: Promise<string>

  private constructor(fds: readonly number[]) {
    const unshare = ['unshare', '--user', '--map-root-user', '--mount', '--net', '--pid', '--fork', '--mount-proc', '--kill-child']
    const node = [process.execPath, '--disable-warning=ExperimentalWarning', programFile('cli/dev/inside')]
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...unshare, '--', ...node], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc', ...fds],
      env: { PATH: process.env['PATH'], LANG: process.env['LANG'], NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] },
      cwd: '/',
    })
    this.#child = child
    child.stderr?.on('data', (data: Buffer) => (this.#errors = (this.#errors + data.toString()).slice(-ERROR_TAIL_CHARACTERS)))
    child.on('message', (message) => this.#receive(message as InsideMessage))
    this.ended = new Promise((resolve) => {
      child.on('error', (error) => resolve(error.message))
      child.on('exit', (code, signal) => resolve(said(this.#errors) || `it ended by ${signal ?? `code ${code}`}`))
    })
    void this.ended.then((reason) => this.#failAll(reason))
  }

  /** `fds` stay open here too; close them once this has resolved. @throws NearcastError dev.failed */
  static async open(fds: readonly number[]): Promise<World> {
    const world = new World(fds)
    const hello = new Promise<'hello'>((resolve) => {
      world.#hello = () => resolve('hello')
    })
    const timeout = new AbortController()
    const late = delay(HELLO_TIMEOUT_MS, 'no sign of life', { signal: timeout.signal }).catch(() => 'cancelled')
    const first = await Promise.race([hello, world.ended, late])
    timeout.abort()
    if (first !== 'hello') {
      await world.close()
      throw new NearcastError('dev.failed', `The cluster's namespaces couldn't be made: ${first}.`)
    }
    world.insidePid = childOf(world.#child.pid ?? 0)
    return world
  }

  /** @throws NearcastError as the inside reports it; dev.failed when the world ends first. */
  call<Name extends Operation>(operation: Name, ask: Requests[Name]['ask']): Promise<Requests[Name]['answer']> {
    const number = this.#number++
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve: (answer) => resolve(answer as Requests[Name]['answer']), reject })
      this.#child.send({ number, operation, ask }, (error) => {
        if (error !== null) this.#settle(number)?.reject(new NearcastError('dev.failed', `The cluster is gone: ${error.message}.`))
      })
    })
  }

  /** Ends everything inside, at once. Resolves when nothing of it is left. Idempotent. */
  async close(): Promise<void> {
    const pids = [this.insidePid, this.#child.pid ?? 0].filter((pid) => pid > 0)
    // Process 1 first: unshare waits for it, and the kernel lets it go only after every other process in there.
    if (this.#child.exitCode === null && this.#child.signalCode === null) kill(pids[0] ?? 0)
    await this.ended
    while (pids.some(isAlive)) await delay(5)
  }

  #receive(message: InsideMessage): void {
    if (message.type === 'hello') return this.#hello?.()
    const waiting = this.#settle(message.number)
    if (message.type === 'answer') waiting?.resolve(message.answer)
    // The code comes from the same table, through another process.
    else waiting?.reject(new NearcastError(message.code as ErrorCode, message.message))
  }

  #settle(number: number): Waiting | undefined {
    const waiting = this.#waiting.get(number)
    this.#waiting.delete(number)
    return waiting
  }

  #failAll(reason: string): void {
    for (const { reject } of this.#waiting.values()) reject(new NearcastError('dev.failed', `The cluster ended: ${reason}.`))
    this.#waiting.clear()
  }
}

function childOf(parent: number): number {
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    try {
      // The name may hold anything, brackets too: fields count from the last one.
      const fields = readFileSync(`/proc/${entry}/stat`, 'latin1').replace(/^.*\) /s, '').split(' ')
      if (Number(fields[1]) === parent) return Number(entry)
    } catch {
      // It ended while we looked.
    }
  }
  throw new NearcastError('dev.failed', `Process ${parent} has no child.`)
}

function kill(pid: number): void {
  try {
    if (pid > 0) process.kill(pid, 'SIGKILL')
  } catch {
    // Gone already.
  }
}

/** A zombie counts as gone: nothing of it is left but its number. */
function isAlive(pid: number): boolean {
  try {
    return !/\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return false
  }
}

/** unshare has something to say of its own when its child is killed, which says nothing to anybody. */
function said(errors: string): string {
  return errors
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.includes('sigprocmask'))
    .join(' ')
}
