/** TLS policies of addresses: through the API into the feed's view, what is refused, and stores made before there were any. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Views } from '../../router/registry/feed/views.ts'
import type { AddressRecord, DialerRecord } from '../../router/registry/store/records.ts'
import { SCHEMA_VERSION } from '../../router/registry/store/schema.ts'
import { SqliteStore } from '../../router/registry/store/sqlite-store.ts'
import { HopKeyring } from '../../router/registry/trust/hop-keys.ts'
import { EdgeCa } from '../support/edge-certificates.ts'
import type { EdgeCertificate } from '../support/edge-certificates.ts'
import type { TestRegistry } from '../support/registry.ts'
import { startRegistry } from '../support/registry.ts'

let directory: string
let registry: TestRegistry
let ca: EdgeCa
let leaf: EdgeCertificate
let foreign = ''

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'nearcast-router-tls-'))
  ca = await EdgeCa.create(directory)
  leaf = await ca.issue(['a.example'])
  registry = await startRegistry()
  await registry.made('/v1/orgs', { name: 'acme' })
  await registry.made('/v1/orgs', { name: 'globex' })
  await registry.join('agent', 'mad-1')
  await registry.made('/v1/nodes', { id: 'foreign-1', region: 'mad', hop: 'v2', endpoint: '[fd00::9]:6379' })
  const service = await registry.made('/v1/orgs/acme/services', { name: 'web', port: 443, nodes: ['foreign-1'] })
  foreign = String(service['address'])
})

afterAll(async () => {
  await registry.remove()
  rmSync(directory, { recursive: true })
})

const change = async (address: string, tls: object, org = 'acme'): Promise<[number, unknown]> => {
  const { status, body } = await registry.call('PATCH', `/v1/orgs/${org}/addresses/${address}`, { tls })
  return [status, status === 200 ? body['tls'] : body['code']]
}

/** What a proxy is told. */
function rowOf(address: string): unknown {
  const record = registry.registry.store.get('addresses', address)
  const member: DialerRecord = { id: 'proxy/x', kind: 'proxy', region: 'r', host: 'h', serial: '1', epoch: 1, rotation: 0, peers: [], createdAt: '' }
  return new Views(new HopKeyring(Buffer.alloc(32)), registry.registry.vault).project({ member, node: null }, 'addresses', record)
}

test('a database says its policy in its URLs, its address to the proxies', async () => {
  const off = await registry.made('/v1/orgs/acme/redis', { name: 'off', region: 'mad' })
  expect([off['tls'], String(off['url']).startsWith('redis://')]).toEqual(['off', true])
  expect(off['env']).not.toHaveProperty('REDIS_TLS_URL')
  expect(rowOf(String(off['address']))).not.toHaveProperty('tls')

  const auto = await registry.made('/v1/orgs/acme/redis', { name: 'auto', region: 'mad', tls: { policy: 'auto' } })
  expect(auto).toMatchObject({ tls: 'auto', url: expect.stringMatching(/^redis:/), env: { REDIS_TLS_URL: expect.stringMatching(/^rediss:.*@auto\.flycast:6379$/) } })
  expect(rowOf(String(auto['address']))).toMatchObject({ tls: { policy: 'auto' } })

  const only = await registry.made('/v1/orgs/acme/redis', { name: 'only', region: 'mad', tls: { policy: 'terminate', alpn: ['redis'] } })
  expect(only).toMatchObject({ tls: 'terminate', url: expect.stringMatching(/^rediss:/) })
  expect(rowOf(String(only['address']))).toMatchObject({ tls: { policy: 'terminate', alpn: ['redis'] } })
})

test('it is changed as a whole, and audited; only by the owner', async () => {
  const { address } = await registry.made('/v1/orgs/acme/addresses', { service: 'web', tls: { policy: 'passthrough' } })
  const text = String(address)
  expect(rowOf(text)).toMatchObject({ tls: { policy: 'passthrough' } })
  expect(await change(text, { policy: 'terminate', clientCa: ca.pem })).toEqual([200, { policy: 'terminate', clientCa: ca.pem }])
  expect(await change(text, { policy: 'auto', alpn: ['h2'] })).toEqual([200, { policy: 'auto', alpn: ['h2'] }])
  expect(await change(text, { policy: 'auto' }, 'globex')).toEqual([404, 'address.not-found'])
  expect(await change(text, { policy: 'off' })).toEqual([200, { policy: 'off' }])
  expect(rowOf(text)).not.toHaveProperty('tls')
  const last = registry.registry.store.audit(0, 1000).findLast(({ kind }) => kind === 'addresses')
  expect(last).toMatchObject({ what: 'address.change', key: text, before: { tls: { policy: 'auto', alpn: ['h2'] } }, after: { tls: null } })
})

test('what cannot work is refused, and changes nothing', async () => {
  const { address } = await registry.made('/v1/orgs/acme/redis', { name: 'strict', region: 'mad' })
  const text = String(address)
  expect(await change(text, { policy: 'passthrough' })).toEqual([400, 'tls.unsuitable'])
  expect(await change(text, { policy: 'auto', clientCa: ca.pem })).toEqual([400, 'tls.unsuitable'])
  expect(await change(text, { policy: 'off', alpn: ['a'] })).toEqual([400, 'tls.unsuitable'])
  expect(await change(foreign, { policy: 'passthrough', alpn: ['a'] })).toEqual([400, 'tls.unsuitable'])
  expect(await change(text, { policy: 'terminate', clientCa: 'nonsense' })).toEqual([400, 'tls.client-ca-invalid'])
  expect(await change(text, { policy: 'terminate', clientCa: leaf.certificate })).toEqual([400, 'tls.client-ca-invalid'])
  expect(await change(text, { policy: 'terminate', clientCa: 'x'.repeat(20_000) })).toEqual([400, 'api.body-invalid'])
  expect(await change(text, { policy: 'sometimes' })).toEqual([400, 'api.body-invalid'])
  expect(rowOf(text)).not.toHaveProperty('tls')
  const refused = await registry.call('POST', '/v1/orgs/acme/redis', { name: 'never', region: 'mad', tls: { policy: 'passthrough' } })
  expect([refused.status, refused.body['code']]).toEqual([400, 'tls.unsuitable'])
  expect((await registry.call('GET', '/v1/orgs/acme/redis/never')).status).toBe(404)
})

test('a store of format 2 is brought up: its addresses are off', () => {
  const file = join(directory, 'old.db')
  const record: AddressRecord = { address: 'fdaa:0:1:0:1::1', org: 'o', network: 1, generation: 1, service: 's', nodes: [], active: true, tls: { policy: 'auto' }, createdAt: '' }
  new SqliteStore({ file }).close()
  const old = new DatabaseSync(file)
  const { tls: _tls, ...before } = record
  old.prepare("INSERT INTO records (kind, key, org, body) VALUES ('addresses', ?, 'o', ?)").run(record.address, JSON.stringify(before))
  old.exec('PRAGMA user_version = 2')
  old.close()
  const store = new SqliteStore({ file })
  expect(store.get('addresses', record.address)).toEqual({ ...record, tls: null })
  store.close()
  const now = new DatabaseSync(file)
  expect(now.prepare('PRAGMA user_version').get()).toEqual({ user_version: SCHEMA_VERSION })
  now.close()
})
