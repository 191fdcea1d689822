/**
 * A cluster as its user has it: started by `bin/nearcast.mjs dev` (or `npm start`) under a name of its own, asked and
 * steered by commands alone, ended by a signal. It ends with this process, whatever ends that.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { family, inhabitants, mentioning, pidNamespace } from './processes.ts'

export const ROOT = new URL('../..', import.meta.url).pathname
/** The Node that runs the test, as it is seen where the repository is `root`. */
export function nodeAt(root: string = ROOT): string {
  return process.execPath.startsWith(ROOT) ? join(root, process.execPath.slice(ROOT.length)) : process.execPath
}

/**
 * In front of a user's command: it ends with the test, as programs of a terminal end with that, and runs without what tap
 * makes every Node below it load.
 */
export const AS_USER: readonly string[] = ['setpriv', '--pdeathsig', 'KILL', '--', 'env', '-u', 'NODE_OPTIONS']

export const TOPOLOGIES = {
  /** Three regions, four hosts, acme and globex. */
  whole: null,
  /** mad and ams, 20 ms apart, one host each; acme and globex; acme/demo in both. */
  pair: new URL('topology-pair.toml', import.meta.url).pathname,
  /** mad with two hosts and ams with one, 20 ms apart, the backbone among them; acme/demo in ams, its replica in mad. */
  backbone: new URL('topology-backbone.toml', import.meta.url).pathname,
  /** One host; acme and globex; acme/demo. */
  single: new URL('topology-single.toml', import.meta.url).pathname,
} as const

export interface Finished {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface Database {
  readonly id: string
  readonly org: string
  readonly name: string
  readonly address: string
  readonly port: number
  readonly password: string
  readonly url: string
  readonly provisioning?: { readonly ms: number; readonly missing: readonly string[]; readonly proxies: readonly { readonly id: string; readonly ms: number }[] }
}

/** What `nearcast dev --json` says once the cluster stands. */
export interface ClusterFacts {
  readonly cluster: string
  readonly api: string
  readonly token: string
  readonly appHosts: readonly { readonly org: string; readonly region: string; readonly address: string }[]
  readonly databases: readonly Database[]
  readonly forward: { readonly host: string; readonly port: number } | null
}

export interface ClusterOptions {
  readonly topology?: keyof typeof TOPOLOGIES
  readonly starter?: 'nearcast' | 'npm'
  /** In front of every command: another user, other namespaces. */
  readonly prefix?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** Where the repository is seen from. */
  readonly root?: string
  /** Told each line of progress, and the process that starts. */
  readonly progress?: (line: string, starter: ChildProcess) => void
}

export class Cluster {
  readonly name: string
  readonly facts: ClusterFacts
  /** The first of our processes: npm or the bootstrap. */
  readonly starter: ChildProcess
  readonly #options: ClusterOptions
  readonly #pidNamespace: string

  private constructor(name: string, starter: ChildProcess, facts: ClusterFacts, options: ClusterOptions) {
    this.name = name
    this.starter = starter
    this.facts = facts
    this.#options = options
    this.#pidNamespace = pidNamespace(this.process('process 1'))
  }

  static async start(options: ClusterOptions = {}): Promise<Cluster> {
    const name = `t${randomBytes(5).toString('hex')}`
    const starter = launch(name, options)
    const said: string[] = []
    createInterface({ input: starter.stderr ?? fail('no standard error') }).on('line', (line) => {
      said.push(line)
      options.progress?.(line, starter)
    })
    const facts = await new Promise<ClusterFacts>((resolve, reject) => {
      createInterface({ input: starter.stdout ?? fail('no standard output') }).on('line', (line) => {
        if (line.startsWith('{"cluster"')) resolve(JSON.parse(line) as ClusterFacts)
      })
      starter.once('exit', () => reject(new Error(`The cluster ${name} did not start: ${said.join('\n')}`)))
    })
    return new Cluster(name, starter, facts, options)
  }

  /** Who keeps the cluster up, as the machine numbers them. */
  process(role: 'starter' | 'bootstrap' | 'supervisor' | 'unshare' | 'process 1'): number {
    const pattern = {
      starter: /./,
      bootstrap: /(start|nearcast)\.mjs/,
      supervisor: /cli\/main\.ts/,
      unshare: /^unshare/,
      'process 1': /dev\/inside\.ts$/,
    }[role]
    const found = family(this.starter.pid ?? 0).filter(({ command }) => pattern.test(command) && (role === 'unshare' || !command.startsWith('unshare')))
    // npm's own command line and the shell's name the script, too: the one nearest to the cluster is meant.
    const one = role === 'bootstrap' ? found.findLast(({ command }) => /^\S*node\S* /.test(command) && !/main\.ts/.test(command)) : found[0]
    return one?.pid ?? fail(`no ${role} among ${family(this.starter.pid ?? 0).map(({ command }) => command).join(' | ')}`)
  }

