/** Backends without any socket: how they are written, which ones an agent may dial, and when one counts as available. */
import { expect, test } from 'vitest'
import { AllowList, isEntry } from '../../agent/backends/allow-list.ts'
import { Backends } from '../../agent/backends/backends.ts'
import { parseIpv6 } from '../../lib/address.ts'
import { parseBackend } from '../../lib/backend.ts'
import { FeedTable } from '../../lib/feed/table.ts'
import { createLogger } from '../../lib/log.ts'
import { backendRow } from '../support/data-node.ts'

test.each([
  ['unix:/run/postgresql/.s.PGSQL.5432', { kind: 'unix', path: '/run/postgresql/.s.PGSQL.5432' }],
  ['127.0.0.1:5432', { kind: 'tcp', host: '127.0.0.1', port: 5432 }],
  ['[fd00::7]:1', { kind: 'tcp', host: 'fd00::7', port: 1 }],
  ['DB.internal:65535', { kind: 'tcp', host: 'db.internal', port: 65535 }],
])('%s is a backend', (text, backend) => {
  expect(parseBackend(text)).toEqual(backend)
})

test.each([
  '', 'unix:', 'unix:run/x', 'unix:/run/../etc/x', 'unix:/run//x', 'unix:/run/x/', 'unix:/a\0b', `unix:/${'x'.repeat(107)}`,
  '127.0.0.1', '127.0.0.1:0', '127.0.0.1:65536', '127.0.0.1:05432', 'fd00::7:5432', '[fd00::7%eth0]:1', '[fd00::zz]:1', '[127.0.0.1]:1',
  ':5432', '-a:1', 'a-:1', 'a b:1', 'a:1 ', 'http://a:1', 'a\n:1',
])('%j is none', (text) => {
  expect(() => parseBackend(text)).toThrow(expect.objectContaining({ code: 'service.backend-invalid' }))
})

test.each([
  ['unix:/run/postgresql/*', ['unix:/run/postgresql/.s.PGSQL.5432'], ['unix:/run/postgresql/a/b', 'unix:/run/postgresqlx/a', 'unix:/etc/x', '127.0.0.1:5432']],
  ['unix:/run/*/s.sock', ['unix:/run/a/s.sock'], ['unix:/run/a/b/s.sock', 'unix:/run/a/sXsock']],
  ['127.0.0.1:5432', ['127.0.0.1:5432', '[::ffff:127.0.0.1]:5432'], ['127.0.0.1:5433', '127.0.0.2:5432', 'localhost:5432', '127.1:5432', '2130706433:5432', '[::1]:5432']],
  ['[::1]:*', ['[::1]:1', '[0:0:0:0:0:0:0:1]:65535'], ['[::]:1', '127.0.0.1:1']],
  ['10.0.0.0/8:*', ['10.255.0.1:1'], ['11.0.0.1:1', '010.0.0.1:1']],
  ['[fd00::]/8:5432', ['[fd12:3::4]:5432'], ['[fe80::1]:5432', '[fd12::1]:5433', '10.0.0.1:5432']],
  ['db.internal:5432', ['DB.internal:5432'], ['xdb.internal:5432', 'db.internal:1', 'dbXinternal:5432']],
])('%s', (entry, allowed, denied) => {
  const list = new AllowList(['unix:/nowhere', entry])
  expect(isEntry(entry)).toBe(true)
  for (const text of allowed) expect([text, list.allows(parseBackend(text))]).toEqual([text, true])
  for (const text of denied) expect([text, list.allows(parseBackend(text))]).toEqual([text, false])
})

test('an empty list allows nothing', () => {
  for (const text of ['unix:/x', '127.0.0.1:1', 'a:1', '[::1]:1']) expect(new AllowList([]).allows(parseBackend(text))).toBe(false)
})

test.each(['', '*', '*:5432', 'unix:x', '::1:5432', '10.0.0.0/33:1', '[fd00::]/129:1', 'db.internal/8:1', '127.0.0.1:0', '127.0.0.1:99999', '[10.0.0.1]:1', '10.0.0.1'])(
  '%j is no entry',
  (text) => {
    expect(isEntry(text)).toBe(false)
  },
)

function scene() {
  const table = new FeedTable()
  const failures = new Map<string, string | null>()
  const checked: string[] = []
  let published: Readonly<Record<string, string>> = {}
  const backends = new Backends({
    allow: new AllowList(['127.0.0.1:*']),
    check: ({ target }) => {
      const name = target.kind === 'tcp' ? String(target.port) : target.path
      checked.push(name)
      return Promise.resolve(failures.get(name) ?? null)
    },
    checkIntervalMs: 5,
    checkTimeoutMs: 5,
    log: createLogger('agent', 'silent'),
    publish: (unavailable) => (published = unavailable),
  })
  const apply = (...changes: Parameters<FeedTable['apply']>[0]) => {
    table.apply(changes)
    return backends.apply(table.services, new Set(changes.map(({ key }) => key)))
  }
  return { backends, failures, checked, apply, published: () => published }
}

test('what is denied, damaged or missing is reported by its code and never checked', async () => {
  const { backends, checked, apply, published } = scene()
  const failed = await apply(backendRow('denied', '10.0.0.1:1'), backendRow('damaged', 'x'), backendRow('missing', null), backendRow('well', '127.0.0.1:1'))
  const codes = { denied: 'service.backend-denied', damaged: 'service.backend-invalid', missing: 'service.backend-missing' }
  expect(Object.fromEntries(failed.map(({ service, code }) => [service, code]))).toEqual(codes)
  expect(published()).toEqual(codes)
  expect(new Set(checked)).toEqual(new Set(['1']))
  backends.stop()
})

test('it is available while its checks succeed; a removed one is nobody’s concern', async () => {
  const { backends, failures, apply, published } = scene()
  failures.set('1', 'refused')
  expect(await apply(backendRow('s', '127.0.0.1:1'))).toMatchObject([{ service: 's', code: 'service.backend-down' }])
  expect(published()).toEqual({ s: 'service.backend-down' })
  failures.clear()
  await expect.poll(published).toEqual({})
  failures.set('1', 'refused')
  await expect.poll(published).toEqual({ s: 'service.backend-down' })
  await apply({ table: 'services', key: 's', row: null })
  expect(published()).toEqual({})
  expect(backends.services.size).toBe(0)
  backends.stop()
})

test('a row that says the same changes nothing; another backend is checked before it counts', async () => {
  const { backends, apply } = scene()
  await apply(backendRow('s', '127.0.0.1:1'))
  const before = backends.services.get('s')
  await apply(backendRow('s', '127.0.0.1:1'))
  expect(backends.services.get('s')).toBe(before)
  await apply(backendRow('s', '127.0.0.1:2', 'v1'))
  expect(backends.services.get('s')).not.toBe(before)
  const ends = { source: { ip: parseIpv6('fdaa:0:1:2::5'), port: 40_000 }, destination: { ip: parseIpv6('fdaa:0:1:0:1::2'), port: 5432 } }
  const answer = backends.answer({ service: 's', ...ends })
  expect(answer).toMatchObject({ target: { kind: 'tcp', host: '127.0.0.1', port: 2 } })
  expect('header' in answer && Buffer.from(answer.header).toString()).toBe('PROXY TCP6 fdaa:0:1:2::5 fdaa:0:1:0:1::2 40000 5432\r\n')
  backends.stop()
})
