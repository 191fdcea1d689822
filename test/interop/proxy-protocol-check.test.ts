/**
 * `nearcast proxy-protocol check` against receivers that speak the protocol (HAProxy, nginx, our foreign node), one that
 * doesn't (redis-server), and faulty ones: each fault must be found, by the cases that are meant to find it.
 */
import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { afterEach, expect, test } from 'vitest'
import { z } from 'zod'
import type { CheckOptions, CheckReport } from '../../cli/proxy-protocol-check/check.ts'
import { check } from '../../cli/proxy-protocol-check/check.ts'
import { CASES } from '../../cli/proxy-protocol-check/cases.ts'
import { conversationOf } from '../../cli/proxy-protocol-check/conversation.ts'
import { parseReceiver } from '../../cli/proxy-protocol-check/receiver.ts'
import type { Receiver } from '../../cli/proxy-protocol-check/receiver.ts'
import { checkLines } from '../../cli/proxy-protocol-check/report.ts'
import { decode } from '../../lib/proxy-protocol/decode.ts'
import type { FAULTS } from '../support/faulty-receiver.ts'
import { FaultyReceiver } from '../support/faulty-receiver.ts'
import { ForeignNode } from '../support/foreign-node.ts'
import { foreignVersion, ForeignProxy, nginxStreamModule } from '../support/foreign-proxy.ts'
import { until } from '../support/until.ts'

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

function run(receiver: Receiver, options: Partial<CheckOptions> & { speaks?: string } = {}): Promise<CheckReport> {
  const { speaks = 'redis', ...rest } = options
  return check({ receiver, name: 'it', conversation: conversationOf(speaks), versions: [1, 2], timeoutMs: 1500, connections: 16, slow: false, progress: () => {}, ...rest })
}

function failing({ cases }: CheckReport): string[] {
  return cases.filter((each) => each.verdict === 'fails').map(({ id }) => id)
}

function verdict({ cases }: CheckReport, id: string): string | undefined {
  return cases.find((each) => each.id === id)?.verdict
}

async function faulty(...args: ConstructorParameters<typeof FaultyReceiver>): Promise<Receiver> {
  const receiver = new FaultyReceiver(...args)
  closing.push(() => receiver.close())
  return receiver.listen()
}

async function foreignNode(): Promise<Receiver> {
  const node = new ForeignNode({ allow: ['::1/128'] })
  closing.push(() => node.close())
  return { host: '::1', port: await node.start() }
}

const haproxy = foreignVersion('haproxy')
if (haproxy === null) process.stdout.write('skipped: HAProxy is not installed\n')

test.skipIf(haproxy === null)(`HAProxy (${haproxy}) passes`, async () => {
  const proxy = new ForeignProxy()
  closing.push(() => proxy.stop())
  await proxy.start(
    'haproxy',
    `
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend receive
  bind unix@${proxy.ready} accept-proxy
  http-request return status 204
`,
  )
  const report = await run({ path: proxy.ready }, { speaks: 'http' })
  expect(failing(report)).toEqual([])
  expect(report).toMatchObject({ passed: true, speaks: [1, 2] })
  // It verifies checksums, and it is the protocol's own implementation: what it does must count as right.
  for (const id of ['v2-crc-wrong', 'v2-local-unknown', 'v2-short', 'v1-second', 'afterwards']) expect(verdict(report, id)).toBe('ok')
})

const streamModule = nginxStreamModule()
if (streamModule === null) process.stdout.write('skipped: nginx with its stream module is not installed\n')

test.skipIf(streamModule === null)(`nginx (${foreignVersion('nginx')}) passes; that it verifies no checksum is tolerated`, async () => {
  const backend = await redisServer()
  const proxy = new ForeignProxy()
  closing.push(() => proxy.stop())
  await proxy.start(
    'nginx',
    `
${streamModule}
daemon off;
master_process off;
error_log /dev/null;
pid ${join(proxy.dir, 'nginx.pid')};
events { worker_connections 64; }
stream {
  server {
    listen unix:${proxy.ready} proxy_protocol;
    proxy_pass unix:${backend};
  }
}
`,
  )
  const report = await run({ path: proxy.ready })
  expect(failing(report)).toEqual([])
  expect(report).toMatchObject({ passed: true, speaks: [1, 2] })
  expect(verdict(report, 'v2-crc-wrong')).toBe('tolerated')
})

