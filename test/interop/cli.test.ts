/**
 * The command line as a process against a real registry: the default context, what is asked in a terminal (a real one,
 * made by script(1)) and refused elsewhere, confirmations, and that no token is kept.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { TestRegistry } from '../support/registry.ts'
import { OPERATOR, startRegistry } from '../support/registry.ts'

const MAIN = join(import.meta.dirname, '../../cli/main.ts')
let registry: TestRegistry
let home: string

beforeAll(async () => {
  registry = await startRegistry()
  home = mkdtempSync(join(tmpdir(), 'nearcast-cli-'))
  await registry.made('/v1/orgs', { name: 'acme' })
  await registry.made('/v1/orgs', { name: 'globex' })
  await registry.join('agent', 'mad-1')
  await registry.join('agent', 'ams-1', 'ams')
})
afterAll(async () => {
  await registry.remove()
  rmSync(home, { recursive: true })
})
beforeEach(() => rmSync(join(home, 'nearcast'), { recursive: true, force: true }))

interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

function environment(extra: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], HOME: home, XDG_CONFIG_HOME: home, NEARCAST_API: registry.url, NEARCAST_TOKEN: OPERATOR, NO_COLOR: '1', TERM: 'xterm', ...extra }
}

/** `answers`: typed one after the other, each when its question (a text on the screen) has come. */
function run(command: string, args: readonly string[], answers: readonly (readonly [string, string])[] = [], env = environment()): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env, stdio: 'pipe' })
    const timer = setTimeout(() => child.kill('SIGKILL'), 15_000)
    let stdout = ''
    let stderr = ''
    let seen = 0
    const waiting = [...answers]
    child.stdout.on('data', (data: Buffer) => {
      stdout += data.toString()
      const [question, answer] = waiting[0] ?? []
      if (question === undefined || answer === undefined || !stdout.slice(seen).includes(question)) return
      waiting.shift()
      seen = stdout.length
      child.stdin.write(answer)
    })
    child.stderr.on('data', (data: Buffer) => (stderr += data.toString()))
    child.on('error', reject)
    child.on('close', (code) => {
      clearTimeout(timer)
      resolve({ code, stdout, stderr })
    })
    if (answers.length === 0) child.stdin.end()
  })
}

const nearcast = (args: readonly string[], env?: NodeJS.ProcessEnv): Promise<Outcome> => run(process.execPath, [MAIN, ...args], [], env)

/** The same in a terminal. */
function typed(args: readonly string[], answers: readonly (readonly [string, string])[], env?: NodeJS.ProcessEnv): Promise<Outcome> {
  return run('script', ['-qefc', `stty cols 120 rows 40; exec ${[process.execPath, MAIN, ...args].join(' ')}`, '/dev/null'], answers, env)
}

const ENTER = '\r'
const DOWN = '\u001B[B'
const SPACE = ' '
const CTRL_C = '\u0003'
const terminal = existsSync('/usr/bin/script')

test('use: the organization is checked, kept in a file of the user alone, meant by later commands, and forgotten', async () => {
  const file = join(home, 'nearcast/context.json')
  expect(await nearcast(['networks', 'list'])).toMatchObject({ code: 1, stderr: expect.stringMatching(/^cli\.usage: Give --org/) })
  expect(await nearcast(['use', 'nobody'])).toMatchObject({ code: 1, stderr: expect.stringContaining('org.not-found') })
  expect(existsSync(file)).toBe(false)
  expect(await nearcast(['use', 'acme', '--api', registry.url])).toMatchObject({ code: 0, stdout: expect.stringContaining('acme') })
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({ org: 'acme', api: registry.url })
  expect(statSync(file).mode & 0o777).toBe(0o600)
  expect(statSync(join(home, 'nearcast')).mode & 0o777).toBe(0o700)

  const networks = async (args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<unknown> =>
    JSON.parse((await nearcast(['networks', 'list', '--json', ...args], environment(env))).stdout)
  // Its API is meant, too; the environment and options come first.
  expect(await networks([], { NEARCAST_API: undefined })).toEqual([expect.objectContaining({ id: 1 })])
  expect(await networks([], { NEARCAST_ORG: 'globex' })).toEqual([expect.objectContaining({ id: 2 })])
  expect(await networks(['--org', 'acme'], { NEARCAST_ORG: 'globex' })).toEqual([expect.objectContaining({ id: 1 })])
  expect(await nearcast(['networks', 'list'], environment({ NEARCAST_API: undefined, NEARCAST_TOKEN: undefined }))).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^config\.missing: .*NEARCAST_TOKEN/),
  })

  const { stdout } = await nearcast(['whoami', '--json'])
  expect(JSON.parse(stdout)).toMatchObject({ api: registry.url, token: { id: 'bootstrap', role: 'operator' }, context: { org: 'acme' } })
  expect(stdout + readFileSync(file, 'utf8')).not.toContain(OPERATOR)
  expect((await nearcast(['use', '--clear'])).code).toBe(0)
  expect(existsSync(file)).toBe(false)
})

