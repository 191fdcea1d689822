/** The router as a process: its start, its refusals, its end, and the store commands beside it. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import type { Server } from 'node:net'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { loadRouterConfig } from '../../router/config.ts'
import { storeCommand } from '../../router/store-command.ts'
import type { RouterProcess } from '../support/router-process.ts'
import { runRouter, startRouter, writeConfig } from '../support/router-process.ts'

const directories: string[] = []
const running: RouterProcess[] = []

function fresh(): string {
  const directory = mkdtempSync(join(tmpdir(), 'nearcast-router-'))
  directories.push(directory)
  return directory
}

async function start(...args: Parameters<typeof startRouter>): Promise<RouterProcess> {
  const router = await startRouter(...args)
  running.push(router)
  return router
}

afterEach(async () => {
  await Promise.all(running.splice(0).map((router) => router.end('SIGKILL')))
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true })
})

/** Node has no documented way to it. */
function descriptorOf(server: Server): number {
  return (server as unknown as { _handle: { fd: number } })._handle.fd
}

async function call(router: RouterProcess, token: string, method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
  const response = await fetch(`http://127.0.0.1:${Number(router.ready['api'])}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, connection: 'close' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  return (await response.json()) as Record<string, unknown>
}

function invalid(message: RegExp): unknown {
  return expect.objectContaining({ code: 'config.invalid', message: expect.stringMatching(message) as string })
}

test('starts, writes the operator token once, answers on the admin port, stops on SIGTERM, and lost nothing after SIGKILL', async () => {
  const directory = fresh()
  const config = writeConfig(directory)
  const first = await start(config)
  const tokenFile = join(directory, 'state', 'operator.token')
  const token = readFileSync(tokenFile, 'utf8').trim()
  for (const file of ['operator.token', 'ca.key', 'ca.pem', 'credentials.key', 'hop.key', 'nearcast.db', 'high-water.log']) {
    expect([file, statSync(join(directory, 'state', file)).mode & 0o077]).toEqual([file, 0])
  }
  const admin = `http://127.0.0.1:${Number(first.ready['admin'])}`
  const read = async (path: string): Promise<string> => (await fetch(admin + path, { headers: { connection: 'close' } })).text()
  expect(await read('/healthz')).toBe('ok\n')
  expect(await read('/readyz')).toBe('ready\n')
  expect(await read('/metrics')).toContain('nearcast_router_revision 1')
  expect(await call(first, token, 'POST', '/v1/orgs', { name: 'acme' })).toMatchObject({ name: 'acme' })
  await first.end('SIGKILL')
  const second = await start(config)
  expect(await call(second, token, 'GET', '/v1/orgs')).toMatchObject([{ name: 'acme' }])
  expect(readFileSync(tokenFile, 'utf8').trim()).toBe(token)
  expect(await second.end('SIGTERM')).toBe(0)
})

test('takes the token of its starter, a Unix socket, and an inherited loopback socket', async () => {
  const token = 'given-by-the-starter-0123456789abcdef'
  const directory = fresh()
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const inherited = await start(writeConfig(directory), { NEARCAST_BOOTSTRAP_TOKEN: token, NEARCAST_ROUTER_API_LISTEN: 'fd:3' }, [descriptorOf(server)])
  server.close()
  expect(inherited.ready['api']).toBe(port)
  expect(await call(inherited, token, 'GET', '/v1/orgs')).toEqual([])
  expect(existsSync(join(directory, 'state', 'operator.token'))).toBe(false)
  await inherited.end('SIGTERM')
  const socket = join(directory, 'api.sock')
  const everywhere = createServer()
  await new Promise<void>((resolve) => everywhere.listen(0, '0.0.0.0', resolve))
  await expect(start(writeConfig(directory), { NEARCAST_ROUTER_API_LISTEN: 'fd:3' }, [descriptorOf(everywhere)])).rejects.toThrow('config.invalid')
  everywhere.close()
  const unix = await start(writeConfig(directory), { NEARCAST_ROUTER_API_LISTEN: `unix:${socket}` })
  expect(statSync(socket).isSocket()).toBe(true)
  await unix.end('SIGKILL')
  // The killed router's socket file is in the way, and is replaced.
  await start(writeConfig(directory), { NEARCAST_ROUTER_API_LISTEN: `unix:${socket}` })
})

