/** The backbone in the registry: who may join it with which addresses, who is told, new keys step by step, out. */
import { createHash } from 'node:crypto'
import { join as joinPath } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { FeedReaderOptions, FeedTable } from '../../lib/feed/reader.ts'
import { join } from '../../lib/identity.ts'
import type { BackbonePlace, Identity } from '../../lib/identity.ts'
import { verifyStore } from '../../router/registry/store/verification.ts'
import type { TestRegistry } from '../support/registry.ts'
import { startRegistry } from '../support/registry.ts'
import { until } from '../support/until.ts'

let registry: TestRegistry
const key = (seed: string): string => createHash('sha256').update(seed).digest('base64')

beforeAll(async () => {
  registry = await startRegistry()
})
afterAll(() => registry.remove())

interface Reading {
  readonly table: () => FeedTable
  /** Keys of a host as each revision showed them. */
  readonly seen: readonly (readonly string[])[]
  stop(): Promise<void>
}

async function reading(identity: Identity, watched: string, options: Partial<FeedReaderOptions> = {}): Promise<Reading> {
  let table: FeedTable | undefined
  const seen: (readonly string[])[] = []
  const reader = registry.reader(identity, {
    apply: (current) => {
      table = current
      const keys = current.backbone.get(watched)?.keys ?? []
      if (keys.join() !== (seen.at(-1) ?? []).join()) seen.push(keys)
      return []
    },
    ...options,
  })
  await reader.start()
  return { table: () => table ?? expect.fail('no table'), seen, stop: () => reader.stop() }
}

async function joinAs(id: string, place: Partial<BackbonePlace>): Promise<unknown> {
  const backbone = { publicKey: key(id), endpoint: '[fd00::1]:51821', addresses: ['fd00::99'], ...place }
  const options = { routerUrl: registry.feedUrl, token: await registry.joinToken('backbone', id), stateDir: joinPath(registry.directory, 'other', id), kind: 'backbone' as const, id, backbone }
  return join(options).then(() => 'joined', (error: { readonly code: string }) => error.code)
}

test('hosts of the backbone know each other and nothing else; nobody else knows them', async () => {
  const mad = await reading(await registry.join('backbone', 'mad-1'), 'mad-1')
  const gru = await reading(await registry.join('backbone', 'gru-1'), 'mad-1')
  const others = await Promise.all((['proxy', 'agent', 'gateway'] as const).map(async (kind) => reading(await registry.join(kind, 'mad-1'), 'mad-1')))
  await registry.made('/v1/orgs', { name: 'acme' })
  await registry.made('/v1/orgs/acme/redis', { name: 'cache', region: 'mad' })
  await until('all are told', () => others[0]?.table().services.size === 1 && mad.table().backbone.size === 2)
  for (const { table } of [mad, gru]) {
    expect(table().rows().map((row) => `${row.table} ${row.key}`).toSorted()).toEqual(['backbone gru-1', 'backbone mad-1'])
    expect(table().backbone.get('mad-1')).toMatchObject({ host: 'host-mad-1', keys: [key('mad-1')], endpoint: '[fd00::1]:51821' })
  }
  for (const { table } of others) expect(table().rows().filter((row) => row.table === 'backbone' || row.key.startsWith('backbone/'))).toEqual([])
  const listed = (await registry.call('GET', '/v1/backbone')).body
  expect(listed).toMatchObject([{ id: 'mad-1', host: 'host-mad-1', publicKey: key('mad-1'), connected: true }, { id: 'gru-1' }])
  await Promise.all([mad, gru, ...others].map((each) => each.stop()))
})

test.each([
  ['of the tenants', { addresses: ['fdaa:0:1::2'] }, 'address.invalid'],
  ['of every host', { addresses: ['::1'] }, 'address.invalid'],
  ['of a link', { addresses: ['fe80::1'] }, 'address.invalid'],
  ['of a group', { addresses: ['ff02::1'] }, 'address.invalid'],
  ['that is none', { addresses: ['mad-1'] }, 'address.invalid'],
  ['of another host', { addresses: ['fd00::8', `fd00::${createHash('sha256').update('mad-1').digest('hex').slice(0, 4)}`] }, 'backbone.address-taken'],
  ['with a key of another host', { publicKey: key('mad-1') }, 'wireguard.key-taken'],
  ['found by a name', { endpoint: 'mad-1.example.net:51821' }, 'api.body-invalid'],
])('an address %s is refused', async (_what, place, code) => {
  expect(await joinAs('evil', place)).toBe(code)
  expect((await registry.call('GET', '/v1/backbone')).body).toHaveLength(2)
})

test('a new key: all accept it before it is used, a host that is away holds it up, then the old one goes', async () => {
  const [first, second, slow] = await Promise.all(['one', 'two', 'three'].map((id) => registry.join('backbone', id)))
  if (first === undefined || second === undefined || slow === undefined) throw new Error('three')
  for (const id of ['mad-1', 'gru-1']) await registry.call('DELETE', `/v1/backbone/${id}`)
  const one = await reading(first, 'one', { ask: (name) => Promise.resolve(name === 'backbone.next-key' ? { publicKey: key('next') } : { implementation: 'nearcast', reaches: ['two'] }) })
  const two = await reading(second, 'one')
  const rekey = await registry.call('POST', '/v1/backbone/one/rekey', {})
  expect([rekey.status, rekey.body]).toMatchObject([200, { id: 'one', publicKey: key('next'), change: { hosts: [{ id: 'backbone/one' }, { id: 'backbone/two' }], missing: [] } }])
  const listed = async (): Promise<Record<string, unknown> | undefined> => ((await registry.call('GET', '/v1/backbone')).body as unknown as Record<string, unknown>[])[0]
  expect(await listed()).toMatchObject({ publicKey: key('one'), rekey: { waitsFor: ['backbone/three'] }, implementation: 'nearcast', reaches: ['two'] })
  expect((await registry.call('POST', '/v1/backbone/one/rekey', {})).body['code']).toBe('backbone.rekeying')
  const three = await reading(slow, 'one')
  const steps = [[key('one')], [key('one'), key('next')], [key('next'), key('one')], [key('next')]]
  await until('the old key is gone', () => two.seen.length === steps.length)
  expect([one.seen, two.seen]).toEqual([steps, steps])
  await until('for the last one too', () => three.table().backbone.get('one')?.keys.length === 1)
  const now = await listed()
  expect([now?.['publicKey'], now?.['rekey']]).toEqual([key('next'), undefined])

  // Whoever holds it up for good is revoked, and it goes on.
  await three.stop()
  await until('it is away', () => !registry.registry.feed.isConnected('backbone/three'))
  const nextAgain = await registry.call('POST', '/v1/backbone/two/rekey', {})
  expect(nextAgain.body['code']).toBe('feed.ask-failed')
  expect((await registry.call('DELETE', '/v1/backbone/three')).body).toMatchObject({ id: 'three', deleted: true, revocation: { missing: [] } })
  await until('it is gone everywhere', () => [...two.table().backbone.keys()].join() === 'one,two')
  expect((await registry.call('DELETE', '/v1/backbone/three')).body['code']).toBe('backbone.not-found')
  expect(verifyStore(joinPath(registry.directory, 'nearcast.db'), null)).toEqual([])
})
