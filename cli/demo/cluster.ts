/**
 * The demo's hands: starts a cluster of its own, runs `nearcast …` against it as a user would, and ends it.
 * Everything is done through the command line, so what the demo shows is what a user can type.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { NearcastError } from '../../lib/errors.ts'
import type { WantedPlane } from '../../lib/plane/wanted.ts'

export interface Finished {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** What `nearcast dev --json` prints once the cluster stands. */
export interface ClusterFacts {
  readonly api: string
  readonly token: string
  readonly forward?: { readonly host: string; readonly port: number } | null
  readonly databases: readonly { readonly org: string; readonly name: string; readonly address: string; readonly url: string; readonly password: string }[]
}

export interface DemoClusterOptions {
  /** A file, else the default one. */
  readonly topology?: string | undefined
  readonly plane?: WantedPlane | undefined
}

/** A command that takes longer is ended and counts as failed. */
const COMMAND_TIMEOUT_MS = 60_000

export class DemoCluster {
  readonly #entry: string
  readonly #name: string
  readonly #supervisor: ChildProcess
  readonly facts: ClusterFacts

  private constructor(entry: string, name: string, supervisor: ChildProcess, facts: ClusterFacts) {
    this.#entry = entry
    this.#name = name
    this.#supervisor = supervisor
    this.facts = facts
  }

  /** @param entry the script behind `nearcast`. Rejects with the supervisor's last words when the cluster doesn't stand. */
  static async start(entry: string, progress: (line: string) => void, { topology, plane }: DemoClusterOptions = {}): Promise<DemoCluster> {
    const name = `demo-${process.pid}`
    const supervisor = spawn(process.execPath, [entry, 'dev', '--json', '--cluster', name, ...given('--topology', topology), ...given('--plane', plane)], {
      stdio: ['ignore', 'pipe', 'pipe'],
      // It ends with us, even when we are killed.
      env: { ...process.env, NEARCAST_STARTER: String(process.pid) },
    })
    const said: string[] = []
    createInterface({ input: supervisor.stderr }).on('line', (line) => {
      said.push(line)
      progress(line)
    })
    const facts = await new Promise<ClusterFacts>((resolve, reject) => {
      createInterface({ input: supervisor.stdout }).on('line', (line) => {
        // An error is an object, too; its sentence is among what was said.
        if (line.startsWith('{') && !line.startsWith('{"error"')) resolve(JSON.parse(line) as ClusterFacts)
      })
      supervisor.once('close', () => reject(new NearcastError('dev.failed', `The cluster didn't start: ${said.slice(-3).join(' ')}`)))
    })
    return new DemoCluster(entry, name, supervisor, facts)
  }

  get pid(): number {
    return this.#supervisor.pid ?? 0
  }

  /** What a `nearcast` command against this cluster begins with, behind Node. */
  get words(): readonly string[] {
    return [this.#entry, '--cluster', this.#name]
  }

  /** Runs `nearcast <args>` against this cluster. Never rejects for a command that fails: that may be the point. */
  nearcast(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Finished> {
    return run(process.execPath, [this.#entry, ...args], { ...process.env, ...env, NEARCAST_CLUSTER: this.#name, NO_COLOR: '1' })
  }

  /** The same with --json, parsed. @throws Error with what the command said when it failed. */
  async json<Result>(args: readonly string[]): Promise<Result> {
    const finished = await this.nearcast([...args, '--json'])
    if (finished.code !== 0) throw new Error(`nearcast ${args.join(' ')}: ${finished.stderr.trim() || finished.stdout.trim()}`)
    return JSON.parse(finished.stdout) as Result
  }

  /** Asks the API itself: for what is asked again and again, where starting a command each time would take the time. */
  async ask<Result>(path: string, query: Readonly<Record<string, string>> = {}): Promise<Result> {
    const url = new URL(`${path}?${new URLSearchParams(query).toString()}`, this.facts.api)
    const response = await fetch(url, { headers: { authorization: `Bearer ${this.facts.token}` }, signal: AbortSignal.timeout(COMMAND_TIMEOUT_MS) })
    const text = await response.text()
    if (!response.ok) throw new Error(`${path}: ${text}`)
    return JSON.parse(text) as Result
  }

  /** Runs a shell command on an app host, with `$URL` and the other variables of `env`. */
  onAppHost(org: string, region: string, script: string, env: Readonly<Record<string, string>> = {}): Promise<Finished> {
    return this.nearcast(['dev', 'exec', '--org', org, '--region', region, '--', 'sh', '-c', script], env)
  }

  /** Runs a shell command on a host of the cluster (`mad-1`). */
  onHost(host: string, script: string): Promise<Finished> {
    return this.nearcast(['dev', 'exec', '--on', host, '--', 'sh', '-c', script])
  }

  async stop(): Promise<void> {
    if (this.#supervisor.exitCode !== null || this.#supervisor.signalCode !== null) return
    const ended = once(this.#supervisor, 'exit')
    this.#supervisor.kill('SIGTERM')
    await ended
  }
}

function given(option: string, value: string | undefined): string[] {
  return value === undefined ? [] : [option, value]
}

export function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<Finished> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env, timeout: COMMAND_TIMEOUT_MS, killSignal: 'SIGKILL' })
    const out: Buffer[] = []
    const err: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
    const finish = (code: number, extra = ''): void =>
      resolve({ code, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() + extra })
    child.on('error', (error) => finish(127, error.message))
    child.on('close', (code, signal) => finish(code ?? 128, signal === null ? '' : `ended by ${signal}`))
  })
}
