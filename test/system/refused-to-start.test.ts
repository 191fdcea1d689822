/** Programs that can't start say why in one line, `<code>: <message>`, and exit with 1. */
import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t from 'tap'
import type { Test } from 'tap'
import { AS_USER, ROOT, eventually, finish } from '../support/cluster.ts'
import type { Finished } from '../support/cluster.ts'
import { startRouter } from '../support/router-process.ts'

type Program = 'router' | 'proxy' | 'agent'
const PROGRAMS: readonly Program[] = ['router', 'proxy', 'agent']

const directory = mkdtempSync(join(tmpdir(), 'nearcast-refused-'))
t.teardown(() => rmSync(directory, { recursive: true, force: true }))
/** Somebody else's port. */
const taken = createServer().listen(0, '127.0.0.1')
await once(taken, 'listening')
t.teardown(() => taken.close())
const address = taken.address()
const takenPort = typeof address === 'object' && address !== null ? address.port : 0

let files = 0
function file(text: string): string {
  const path = join(directory, `${++files}.toml`)
  writeFileSync(path, text)
  return path
}

function launch(program: Program, config: string, env: Readonly<Record<string, string>>): ChildProcessWithoutNullStreams {
  return spawn('env', [...AS_USER, process.execPath, join(ROOT, program, 'main.ts'), '--config', config], { cwd: directory, env: { ...process.env, ...env } })
}

function start(program: Program, config: string, env: Readonly<Record<string, string>> = {}): Promise<Finished> {
  return finish(launch(program, config, env))
}

/** A token that looks right. */
function wrong(token: string): string {
  return token.replace(/_[^_]{8}/, `_${randomBytes(4).toString('hex')}`)
}

function ofAnotherRouter(token: string): string {
  return token.replace(/[0-9a-f]{8}$/, (end) => (end === '00000000' ? '11111111' : '00000000'))
}

function refused(t: Test, { code, stderr }: Finished, pattern: RegExp): void {
  t.equal(code, 1, 'exit code')
  t.match(stderr, pattern, 'code and message')
  t.equal(stderr.trim().split('\n').length, 1, `one line: ${stderr}`)
}

for (const program of PROGRAMS) {
  await t.test(`${program}: configuration`, async (t) => {
    const [broken, unknown, missing] = await Promise.all([
      start(program, file('stateDir = "x"\n[admin\n')),
      start(program, file('stateDri = "x"\n')),
      start(program, join(directory, 'none.toml')),
    ])
    refused(t, broken, /^config\.invalid: \S+\.toml:2:\d+: /)
    refused(t, unknown, /^config\.invalid: .*stateDri/)
    refused(t, missing, /^config\.missing: /)
  })
}

/** Keys that a program needs, for a router at `port`. */
function member(program: 'proxy' | 'agent', port: number, more: { redis?: string; admin?: string } = {}): string {
  const stateDir = join(directory, `${program}-${++files}`)
  mkdirSync(stateDir)
  const { redis = '', admin = '127.0.0.1:0' } = more
  const lines = [`id = "x-1"`, `host = "x-1"`, `region = "x"`, `stateDir = "${stateDir}"`, `router = "https://[::1]:${port}"`]
  const own = program === 'agent' ? [`dataDir = "${stateDir}/data"`, '[hop]', 'listen = "[::1]:0"', 'advertise = "[::1]:7400"', ...(redis === '' ? [] : ['[redis]', `server = "${redis}"`])] : ['manageHost = false']
  return file([...lines, ...own, '[admin]', `listen = "${admin}"`, ''].join('\n'))
}

await t.test('router: port in use', async (t) => {
  const config = `stateDir = "${directory}/state"\n[api]\nlisten = "127.0.0.1:${takenPort}"\n[feed]\nlisten = "[::1]:0"\n`
  refused(t, await start('router', file(config)), new RegExp(`^listen\\.in-use: .*${takenPort}`))
})

interface Router {
  readonly feed: number
  /** For `<kind>/x-1`. */
  readonly joinToken: (kind: 'proxy' | 'agent') => Promise<string>
}

async function openRouter(t: Test): Promise<Router> {
  const config = `stateDir = "${directory}/router-${++files}"\n[api]\nlisten = "127.0.0.1:0"\n[feed]\nlisten = "[::1]:0"\n`
  const token = `ncb_${randomBytes(32).toString('hex')}`
  const router = await startRouter(file(config), { NEARCAST_BOOTSTRAP_TOKEN: token })
  t.teardown(() => router.end('SIGTERM'))
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const joinToken = async (kind: 'proxy' | 'agent'): Promise<string> => {
    const body = JSON.stringify({ kind, id: 'x-1', region: 'x', host: 'x-1' })
    const response = await fetch(`http://127.0.0.1:${Number(router.ready['api'])}/v1/join-tokens`, { method: 'POST', headers, body })
    return ((await response.json()) as { token: string }).token
  }
  return { feed: Number(router.ready['feed']), joinToken }
}

for (const program of ['proxy', 'agent'] as const) {
  await t.test(`${program}: joining`, async (t) => {
    const { feed, joinToken } = await openRouter(t)
    const [unknown, elsewhere, good] = [wrong(await joinToken(program)), ofAnotherRouter(await joinToken(program)), await joinToken(program)]
    const busy = member(program, feed, { admin: `127.0.0.1:${takenPort}` })
    const attempts = [
      [start(program, member(program, feed)), /^join\.token-missing: /],
      [start(program, member(program, feed), { NEARCAST_JOIN_TOKEN: 'secret' }), /^join\.token-invalid: (?!.*secret)/],
      [start(program, member(program, feed), { NEARCAST_JOIN_TOKEN: unknown }), /^join\.token-invalid: \S+ refused the join: /],
      [start(program, member(program, feed), { NEARCAST_JOIN_TOKEN: elsewhere }), /^join\.ca-mismatch: /],
      [start(program, busy, { NEARCAST_JOIN_TOKEN: good }), new RegExp(`^listen\\.in-use: .*${takenPort}`)],
    ] as const
    for (const [attempt, pattern] of attempts) refused(t, await attempt, pattern)
  })
}

await t.test('an agent without redis-server runs, and says what is missing', async (t) => {
  const { feed, joinToken } = await openRouter(t)
  const config = member('agent', feed, { redis: '/nonexistent/redis-server' })
  const child = launch('agent', config, { NEARCAST_JOIN_TOKEN: await joinToken('agent') })
  const ended = once(child, 'exit')
  const lines: string[] = []
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
  await eventually('it is ready', () => lines.some((line) => line.includes('"msg":"ready"')), () => lines.join('\n'))
  t.ok(lines.some((line) => line.includes('"code":"redis.missing"')), 'redis.missing')
  child.kill('SIGTERM')
  t.same(await ended, [0, null], 'it ends when it is told to')
})
