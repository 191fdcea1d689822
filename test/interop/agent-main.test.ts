/** Real processes: a router, agents that join it, databases made through the API, kills and restarts. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { RespClient } from '../../agent/redis/resp/client.ts'
import type { AgentPlace, AgentProcess } from '../support/agent-process.ts'
import { agentPlace, startAgentProcess } from '../support/agent-process.ts'
import { killWithin, runs } from '../support/processes.ts'
import type { RouterProcess } from '../support/router-process.ts'
import { startRouter, writeConfig } from '../support/router-process.ts'
import { until } from '../support/until.ts'

const TOKEN = 'operator-token-of-the-test-0123456789'
const closing: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), 'nearcast-agent-'))
  closing.push(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen({ host: '::1', port: 0 }, resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

class Cluster {
  readonly base = temporary()
  readonly router: RouterProcess

  private constructor(router: RouterProcess) {
    this.router = router
    closing.push(() => router.end('SIGKILL'))
  }

  static async start(): Promise<Cluster> {
    return new Cluster(await startRouter(writeConfig(temporary()), { NEARCAST_BOOTSTRAP_TOKEN: TOKEN }))
  }

  async api<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
    const response = await fetch(`http://127.0.0.1:${String(this.router.ready['api'])}${path}`, {
      method,
      headers: { authorization: `Bearer ${TOKEN}`, ...(body !== undefined && { 'content-type': 'application/json' }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${response.status} ${text}`)
    return (text === '' ? null : JSON.parse(text)) as Answer
  }

  async place(id: string, outliveAgent = false): Promise<AgentPlace> {
    return agentPlace(this.base, id, `https://[::1]:${String(this.router.ready['feed'])}`, await freePort(), outliveAgent)
  }

  async join(place: AgentPlace, id: string): Promise<AgentProcess> {
    const { token } = await this.api<{ token: string }>('POST', '/v1/join-tokens', { kind: 'agent', id, region: id, host: `${id}-host` })
    return run(place, { NEARCAST_JOIN_TOKEN: token })
  }
}

async function run(place: AgentPlace, env: Record<string, string> = {}): Promise<AgentProcess> {
  const agent = await startAgentProcess(place, env)
  closing.push(() => agent.end('SIGKILL'))
  return agent
}

async function say(place: AgentPlace, service: string, password: string, ...words: string[]): Promise<string> {
  const client = new RespClient(join(place.dataDir, service, 'data', 'redis.sock'))
  try {
    await client.command(['AUTH', password], 3000)
    const reply = await client.command(words, 3000)
    return reply.kind === 'text' || reply.kind === 'error' ? reply.text : reply.kind
  } catch {
    return 'no answer'
  } finally {
    client.close()
  }
}

async function admin(agent: AgentProcess, path: string): Promise<{ status: number; text: string }> {
  const response = await fetch(`http://127.0.0.1:${agent.adminPort}${path}`)
  return { status: response.status, text: await response.text() }
}

interface Database {
  readonly id: string
  readonly password: string
  readonly provisioning: { readonly agents: readonly { readonly id: string; readonly error?: unknown }[] }
}

test('join, provision with a replica, lose the router, be killed, serve on from the cache, stop', async () => {
  const cluster = await Cluster.start()
  const places = { mad: await cluster.place('mad', true), gru: await cluster.place('gru') }
  const mad = await cluster.join(places.mad, 'mad')
  const gru = await cluster.join(places.gru, 'gru')
  expect(await admin(mad, '/readyz')).toEqual({ status: 200, text: 'ready\n' })
  await cluster.api('POST', '/v1/orgs', { name: 'acme' })
  const made = await cluster.api<Database>('POST', '/v1/orgs/acme/redis', { name: 'cache', region: 'mad', replicas: ['gru'], appendFsync: 'always' })
  expect(made.provisioning.agents.map(({ id }) => id).toSorted()).toEqual(['agent/gru', 'agent/mad'])
  expect(made.provisioning.agents.filter(({ error }) => error !== undefined)).toEqual([])
  const note = join(places.mad.dataDir, made.id, 'engine')
  const enginePid = (): number => (JSON.parse(readFileSync(note, 'utf8')) as { pid: number }).pid
  const first = enginePid()
  closing.push(() => killWithin(cluster.base))
  expect(await say(places.mad, made.id, made.password, 'SET', 'k', 'v')).toBe('OK')
  await expect.poll(() => say(places.gru, made.id, made.password, 'GET', 'k'), { timeout: 5000 }).toBe('v')
  expect(await say(places.gru, made.id, made.password, 'SET', 'k', 'x')).toMatch(/^READONLY/)

  // Nothing that another user could read, and no secret in what it says.
  expect(statSync(join(places.mad.directory, 'state')).mode & 0o077).toBe(0)
  expect(statSync(join(places.mad.directory, 'state', 'identity.json')).mode & 0o077).toBe(0)
  expect(statSync(places.mad.socket).mode & 0o077).toBe(0)
  const { text } = await admin(mad, '/metrics')
  expect(text).toContain(`nearcast_agent_engine_up{service="${made.id}"} 1`)
  const identity = JSON.parse(readFileSync(join(places.mad.directory, 'state', 'identity.json'), 'utf8')) as { key: string }
  for (const secret of [made.password, identity.key.split('\n')[1] ?? '']) expect(mad.lines.join('\n') + text).not.toContain(secret)

  await cluster.router.end('SIGKILL')
  await mad.end('SIGKILL')
  const again = await run(places.mad)
  await expect.poll(() => say(places.mad, made.id, made.password, 'GET', 'k'), { timeout: 5000 }).toBe('v')
  expect(await say(places.mad, made.id, made.password, 'SET', 'k', 'later')).toBe('OK')
  await expect.poll(() => say(places.gru, made.id, made.password, 'GET', 'k'), { timeout: 8000 }).toBe('later')
  expect((await admin(again, '/metrics')).text).toContain(`nearcast_agent_engine_adoptions_total{service="${made.id}"} 1`)
  expect(await Promise.all([again.end('SIGTERM'), gru.end('SIGTERM')])).toEqual([0, 0])
  // A restart leaves what a Ctrl-C ends.
  expect(await say(places.mad, made.id, made.password, 'GET', 'k')).toBe('later')
  const last = await run(places.mad)
  expect(enginePid()).toBe(first)
  expect(await last.end('SIGINT')).toBe(0)
  expect(runs(first)).toBe(false)
  expect(existsSync(places.mad.socket)).toBe(false)
}, 120_000)

test('removing a database ends its engine; a hop port that is taken ends the agent with one readable line', async () => {
  const cluster = await Cluster.start()
  const place = await cluster.place('mad')
  const agent = await cluster.join(place, 'mad')
  await cluster.api('POST', '/v1/orgs', { name: 'acme' })
  const made = await cluster.api<Database>('POST', '/v1/orgs/acme/redis', { name: 'cache', region: 'mad' })
  expect(await say(place, made.id, made.password, 'PING')).toBe('PONG')
  await cluster.api('DELETE', '/v1/orgs/acme/redis/cache')
  await until('its data is put away', () => !existsSync(join(place.dataDir, made.id)) && existsSync(join(place.dataDir, 'removed')))
  await agent.end('SIGTERM')

  const port = Number(/listen = "\[::1\]:(\d+)"/.exec(readFileSync(place.file, 'utf8'))?.[1])
  const squatter = createServer()
  await new Promise<void>((resolve) => squatter.listen({ host: '::1', port }, resolve))
  closing.push(() => new Promise((resolve) => squatter.close(resolve)))
  await expect(run(place)).rejects.toThrow(/ended with 1: listen\.in-use: /)
})