test('refuses what it must not do, with one line that says why', async () => {
  const directory = fresh()
  const config = writeConfig(directory)
  const load = (env: Record<string, string>, file = config) => (): unknown => loadRouterConfig(file, env)
  expect(load({ NEARCAST_ROUTER_API_LISTEN: '0.0.0.0:7200' })).toThrow(invalid(/^api\.listen: .*unencrypted/))
  expect(load({ NEARCAST_ROUTER_API_LISTEN: '[fd00::1]:7200' })).toThrow(invalid(/^api\.listen: .*unencrypted/))
  expect(load({ NEARCAST_ROUTER_API_LISTEN: 'nonsense' })).toThrow(invalid(/api\.listen/))
  expect(load({ NEARCAST_BOOTSTRAP_TOKEN: 'short' })).toThrow(invalid(/^NEARCAST_BOOTSTRAP_TOKEN/))
  expect(load({}, join(directory, 'none.toml'))).toThrow(expect.objectContaining({ code: 'config.missing' }))
  writeFileSync(join(directory, 'bad.toml'), 'stateDir = "/tmp/x"\nquotass = 1\n')
  expect(load({}, join(directory, 'bad.toml'))).toThrow(invalid(/quotass/))
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const { code, err } = await runRouter(['--config', config], { NEARCAST_ROUTER_API_LISTEN: `127.0.0.1:${port}` })
  expect(code).toBe(1)
  expect(err).toMatch(/^listen\.in-use: [^\n]+\n$/)
  await new Promise((resolve) => server.close(resolve))
})

test('backup, restore and verify: a restored registry never gives out again what was given out since', async () => {
  const token = 'given-by-the-starter-0123456789abcdef'
  const directory = fresh()
  const config = writeConfig(directory)
  const copy = join(directory, 'copy.db')
  const router = await start(config, { NEARCAST_BOOTSTRAP_TOKEN: token })
  await call(router, token, 'POST', '/v1/orgs', { name: 'acme' })
  await call(router, token, 'POST', '/v1/nodes', { id: 'n1', region: 'mad', hop: 'v1', endpoint: '[fd00::1]:6379' })
  const service = await call(router, token, 'POST', '/v1/orgs/acme/services', { name: 'a', port: 80, nodes: ['n1'] })
  expect(await runRouter(['store', 'backup', copy, '--config', config])).toMatchObject({ code: 0, err: '' })
  expect(statSync(copy).mode & 0o777).toBe(0o600)
  const command = (...args: string[]) => (): unknown => storeCommand(loadRouterConfig(config, {}), args)
  expect(command('backup', copy)).toThrow(expect.objectContaining({ code: 'config.invalid' }))
  const since = await call(router, token, 'POST', '/v1/orgs/acme/services', { name: 'b', port: 80, nodes: ['n1'] })
  await call(router, token, 'POST', '/v1/orgs', { name: 'globex' })
  expect((await runRouter(['store', 'restore', copy, '--config', config])).err).toMatch(/^store\.locked/)
  expect(command('verify')).not.toThrow()
  const before = Number((await call(router, token, 'GET', '/v1/status'))['revision'])
  await router.end('SIGTERM')

  const noise = join(directory, 'noise')
  writeFileSync(noise, 'this is no store')
  expect(command('restore', noise)).toThrow(expect.objectContaining({ code: 'store.corrupt' }))
  expect(await runRouter(['store', 'restore', copy, '--config', config])).toMatchObject({ code: 0, err: '' })
  expect(command('verify', copy)).not.toThrow()
  expect(command('nonsense')).toThrow(expect.objectContaining({ code: 'config.invalid' }))

  const restored = await start(config, { NEARCAST_BOOTSTRAP_TOKEN: token })
  expect(Number(restored.ready['revision'])).toBeGreaterThanOrEqual(before)
  expect((await call(restored, token, 'GET', '/v1/orgs/acme/services/b'))['code']).toBe('service.not-found')
  const next = await call(restored, token, 'POST', '/v1/orgs/acme/services', { name: 'c', port: 80, nodes: ['n1'] })
  expect([service['address'], since['address'], next['address']]).toEqual(['fdaa:0:1:0:1::1', 'fdaa:0:1:0:1::2', 'fdaa:0:1:0:1::3'])
  expect(await call(restored, token, 'POST', '/v1/orgs', { name: 'initech' })).toMatchObject({ networks: [{ id: 3 }] })
})