  /** Runs `nearcast <words>` against this cluster. Never rejects for a command that fails: that may be the point. */
  nearcast(words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Finished> {
    return finish(this.open(words, env))
  }

  /** The same, as it runs. */
  open(words: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
    return spawnIn(this.#options, ['node', 'bin/nearcast.mjs', '--cluster', this.name, ...words], { ...env, NO_COLOR: '1' })
  }

  /** @throws Error with what the command said when it failed. */
  async json<Result>(...words: string[]): Promise<Result> {
    const finished = await this.nearcast([...words, '--json'])
    if (finished.code !== 0) throw new Error(`nearcast ${words.join(' ')}: ${finished.stderr || finished.stdout}`)
    return JSON.parse(finished.stdout) as Result
  }

  /** `nearcast dev <words>`, which has to work. */
  async dev(...words: string[]): Promise<string> {
    const finished = await this.nearcast(['dev', ...words])
    if (finished.code !== 0) throw new Error(`nearcast dev ${words.join(' ')}: ${finished.stderr || finished.stdout}`)
    return finished.stdout
  }

  /** A command on an app host, like `acme/mad`. */
  on(place: string, command: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
    return this.open(['dev', 'exec', ...where(place), '--', ...command], env)
  }

  /** What to put in front of a command that others start, so that it runs at a place of this cluster. */
  enter(place: string): string[] {
    return [...(this.#options.prefix ?? []), ...AS_USER, nodeAt(this.#options.root), join(this.#options.root ?? ROOT, 'bin/nearcast.mjs'), '--cluster', this.name, 'dev', 'exec', ...where(place), '--']
  }

  /** The same to its end. A place without a slash is a host. */
  run(place: string, command: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Finished> {
    return finish(this.on(place, command, env))
  }

  /** redis-cli on an app host; standard output, trimmed. */
  async redis(place: string, database: Pick<Database, 'url'>, ...words: string[]): Promise<string> {
    const { stdout, stderr } = await this.run(place, ['redis-cli', '--no-auth-warning', '-u', database.url, ...words])
    return (stdout.trim() || stderr.trim()).trim()
  }

  /** Processes of this cluster that are still there. */
  leftovers(): string[] {
    return [...mentioning(this.name), ...inhabitants(this.#pidNamespace)].map(({ pid, command }) => `${pid} ${command}`)
  }

  /** Resolves when nothing of it runs. Idempotent. */
  async end(): Promise<void> {
    if (this.starter.exitCode === null && this.starter.signalCode === null) {
      const ended = once(this.starter, 'exit')
      this.starter.kill('SIGTERM')
      await ended
    }
    await eventually('the cluster has ended', () => this.leftovers().length === 0, () => this.leftovers().join('\n'))
  }
}

function launch(name: string, options: ClusterOptions): ChildProcess {
  const file = TOPOLOGIES[options.topology ?? 'pair']
  const plane = process.env['NEARCAST_TEST_PLANE']
  const words = ['--json', '--cluster', name, ...(plane === undefined ? [] : ['--plane', plane]), ...(file === null ? [] : ['--topology', file.replace(ROOT, `${options.root ?? ROOT.replace(/\/$/, '')}/`)])]
  // A group of its own, like a job of a shell: Ctrl-C goes to all of it.
  return options.starter === 'npm'
    ? spawnIn(options, ['npm', 'start', '--', ...words], {}, true)
    : spawnIn(options, ['node', 'bin/nearcast.mjs', 'dev', ...words], {}, true)
}

function spawnIn(options: ClusterOptions, command: readonly string[], env: Readonly<Record<string, string>>, detached = false): ChildProcess {
  const root = options.root ?? ROOT
  const [program = '', ...words] = [...(options.prefix ?? []), ...AS_USER, '-C', root, command[0] === 'node' ? nodeAt(root) : (command[0] ?? ''), ...command.slice(1)]
  const { NEARCAST_CLUSTER: _mine, npm_lifecycle_event: _npm, ...outer } = process.env
  return spawn(program, words, { env: { ...outer, ...options.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'], detached })
}

function where(place: string): string[] {
  const [org = '', region] = place.split('/')
  return region === undefined ? ['--on', org] : ['--org', org, '--region', region]
}

function fail(message: string): never {
  throw new Error(message)
}

/** A command that never ends is ended, so that its test fails with what it said instead of holding up all others. */
const COMMAND_MS = 150_000

export async function finish(child: ChildProcess, input = '', deadlineMs = COMMAND_MS): Promise<Finished> {
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout?.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => err.push(chunk))
  child.stdin?.on('error', () => {})
  child.stdin?.end(input)
  const deadline = setTimeout(() => {
    err.push(Buffer.from(`\nNo end after ${deadlineMs} ms: ${child.spawnargs.join(' ')}`))
    child.kill('SIGKILL')
  }, deadlineMs)
  await once(child, 'close')
  clearTimeout(deadline)
  return { code: child.exitCode ?? 128, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }
}

/** Waits on a condition. The limit is there to say what was waited for; a slow machine doesn't reach it. */
export async function eventually(what: string, condition: () => boolean | Promise<boolean>, details: () => string = () => ''): Promise<void> {
  const deadlineMs = performance.now() + 45_000
  while (!(await condition())) {
    if (performance.now() > deadlineMs) throw new Error(`Never: ${what}. ${details()}`)
    await delay(25)
  }
}