/** A stock one, without persistence. @returns the path of its socket. */
async function redisServer(): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'nearcast-check-'))
  const path = join(directory, 'redis.sock')
  const child = spawn('redis-server', ['--port', '0', '--unixsocket', path, '--save', '', '--dir', directory], { stdio: ['ignore', 'pipe', 'ignore'] })
  let said = ''
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
  closing.push(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    rmSync(directory, { recursive: true })
  })
  // Its socket is there before it listens.
  await until('redis-server listens', () => said.includes('eady to accept connections'))
  return path
}

test.skipIf(spawnSync('redis-server', ['--version']).error !== undefined)('redis-server is found not to speak it', async () => {
  const report = await run({ path: await redisServer() }, { timeoutMs: 700 })
  expect(report).toMatchObject({ passed: false, speaks: [] })
  expect(report.finding).toMatch(/does not speak the PROXY protocol/)
  expect(report.cases.find(({ id }) => id === 'v1-tcp4')?.seen).toMatch(/^answered "-ERR unknown command/)
})

test('our foreign node passes, single bytes and lengths included', async () => {
  const report = await run(await foreignNode(), { timeoutMs: 2500 })
  expect(failing(report)).toEqual([])
  // A limit of 2048 bytes is all that it is free to have.
  expect(report.cases.filter((each) => each.verdict === 'tolerated').map(({ id }) => id)).toEqual(['v2-longest'])
})

test('late and missing headers, and a pause behind one', { timeout: 40_000 }, async () => {
  const report = await run(await foreignNode(), { slow: true })
  for (const id of ['v1-late', 'v2-late', 'v2-idle', 'silence']) expect([id, verdict(report, id)]).toEqual([id, 'ok'])
})

test('one version of two is enough, unless it is the one that was asked for', async () => {
  const node = new ForeignNode({ allow: ['::1/128'], version: 'v2' })
  closing.push(() => node.close())
  const receiver = { host: '::1', port: await node.start() }
  const [both, second, first] = await Promise.all([run(receiver), run(receiver, { versions: [2] }), run(receiver, { versions: [1] })])
  expect(both).toMatchObject({ passed: true, speaks: [2] })
  expect(both.finding).toContain('version 2 of the PROXY protocol only')
  expect(verdict(both, 'v1-single-bytes')).toBe('skipped')
  expect(second).toMatchObject({ passed: true, speaks: [2] })
  expect(first).toMatchObject({ passed: false, speaks: [] })
})

test('a right receiver has no failing case', async () => {
  expect(failing(await run(await faulty(null)))).toEqual([])
})

const FOUND_BY = {
  guesses: ['no-header', 'v1-lower', 'http'],
  'reads every header': ['v1-second', 'v2-second'],
  'takes LOCAL for 16 bytes': ['v2-local-addresses', 'v2-local-unknown'],
  'takes TLVs for payload': ['v2-tlvs', 'v2-ssl', 'v2-crc', 'v2-536'],
  'stops at an empty TLV': ['v2-empty-tlvs'],
  'crashes at LOCAL without addresses': ['v2-local-family', 'afterwards'],
  'ignores version and length': ['v2-version-1', 'v2-version-3', 'v2-short', 'v2-short-tcp6'],
  'takes any line': ['v1-lower', 'v1-protocol', 'v1-no-port', 'v1-tcp6-too-long'],
} as const satisfies Record<keyof typeof FAULTS, readonly string[]>

test('every fault is found, by the cases that are meant to find it', async () => {
  const faults = Object.keys(FOUND_BY) as (keyof typeof FOUND_BY)[]
  await Promise.all(
    faults.map(async (fault) => {
      const report = await run(await faulty(fault))
      expect(report.passed, fault).toBe(false)
      expect(failing(report), fault).toEqual(expect.arrayContaining([...FOUND_BY[fault]]))
      const lines = stripVTControlCharacters(checkLines(report).join('\n'))
      for (const id of FOUND_BY[fault]) expect(lines).toMatch(new RegExp(`^→ ${id}: [A-Z].*\\.$`, 'm'))
    }),
  )
})

test('a server that speaks before the header is found out', async () => {
  const report = await run(await faulty(null, '220 hello\r\n'), { speaks: 'smtp' })
  expect(failing(report)).toEqual(expect.arrayContaining(['no-header', 'v1-half', 'v2-half']))
})

test('what a receiver says cannot steer the terminal', async () => {
  const report = await run(await faulty(null, '\x1b[2J\x9b2J\x7f\r\n'), { versions: [1], timeoutMs: 300 })
  expect(report.cases.map(({ seen }) => seen)).toContain(String.raw`answered "\u001b[2J\u009b2J\u007f\r\n"`)
})

test('what is to be accepted is sound, and nothing else is', () => {
  expect(new Set(CASES.map(({ id }) => id)).size).toBe(CASES.length)
  for (const each of CASES) {
    const bytes = Buffer.concat(each.parts(Buffer.from('PING\r\n')).filter((part) => typeof part === 'object'))
    const { state } = decode(bytes, { maxBytes: 65_551 })
    if (each.demand === 'accept' || each.demand === 'may-accept' || each.demand === 'payload') expect([each.id, state]).toEqual([each.id, 'done'])
    else expect([each.id, state]).not.toEqual([each.id, 'done'])
    expect(each.todo).toMatch(/^[A-Z].*\.$/)
  }
})

test.each([
  ['127.0.0.1:6379', { host: '127.0.0.1', port: 6379 }],
  ['[::1]:6379', { host: '::1', port: 6379 }],
  ['db.example:1', { host: 'db.example', port: 1 }],
  ['unix:/run/x.sock', { path: '/run/x.sock' }],
])('%s is a receiver', (text, receiver) => {
  expect(parseReceiver(text)).toEqual(receiver)
})

test.each(['', 'host', 'host:0', 'host:65536', '::1:6379', 'unix:relative', ':1', 'a b:x'])('"%s" is none', (text) => {
  expect(() => parseReceiver(text)).toThrow(expect.objectContaining({ code: 'cli.usage' }))
})

test('conversations of other kinds', () => {
  const own = conversationOf('redis', 'HELLO\\x20\\\\\\r\\n', '/(hi|ho)\\r/')
  expect(Buffer.from(own.payload).toString()).toBe('HELLO \\\r\n')
  expect(own.isAnswer('hi\r\n')).toBe(true)
  expect(own.isAnswer('no hi\r\n')).toBe(false)
  expect(conversationOf('redis', 'x', 'a.c').isAnswer('abc')).toBe(false)
  for (const wrong of [() => conversationOf('gopher'), () => conversationOf('redis', 'x'), () => conversationOf('redis', 'x', ''), () => conversationOf('redis', 'x', '/(/')]) {
    expect(wrong).toThrow(expect.objectContaining({ code: 'cli.usage' }))
  }
})

const MAIN = join(import.meta.dirname, '../../cli/main.ts')
const printed = z.object({ passed: z.boolean(), speaks: z.array(z.number()), cases: z.array(z.object({ id: z.string(), verdict: z.string() })) })

function command(...args: readonly string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [MAIN, 'proxy-protocol', 'check', ...args], { env: { ...process.env, NO_COLOR: '1' } }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    )
  })
}

