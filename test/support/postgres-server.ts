/**
 * A real PostgreSQL in a directory of its own: TLS on TCP, plain on its Unix socket (so it answers `S` here and `N` there).
 * It refuses to be root, so root's is started in a user namespace in which we are nobody.
 */
import { execFile, spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from './foreign-proxy.ts'

const PARENT = '/usr/lib/postgresql'
const NOBODY = 65_534
const START_TIMEOUT_MS = 15_000

/** The directory of initdb, postgres and psql; newest version first. */
export const postgresPrograms: string | null = (() => {
  const versions = existsSync(PARENT) ? readdirSync(PARENT).toSorted((left, right) => Number(right) - Number(left)) : []
  const found = versions.map((version) => join(PARENT, version, 'bin')).find((bin) => existsSync(join(bin, 'initdb')) && existsSync(join(bin, 'psql')))
  return found ?? null
})()

const AS_NOBODY = process.getuid?.() === 0 ? ['unshare', '--user', `--map-user=${NOBODY}`, `--map-group=${NOBODY}`, '--'] : []

/** Why it can't run here, or null. */
export function whyNoPostgres(): string | null {
  if (postgresPrograms === null) return 'needs PostgreSQL (initdb, postgres, psql)'
  if (spawnSync('openssl', ['version']).error !== undefined) return 'needs openssl'
  const [program, ...words] = [...AS_NOBODY, join(postgresPrograms, 'postgres'), '--version']
  return spawnSync(program ?? '', words).status === 0 ? null : 'needs user namespaces, or another user than root'
}

export class PostgresServer {
  readonly directory = mkdtempSync(join(tmpdir(), 'nearcast-pg-'))
  readonly data = join(this.directory, 'data')
  port = 0
  #child: ChildProcess | null = null

  get socket(): string {
    return join(this.directory, `.s.PGSQL.${this.port}`)
  }

  async start(): Promise<this> {
    this.port = await freePort()
    await this.#run('initdb', '-D', this.data, '-U', 'demo', '-A', 'trust', '-N', '--locale=C', '-E', 'UTF8', '--no-instructions')
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', join(this.data, 'server.key')]
    await promisify(execFile)('openssl', ['req', '-x509', ...key, '-days', '2', '-subj', '/CN=pg', '-out', join(this.data, 'server.crt')])
    const settings = { listen_addresses: '127.0.0.1', port: this.port, unix_socket_directories: this.directory, ssl: 'on', fsync: 'off', dynamic_shared_memory_type: 'mmap' }
    const options = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
    const [program, words] = command('postgres', '-D', this.data, ...options)
    const child = spawn(program, words, { stdio: ['ignore', 'ignore', 'pipe'] })
    this.#child = child
    await new Promise<void>((resolve, reject) => {
      let said = ''
      const timer = setTimeout(() => reject(new Error(`PostgreSQL is not ready: ${said}`)), START_TIMEOUT_MS)
      child.on('exit', () => reject(new Error(`PostgreSQL ended: ${said}`)))
      child.stderr.on('data', (chunk: Buffer) => {
        said += chunk.toString()
        this.log += chunk.toString()
        if (!said.includes('ready to accept connections')) return
        clearTimeout(timer)
        resolve()
      })
    })
    return this
  }

  log = ''

  /** One value, over the Unix socket. */
  async ask(query: string): Promise<string> {
    const { stdout } = await promisify(execFile)(join(postgresPrograms ?? '', 'psql'), ['-XAtq', '-h', this.directory, '-p', String(this.port), '-U', 'demo', '-c', query, 'postgres'])
    return stdout.trim()
  }

  async stop(): Promise<void> {
    const child = this.#child
    if (child !== null && child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit')
      // Immediate shutdown; unshare runs it in its own place.
      child.kill('SIGQUIT')
      await ended
    }
    rmSync(this.directory, { recursive: true, force: true })
  }

  #run(name: string, ...words: string[]): Promise<unknown> {
    return promisify(execFile)(...command(name, ...words))
  }
}

function command(name: string, ...words: string[]): [string, string[]] {
  const [program = '', ...rest] = [...AS_NOBODY, join(postgresPrograms ?? '', name), ...words]
  return [program, rest]
}
