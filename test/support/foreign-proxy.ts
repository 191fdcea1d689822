/**
 * HAProxy and nginx as real processes in the foreground, with a configuration in a directory of their own.
 * The configuration's last listener must be the Unix socket `ready`: programs bind in order, so when it answers all do.
 */
import type { ChildProcess } from 'node:child_process'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const PROGRAMS = {
  haproxy: (file: string) => ['-db', '-q', '-f', file],
  nginx: (file: string, dir: string) => ['-p', dir, '-e', join(dir, 'error.log'), '-c', file],
} as const
export type ForeignProgram = keyof typeof PROGRAMS

/** What `<program> -v` says, or null when it isn't installed. */
export function foreignVersion(program: ForeignProgram): string | null {
  const { stdout, stderr, error } = spawnSync(program, ['-v'], { encoding: 'utf8' })
  return error ? null : (`${stdout}${stderr}`.split('\n')[0] ?? '')
}

/** The line that loads nginx's stream module, '' where it is built in, null where it is missing. */
export function nginxStreamModule(): string | null {
  const { stdout, stderr, error } = spawnSync('nginx', ['-V'], { encoding: 'utf8' })
  if (error) return null
  const text = `${stdout}${stderr}`
  const file = join(/--modules-path=(\S+)/.exec(text)?.[1] ?? '/usr/lib/nginx/modules', 'ngx_stream_module.so')
  if (existsSync(file)) return `load_module ${file};`
  return /--with-stream(\s|$)/.test(text) ? '' : null
}

/** A port that was free a moment ago: these programs can't choose one themselves. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '::')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

export class ForeignProxy {
  readonly dir = mkdtempSync(join(tmpdir(), 'nearcast-foreign-'))
  /** Path of the Unix socket that the configuration must listen on last. */
  readonly ready = join(this.dir, 'ready.sock')
  #child: ChildProcess | undefined

  /** `within`: what runs the program somewhere else, like in another network namespace. */
  async start(program: ForeignProgram, config: string, within: readonly string[] = []): Promise<void> {
    const file = join(this.dir, `${program}.conf`)
    writeFileSync(file, config)
    const [first = program, ...words] = [...within, program, ...PROGRAMS[program](file, this.dir)]
    const child = spawn(first, words, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    let said = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()))
    const deadlineMs = performance.now() + 10_000
    while (!(await answers(this.ready))) {
      if (child.exitCode !== null || performance.now() > deadlineMs) throw new Error(`${program} did not start: ${said}`)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  async stop(): Promise<void> {
    const child = this.#child
    if (child && child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    rmSync(this.dir, { recursive: true, force: true })
  }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false))
    socket.on('connect', () => socket.destroy())
  })
}