test('the command: exit status, a table for people, JSON for programs', async () => {
  const node = (await foreignNode()) as { port: number }
  const shown = await command(`[::1]:${node.port}`, '--only', 'v2', '--connections', '16', '--timeout', '1500')
  expect(shown).toMatchObject({ code: 0 })
  expect(shown.stdout).toMatch(/v2-local +LOCAL +2\.2 +accept +payload answered +ok\n/)
  expect(shown.stdout).toContain('does what the specification demands')
  const bad = (await faulty('reads every header')) as { port: number }
  const json = await command(`127.0.0.1:${bad.port}`, '--json', '--connections', '16', '--timeout', '1500')
  expect(json.code).toBe(1)
  expect(json.stderr).toBe('')
  const report = printed.parse(JSON.parse(json.stdout))
  expect(report).toMatchObject({ passed: false, speaks: [1, 2] })
  expect(report.cases.filter((each) => each.verdict === 'fails').map(({ id }) => id)).toEqual(['v1-second', 'v2-second'])
})

test('the command: nobody there', async () => {
  const receiver = new FaultyReceiver(null)
  const { port } = await receiver.listen()
  receiver.close()
  const { code, stderr } = await command(`127.0.0.1:${port}`)
  expect(code).toBe(1)
  expect(stderr).toMatch(/^receiver\.unreachable: 127\.0\.0\.1:\d+ can't be reached \(the connection is refused\); /)
})