test('where nobody can be asked, what is missing is an error, and destroying needs --yes', async () => {
  expect(await nearcast(['redis', 'create', '--org', 'acme'])).toMatchObject({ code: 1, stderr: expect.stringMatching(/^cli\.usage: Give --region/) })
  const asked = await nearcast(['redis', 'create', '--json'])
  expect(JSON.parse(asked.stdout)).toMatchObject({ error: { code: 'cli.usage' } })
  const made = JSON.parse((await nearcast(['redis', 'create', '--org', 'acme', '--region', 'mad', '--json'])).stdout) as { name: string }
  expect(made.name).toMatch(/^[a-z]+-[a-z]+-\d{4}$/)
  const destroy = ['redis', 'destroy', made.name, '--org', 'acme']
  expect(await nearcast(destroy)).toMatchObject({ code: 1, stderr: expect.stringMatching(/^cli\.not-confirmed: /) })
  expect((await registry.call('GET', `/v1/orgs/acme/redis/${made.name}`)).status).toBe(200)
  expect(await nearcast([...destroy, '--yes'])).toMatchObject({ code: 0, stdout: expect.stringContaining('was destroyed') })
  expect(await nearcast([...destroy, '--yes'])).toMatchObject({ code: 1, stderr: expect.stringContaining('redis.not-found') })
})

test('a mistake names its option and where that command is explained; programs get it as JSON', async () => {
  const mistaken = await nearcast(['redis', 'set', 'cache', '--park', 'soon', '--json'])
  expect(mistaken).toMatchObject({ code: 1, stderr: expect.stringMatching(/--park <minutes>.*'soon' is invalid\. It is a whole number, or never, or default\.\n\(nearcast redis set --help says more\)/) })
  expect(JSON.parse(mistaken.stdout)).toMatchObject({ error: { code: 'cli.usage', message: expect.stringContaining('--park') } })
  expect(await nearcast(['--version'])).toMatchObject({ code: 0, stderr: '' })
})

test('a database that a node can not serve is made, and not said to be ready', async () => {
  const agent = registry.reader(await registry.join('agent', 'zrh-1', 'zrh'), { apply: (table) => [...table.services.keys()].map((service) => ({ service, code: 'redis.missing', message: 'No redis-server here.' })) })
  await agent.start()
  const made = await nearcast(['redis', 'create', '--org', 'acme', '--region', 'zrh', '--name', 'stuck', '--max-memory', '100M'])
  await agent.stop()
  expect(made).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Your Redis database stuck is made, but agent\/zrh-1 can't serve it yet.*\n[^]*95\.4 MiB \(100000000 bytes\)[^]*0 proxies in .*\nagent\/zrh-1: redis\.missing: No redis-server here\./) })
})

