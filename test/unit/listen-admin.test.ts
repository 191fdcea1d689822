/** Where servers listen, and what the administration port answers. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { startAdmin } from '../../lib/admin.ts'
import { isLoopback, listenOn, parseListen } from '../../lib/listen.ts'
import { Metrics } from '../../lib/metrics.ts'

test('places to listen, and what is none', () => {
  expect(parseListen('127.0.0.1:7200')).toEqual({ kind: 'tcp', host: '127.0.0.1', port: 7200 })
  expect(parseListen('[::1]:0')).toEqual({ kind: 'tcp', host: '::1', port: 0 })
  expect(parseListen('unix:/run/x.sock')).toEqual({ kind: 'unix', path: '/run/x.sock' })
  expect(parseListen('fd:3')).toEqual({ kind: 'fd', fd: 3 })
  for (const bad of ['', ':80', '127.0.0.1', '::1:80', 'localhost:80', '127.0.0.1:65536', '127.0.0.1:-1', 'unix:relative', 'fd:x', '[127.0.0.1', '[]:1']) {
    expect(() => parseListen(bad)).toThrow(expect.objectContaining({ code: 'config.invalid' }))
  }
  expect(['127.0.0.1', '127.9.9.9', '::1', '0.0.0.0', '::', '10.0.0.1', 'fd00::1', 'localhost'].filter(isLoopback)).toEqual(['127.0.0.1', '127.9.9.9', '::1'])
})

test('a place in use is said so, also a Unix socket that somebody serves', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'nearcast-listen-'))
  const path = join(directory, 's')
  const [first, second] = [createServer(), createServer()]
  await listenOn(first, { kind: 'unix', path })
  await expect(listenOn(second, { kind: 'unix', path })).rejects.toMatchObject({ code: 'listen.in-use' })
  const port = await listenOn(second, { kind: 'tcp', host: '127.0.0.1', port: 0 })
  await expect(listenOn(createServer(), { kind: 'tcp', host: '127.0.0.1', port })).rejects.toMatchObject({ code: 'listen.in-use' })
  await expect(listenOn(createServer(), { kind: 'unix', path: join(directory, 'no', 's') })).rejects.toMatchObject({ code: 'listen.denied' })
  await expect(listenOn(createServer(), { kind: 'tcp', host: '192.0.2.1', port: 0 })).rejects.toMatchObject({ code: 'listen.denied' })
  await Promise.all([first, second].map((server) => new Promise((resolve) => server.close(resolve))))
  rmSync(directory, { recursive: true, force: true })
})

test('the admin port: alive, ready or why not, metrics, and nothing else', async () => {
  const metrics = new Metrics('test')
  metrics.counter('things_total', 'Things').inc(3)
  let reasons = ['no table yet', 'router away']
  const admin = await startAdmin({ listen: '127.0.0.1:0', metrics, ready: () => reasons })
  const ask = async (path: string, method = 'GET'): Promise<[number, string]> => {
    const response = await fetch(`http://127.0.0.1:${admin.port}${path}`, { method, headers: { connection: 'close' } })
    return [response.status, await response.text()]
  }
  expect(await ask('/healthz')).toEqual([200, 'ok\n'])
  expect(await ask('/readyz')).toEqual([503, 'no table yet\nrouter away\n'])
  reasons = []
  expect(await ask('/readyz?x=1')).toEqual([200, 'ready\n'])
  expect((await ask('/metrics'))[1]).toContain('nearcast_test_things_total 3')
  expect((await ask('/'))[0]).toBe(404)
  expect((await ask('/healthz', 'POST'))[0]).toBe(405)
  expect(await ask('/healthz', 'HEAD')).toEqual([200, ''])
  await admin.close()
})
