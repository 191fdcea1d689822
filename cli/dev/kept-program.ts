/**
 * One program of the cluster, kept alive: started in its host's namespace, its output appended to its log, started again
 * when it ends by itself. Steering it (stop, kill, pause) is what `nearcast dev stop|kill|pause` do.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { closeSync, fstatSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { NearcastError } from '../../lib/errors.ts'

export interface ProgramSpec {
  /** `mad-1/proxy`: its host and its kind. */
  readonly id: string
  /** Network namespace that it runs in. */
  readonly namespace: string
  readonly command: readonly [string, ...string[]]
  readonly env: Readonly<Record<string, string>>
  /** Descriptors of the keeper's own process that it gets as 3, 4, … */
  readonly fds?: readonly number[]
  readonly logFile: string
}

export const VERBS = ['stop', 'start', 'kill', 'pause', 'resume', 'drill'] as const
export type Verb = (typeof VERBS)[number]
export type ProgramState = 'running' | 'paused' | 'restarting' | 'stopping' | 'stopped'

/** Doesn't come back by itself. */
export function isHeld(state: string): boolean {
  return state === 'stopped' || state === 'paused'
}

export interface ProgramStatus {
  readonly id: string
  readonly state: ProgramState
  readonly pid: number | null
  readonly restarts: number
}

const BACKOFF_MIN_MS = 200
const BACKOFF_MAX_MS = 5000
/** One that lived this long starts again at once. */
const SETTLED_MS = 10_000
const STOP_TIMEOUT_MS = 8000
const LOG_LIMIT_BYTES = 32 << 20

export class KeptProgram {
  readonly spec: ProgramSpec
  #child: ChildProcess | undefined
  #state: ProgramState = 'stopped'
  #restarts = 0
  #backoffMs = BACKOFF_MIN_MS
  #timer: NodeJS.Timeout | undefined
  readonly #log: number

  constructor(spec: ProgramSpec) {
    this.spec = spec
    this.#log = openSync(spec.logFile, 'a', 0o600)
  }

  get status(): ProgramStatus {
    return { id: this.spec.id, state: this.#state, pid: this.#child?.pid ?? null, restarts: this.#restarts }
  }

  async steer(verb: Verb): Promise<void> {
    if (verb === 'start') return this.start()
    if (verb === 'stop') return this.stop()
    const child = this.#child
    if (child === undefined) throw new NearcastError('dev.failed', `${this.spec.id} isn't running; start it with "nearcast dev start ${this.spec.id}".`)
    if (verb === 'kill') {
      const ended = exited(child)
      child.kill('SIGKILL')
      await ended
    } else if (verb === 'drill') {
      // Others would end by it.
      if (!this.spec.id.endsWith('/proxy')) throw new NearcastError('cli.usage', `Only a proxy has data threads to drill; ${this.spec.id} is none.`)
      child.kill('SIGUSR2')
    } else if (verb === 'pause') {
      child.kill('SIGSTOP')
      this.#state = 'paused'
    } else {
      child.kill('SIGCONT')
      this.#state = 'running'
    }
  }

  /** Idempotent; resumes a paused one. */
  start(): void {
    if (this.#child !== undefined) {
      this.#child.kill('SIGCONT')
      this.#state = 'running'
      return
    }
    clearTimeout(this.#timer)
    this.#spawn()
  }

  /** SIGTERM, after a while SIGKILL. Resolves when it is gone. Idempotent. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer)
    const child = this.#child
    this.#state = child === undefined ? 'stopped' : 'stopping'
    if (child === undefined) return
    const ended = exited(child)
    child.kill('SIGTERM')
    child.kill('SIGCONT')
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
    await ended
    clearTimeout(timer)
  }

  /** Standard input of the program: only the link relay listens to it. */
  tell(line: string): void {
    this.#child?.stdin?.write(`${line}\n`)
  }

  /** Logs live in memory: one that is full starts from nothing. */
  trimLog(): void {
    if (fstatSync(this.#log).size > LOG_LIMIT_BYTES) ftruncateSync(this.#log)
  }

  close(): void {
    closeSync(this.#log)
  }

  #spawn(): void {
    const { namespace, command, env, fds = [] } = this.spec
    const startedMs = performance.now()
    const child = spawn('nsenter', [`--net=/run/netns/${namespace}`, '--', ...command], {
      env: { ...env },
      cwd: '/',
      stdio: ['pipe', this.#log, this.#log, ...fds],
    })
    this.#child = child
    this.#state = 'running'
    // The program may end with commands still unread.
    child.stdin?.on('error', () => {})
    child.on('error', (error) => this.#note(`can't start: ${error.message}`))
    child.on('close', (code, signal) => this.#ended(performance.now() - startedMs, signal ?? `code ${code}`))
  }

  #ended(livedMs: number, how: string): void {
    this.#child = undefined
    if (this.#state === 'stopping') {
      this.#state = 'stopped'
      return
    }
    this.#backoffMs = livedMs > SETTLED_MS ? BACKOFF_MIN_MS : Math.min(this.#backoffMs * 2, BACKOFF_MAX_MS)
    this.#note(`ended by ${how}; starts again in ${this.#backoffMs / 2} ms`)
    this.#state = 'restarting'
    this.#restarts++
    this.#timer = setTimeout(() => this.#spawn(), this.#backoffMs / 2)
  }

  #note(text: string): void {
    writeSync(this.#log, `${JSON.stringify({ level: 50, time: new Date().toISOString(), program: 'dev', msg: `${this.spec.id} ${text}` })}\n`)
  }
}

function exited(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once('close', () => resolve())
  })
}