test.skipIf(!terminal)('in a terminal, redis create asks for organization, name, primary and replica regions', async () => {
  const outcome = await typed(['redis', 'create'], [
    ['Select organization', ENTER],
    ['database name', `Bad Name${ENTER}`],
    ['Use up to 40', `${'\u007F'.repeat(8)}asked${ENTER}`],
    ['primary region', DOWN + ENTER],
    ['replica regions', SPACE + ENTER],
  ])
  expect(outcome).toMatchObject({ code: 0, stdout: expect.stringContaining('is ready') })
  // Regions come in the order of their names: ams, mad.
  expect((await registry.call('GET', '/v1/orgs/acme/redis/asked')).body).toMatchObject({ region: 'mad', replicas: ['ams'] })

  const destroy = ['redis', 'destroy', 'asked', '--org', 'acme']
  expect(await typed(destroy, [['Type asked', `other${ENTER}`]])).toMatchObject({ code: 1, stdout: expect.stringContaining('cli.not-confirmed') })
  expect(await typed(destroy, [['Type asked', CTRL_C]])).toMatchObject({ code: 1, stdout: expect.stringContaining('cli.cancelled') })
  expect((await registry.call('GET', '/v1/orgs/acme/redis/asked')).status).toBe(200)
  expect(await typed(destroy, [['Type asked', `asked${ENTER}`]])).toMatchObject({ code: 0 })
})

test.skipIf(!terminal)('in a terminal, nothing is asked with --json or when the flags say all', async () => {
  expect(await typed(['redis', 'create', '--json'], [])).toMatchObject({ code: 1, stdout: expect.stringContaining('cli.usage') })
  expect(await typed(['redis', 'create', '--org', 'acme', '--name', 'told', '--region', 'mad'], [])).toMatchObject({ code: 0, stdout: expect.stringContaining('is ready') })
  expect((await registry.call('GET', '/v1/orgs/acme/redis/told')).body).toMatchObject({ replicas: [] })
})

test.skipIf(!terminal)('top draws on a screen of its own, ends with q or Ctrl-C, and leaves the terminal as it was', async () => {
  for (const key of ['q', CTRL_C]) {
    const outcome = await typed(['top', '--interval', '0.3'], [['q ends', key]])
    expect(outcome).toMatchObject({ code: 0, stdout: expect.stringContaining('revision') })
    expect(outcome.stdout.trimEnd().endsWith('\u001B[?25h\u001B[?1049l')).toBe(true)
  }
})

test('top where output is no terminal: one picture', async () => {
  expect(await nearcast(['top'])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^revision \d+ /) })
  expect(JSON.parse((await nearcast(['top', '--once', '--json'])).stdout)).toMatchObject({ proxies: [], agents: [] })
})

test('the doctor answers yes, no or unknown for everything, and says what to do about each no', async () => {
  const { code, stdout } = await nearcast(['doctor', '--json'])
  expect(code).toBe(0)
  const { findings } = JSON.parse(stdout) as { findings: { id: string; answer: string; reason: string; todo?: string }[] }
  expect(findings.map(({ id }) => id)).toEqual(expect.arrayContaining(['user-namespaces', 'io_uring', 'wireguard-fast-path', 'tproxy', 'netem', 'tun', 'nofile', 'ephemeral-ports']))
  for (const { answer, reason, todo } of findings) {
    expect(['yes', 'no', 'unknown']).toContain(answer)
    expect(reason).not.toBe('')
    expect(todo !== undefined).toBe(answer === 'no')
  }
  expect((await nearcast(['doctor'])).stdout).toContain('nofile')
})

test('a token is made with scopes and an end', async () => {
  const made = await nearcast(['tokens', 'create', '--name', 'look', '--role', 'member', '--org', 'acme', '--scopes', 'read', '--expires-at', '2999-01-01T00:00:00Z', '--json'])
  expect(JSON.parse(made.stdout)).toMatchObject({ scopes: ['read'], expiresAt: '2999-01-01T00:00:00.000Z' })
  const { token } = JSON.parse(made.stdout) as { token: string }
  const listed = await nearcast(['redis', 'status', 'told', '--org', 'acme', '--token', token])
  if (terminal) expect(listed).toMatchObject({ code: 0, stdout: expect.stringContaining('the token may only read') })
})
