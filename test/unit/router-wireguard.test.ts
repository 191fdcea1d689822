/** WireGuard peers in the registry: their places, who may, what gateways are told and nobody else. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { FeedReaderOptions, FeedTable } from '../../lib/feed/reader.ts'
import { join as joinRouter } from '../../lib/identity.ts'
import type { Identity } from '../../lib/identity.ts'
import { verifyStore } from '../../router/registry/store/verification.ts'
import type { TestRegistry } from '../support/registry.ts'
import { startRegistry } from '../support/registry.ts'
import { until } from '../support/until.ts'

let registry: TestRegistry
let acme: string
let globex: string
const key = (seed: string): string => createHash('sha256').update(seed).digest('base64')
const PEERS = '/v1/orgs/acme/wireguard'

beforeAll(async () => {
  registry = await startRegistry()
  for (const name of ['acme', 'globex']) await registry.made('/v1/orgs', { name })
  acme = String((await registry.made('/v1/tokens', { name: 'a', role: 'member', org: 'acme' }))['token'])
  globex = String((await registry.made('/v1/tokens', { name: 'g', role: 'member', org: 'globex' }))['token'])
})
afterAll(() => registry.remove())

async function reading(kind: 'proxy' | 'agent' | 'gateway', id: string, ask?: FeedReaderOptions['ask']): Promise<() => FeedTable> {
  return readingAs(await registry.join(kind, id), ask)
}

async function readingAs(identity: Identity, ask: FeedReaderOptions['ask'] = () => Promise.resolve(null)): Promise<() => FeedTable> {
  let table: FeedTable | undefined
  const reader = registry.reader(identity, {
    apply: (current) => {
      table = current
      return []
    },
    ask,
  })
  await reader.start()
  return () => {
    if (table === undefined) throw new Error('no table')
    return table
  }
}

test('a peer through its life: gateways know it when the API answers, proxies and agents never do; places and keys have one owner', async () => {
  const [gateway, proxy, agent] = await Promise.all([reading('gateway', 'mad-1'), reading('proxy', 'mad-1'), reading('agent', 'mad-1')])
  const made = await registry.made(PEERS, { name: 'laptop', publicKey: key('1') }, acme)
  expect(made).toMatchObject({ name: 'laptop', network: 1, address: 'fdaa:0:1:ffff:ffff::102', prefix: 'fdaa:0:1:ffff:ffff::100/120', publicKey: key('1') })
  expect(made['provisioning']).toMatchObject({ gateways: [{ id: 'gateway/mad-1' }], missing: [] })
  expect([...gateway().wireguard.values()]).toMatchObject([{ publicKey: key('1'), network: 1, prefix: 'fdaa:0:1:ffff:ffff::100/120' }])
  const { provisioning: _, ...shown } = made
  expect((await registry.call('GET', `${PEERS}/laptop`, undefined, acme)).body).toEqual(shown)
  expect((await registry.call('GET', `${PEERS}/${String(made['id'])}`, undefined, acme)).body).toEqual(shown)

  const code = async (path: string, body: unknown, token?: string): Promise<unknown> => (await registry.call('POST', path, body, token)).body['code']
  expect(await code(PEERS, { name: 'laptop', publicKey: key('2') }, acme)).toBe('name.taken')
  expect(await code(PEERS, { name: 'other', publicKey: key('1') }, acme)).toBe('wireguard.key-taken')
  expect(await code('/v1/orgs/globex/wireguard', { name: 'laptop', publicKey: key('1') }, globex)).toBe('wireguard.key-taken')
  // A gateway's own key is no peer's.
  expect(await code(PEERS, { name: 'other', publicKey: key('mad-1') }, acme)).toBe('wireguard.key-taken')
  expect(await code(PEERS, { name: 'other', publicKey: 'AAAA' }, acme)).toBe('api.body-invalid')
  expect(await code(PEERS, { name: 'other', publicKey: key('2'), network: '2' }, acme)).toBe('network.not-found')

  // A reset changes the key and nothing else; the old one is gone everywhere at once.
  const reset = await registry.call('POST', `${PEERS}/laptop/reset`, { publicKey: key('3') }, acme)
  expect([reset.status, reset.body]).toMatchObject([200, { id: made['id'], address: made['address'], publicKey: key('3') }])
  expect([...gateway().wireguard.keys()]).toEqual([key('3')])

  const other = await registry.made('/v1/orgs/globex/wireguard', { name: 'laptop', publicKey: key('1') }, globex)
  expect(other).toMatchObject({ network: 2, prefix: 'fdaa:0:2:ffff:ffff::100/120' })
  expect((await registry.call('GET', '/v1/orgs/globex/wireguard', undefined, globex)).body).toHaveLength(1)

  const removed = await registry.call('DELETE', `${PEERS}/laptop`, undefined, acme)
  expect(removed.body).toMatchObject({ name: 'laptop', deleted: true, revocation: { gateways: [{ id: 'gateway/mad-1' }] } })
  expect([...gateway().wireguard.keys()]).toEqual([key('1')])
  expect((await registry.call('GET', `${PEERS}/laptop`, undefined, acme)).body['code']).toBe('wireguard.peer-not-found')
  expect(await registry.made(PEERS, { name: 'laptop', publicKey: key('3') }, acme)).toMatchObject({ address: 'fdaa:0:1:ffff:ffff::202' })

  for (const table of [proxy(), agent()]) expect(table.rows().filter((row) => row.table === 'wireguard')).toEqual([])
  // What a gateway has no use for it isn't told: keys of the hop before all.
  await registry.made('/v1/orgs/acme/redis', { name: 'cache', region: 'mad' }, acme)
  await until('the proxy knows the database', () => proxy().services.size === 1)
  expect(gateway().rows().filter((row) => row.table !== 'wireguard')).toEqual([])
  expect(agent().rows().filter((row) => row.key.startsWith('gateway/'))).toEqual([])

  for (const name of ['b', 'c']) await registry.made(PEERS, { name, publicKey: key(name) }, acme)
  expect(await code(PEERS, { name: 'd', publicKey: key('d') }, acme)).toBe('quota.peers')
  expect(verifyStore(join(registry.directory, 'nearcast.db'), null)).toEqual([])
})

test('a list says where each peer was seen last: of several gateways the latest one counts, and none is believed blindly', async () => {
  const asked: unknown[] = []
  const seen = (lastHandshakeMs: number | null, publicKey = key('b')) => ({ publicKey, lastHandshakeMs, receivedBytes: 7, sentBytes: 8 })
  const says = (answer: unknown) => (name: string, params: unknown) => {
    asked.push([name, params])
    return Promise.resolve(answer)
  }
  await reading('gateway', 'early', says([seen(1000), seen(5000, key('unknown'))]))
  await reading('gateway', 'late', says([seen(2000), seen(null, key('c'))]))
  await reading('gateway', 'broken', says([{ ...seen(3000), lastHandshakeMs: 'tomorrow' }]))
  await reading('gateway', 'failing', () => Promise.reject(new Error('no')))
  const listed = (await registry.call('GET', PEERS, undefined, acme)).body as unknown as { name: string; seen?: unknown }[]
  expect(listed.map(({ name, seen: last }) => [name, last])).toEqual([
    ['laptop', undefined],
    ['b', { gateway: 'late', at: '1970-01-01T00:00:02.000Z', receivedBytes: 7, sentBytes: 8 }],
    ['c', undefined],
  ])
  expect(asked[0]).toEqual(['peers', { publicKeys: [key('3'), key('b'), key('c')] }])
  expect((await registry.call('GET', `${PEERS}/b`, undefined, acme)).body['seen']).toMatchObject({ gateway: 'late' })
  for (const id of ['early', 'late', 'broken', 'failing']) await registry.call('DELETE', `/v1/gateways/${id}`)
})

test('gateways are listed with where they are; a revoked one is cut and gone', async () => {
  const listed = async (): Promise<unknown> => (await registry.call('GET', '/v1/gateways', undefined, acme)).body
  expect(await listed()).toMatchObject([{ id: 'mad-1', region: 'mad', publicKey: key('mad-1'), endpoints: ['192.0.2.1:51820'], connected: true }])
  expect((await registry.call('GET', '/v1/status')).body['programs']).toContainEqual(expect.objectContaining({ kind: 'gateway', identity: 'gateway/mad-1', connected: true }))
  const token = await registry.joinToken('gateway', 'bare')
  expect(token).toMatch(/^njt_/)
  expect((await registry.call('DELETE', '/v1/gateways/mad-1')).body).toEqual({ id: 'mad-1', deleted: true })
  expect(registry.registry.feed.connected('gateway')).toEqual([])
  expect(await listed()).toEqual([])
  expect((await registry.call('DELETE', '/v1/gateways/mad-1')).body['code']).toBe('gateway.not-found')
})

test('gateways that say where others find them see each other, and nobody else sees them; a revoked one is gone for all', async () => {
  const rows = new Map<string, () => FeedTable>()
  for (const [id, neighbours] of [['one', '[fd00::1]:51820'], ['two', '[fd00::2]:51820'], ['alone', undefined]] as const) {
    const gateway = { publicKey: key(id), endpoints: ['192.0.2.1:51820'], ...(neighbours !== undefined && { neighbours }) }
    const stateDir = join(registry.directory, 'neighbours', id)
    rows.set(id, await readingAs(await joinRouter({ routerUrl: registry.feedUrl, token: await registry.joinToken('gateway', id), stateDir, kind: 'gateway', id, gateway })))
  }
  const seen = (id: string): unknown[] => [...(rows.get(id)?.().dialers.values() ?? [])]
  const two = { id: 'gateway/two', kind: 'gateway', region: 'mad', host: 'host-two', keys: [], gateway: { publicKey: key('two'), endpoint: '[fd00::2]:51820' } }
  await until('they see each other', () => seen('one').length === 1 && seen('two').length === 1)
  expect([seen('one'), seen('alone')]).toEqual([[two], []])
  expect((await registry.call('GET', '/v1/gateways', undefined, acme)).body).toContainEqual(expect.objectContaining({ id: 'two', neighbours: '[fd00::2]:51820' }))
  await registry.call('DELETE', '/v1/gateways/two')
  await until('it is gone', () => seen('one').length === 0)
  for (const id of ['one', 'alone']) await registry.call('DELETE', `/v1/gateways/${id}`)
})

test("store verify finds a peer above its counter, and one on another organization's network", () => {
  const file = join(registry.directory, 'nearcast.db')
  const store = new DatabaseSync(file, { timeout: 5000 })
  store.exec(`UPDATE records SET body = json_set(body, '$.number', 99, '$.network', 2) WHERE kind = 'wireguard' AND name = 'b'`)
  store.close()
  expect(verifyStore(file, null)).toEqual(expect.arrayContaining([expect.stringContaining('WireGuard peer b uses 99'), expect.stringMatching(/WireGuard peer b of org\w+ is on network 2/)]))
})
