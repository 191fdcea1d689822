/** Grants, limits, live policies and draining through the API, as the store keeps them and as the feed brings them. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { FeedTable } from '../../lib/feed/reader.ts'
import { findOrg } from '../../router/registry/objects/orgs.ts'
import { mintAddress } from '../../router/registry/objects/addresses.ts'
import { SqliteStore } from '../../router/registry/store/sqlite-store.ts'
import { verifyStore } from '../../router/registry/store/verification.ts'
import type { TestRegistry } from '../support/registry.ts'
import { OPERATOR, startRegistry } from '../support/registry.ts'
import { until } from '../support/until.ts'

let registry: TestRegistry
let acme = ''
let globex = ''
let initech = ''
let globexId = ''

beforeEach(async () => {
  registry = await startRegistry()
  const ids: Record<string, string> = {}
  const tokens: Record<string, string> = {}
  for (const name of ['acme', 'globex', 'initech']) {
    ids[name] = String((await registry.made('/v1/orgs', { name }))['id'])
    tokens[name] = String((await registry.made('/v1/tokens', { name: `${name}-ci`, role: 'member', org: name }))['token'])
  }
  ;({ acme = '', globex = '', initech = '' } = tokens)
  globexId = ids['globex'] ?? ''
  await registry.join('agent', 'mad-1')
  await registry.made('/v1/orgs/acme/redis', { name: 'cache', region: 'mad' }, acme)
})
afterEach(() => registry.remove())

const code = async (method: string, path: string, body: unknown, token: string): Promise<unknown> => (await registry.call(method, path, body, token)).body['code']
const grant = (more: object = {}): Promise<Record<string, unknown>> => registry.made('/v1/orgs/acme/grants', { service: 'cache', grantee: globexId, ...more }, acme)
const addresses = async (org: string, token: string): Promise<Record<string, unknown>[]> =>
  (await registry.call('GET', `/v1/orgs/${org}/addresses`, undefined, token)).body as unknown as Record<string, unknown>[]

/** A reader of the feed that acknowledges, and its table. */
async function reading(kind: 'proxy' | 'agent', id: string): Promise<() => FeedTable> {
  let table: FeedTable | undefined
  const identity = kind === 'agent' ? await registry.join('agent', id, 'ams') : await registry.join('proxy', id)
  const reader = registry.reader(identity, {
    apply: (now) => {
      table = now
      return []
    },
  })
  await reader.start()
  return () => {
    if (table === undefined) throw new Error('no table yet')
    return table
  }
}

test('a grant: both sides see it, the grantee mints under it, nobody else does anything with it', async () => {
  const made = await grant()
  expect(made).toMatchObject({ owner: 'acme', service: 'cache', granteeId: globexId, network: null, maxAddresses: 8, addresses: [] })
  expect(made).not.toHaveProperty('grantee')
  const seen = async (org: string, token: string): Promise<unknown> => (await registry.call('GET', `/v1/orgs/${org}/grants`, undefined, token)).body
  expect(await seen('acme', acme)).toEqual([made])
  expect(await seen('globex', globex)).toEqual([{ ...made, grantee: 'globex' }])
  expect(await seen('initech', initech)).toEqual([])
  const id = String(made['id'])
  for (const [method, path, body] of [['GET', '', undefined], ['DELETE', '', undefined], ['POST', '/addresses', {}]] as const) {
    expect(await code(method, `/v1/orgs/initech/grants/${id}${path}`, body, initech)).toBe('grant.not-found')
  }
  expect(await code('POST', '/v1/orgs/initech/addresses', { service: 'acme/cache' }, initech)).toBe('grant.not-found')
  expect(await code('POST', '/v1/orgs/globex/addresses', { service: 'cache' }, globex)).toBe('service.not-found')
  expect(await code('POST', '/v1/orgs/globex/addresses', { service: 'acme/other' }, globex)).toBe('grant.not-found')
  expect(await code('POST', '/v1/orgs/globex/addresses', { service: 'acme/cache', tls: { policy: 'auto' } }, globex)).toBe('api.body-invalid')

  const address = await registry.made('/v1/orgs/globex/addresses', { service: 'acme/cache' }, globex)
  expect(address).toMatchObject({ network: 2, service: 'cache', port: 6379, state: 'active', granted: { grant: id, grantee: globexId } })
  expect(String(address['address'])).toMatch(/^fdaa:0:2:0:1::/)
  const { provisioning: _report, ...shown } = address
  expect(await addresses('globex', globex)).toEqual([shown])
  expect(await addresses('acme', acme)).toContainEqual(shown)
  expect(await addresses('initech', initech)).toEqual([])
  // The owner's database keeps the address of its own network.
  const database = (await registry.call('GET', '/v1/orgs/acme/redis/cache', undefined, acme)).body
  expect(database).toMatchObject({ network: 1, addresses: [database['address']] })
  expect(database['address']).not.toBe(address['address'])
  // Either side revokes the address; its bits are gone for good.
  expect((await registry.call('DELETE', `/v1/orgs/acme/addresses/${String(address['address'])}`, undefined, acme)).status).toBe(200)
  expect(await addresses('globex', globex)).toEqual([])
  const again = await registry.made(`/v1/orgs/acme/grants/${id}/addresses`, {}, acme)
  expect(again['address']).not.toBe(address['address'])
  expect((await registry.call('DELETE', `/v1/orgs/globex/addresses/${String(again['address'])}`, undefined, globex)).status).toBe(200)
})

test('what a grant refuses', async () => {
  expect(await code('POST', '/v1/orgs/acme/grants', { service: 'cache', grantee: 'globex' }, acme)).toBe('org.not-found')
  expect(await code('POST', '/v1/orgs/acme/grants', { service: 'nobody', grantee: globexId }, acme)).toBe('service.not-found')
  expect(await code('POST', '/v1/orgs/acme/grants', { service: 'cache', grantee: 'acme' }, OPERATOR)).toBe('grant.self')
  expect(await code('POST', '/v1/orgs/acme/grants', { service: 'cache', grantee: globexId, network: '1' }, acme)).toBe('network.not-found')
  // Names of the grantee's networks can't be tried out by the owner; operators and the grantee use them.
  expect(await code('POST', '/v1/orgs/acme/grants', { service: 'cache', grantee: globexId, network: 'default' }, acme)).toBe('network.not-found')
  const made = await registry.made('/v1/orgs/acme/grants', { service: 'cache', grantee: 'globex', network: 'default', maxAddresses: 1 })
  expect(made).toMatchObject({ network: 2, grantee: 'globex' })
  expect(await code('POST', '/v1/orgs/acme/grants', { service: 'cache', grantee: globexId, network: '2' }, acme)).toBe('name.taken')
  const network = await registry.made('/v1/orgs/globex/networks', { name: 'second' }, globex)
  const path = `/v1/orgs/globex/grants/${String(made['id'])}/addresses`
  expect(await code('POST', path, { network: 'second' }, globex)).toBe('grant.network')
  expect(await code('POST', `/v1/orgs/acme/grants/${String(made['id'])}/addresses`, { network: 'default' }, acme)).toBe('network.not-found')
  expect(await code('POST', '/v1/orgs/globex/addresses', { service: 'acme/cache' }, globex)).toBe('network.missing')
  expect(await code('POST', '/v1/orgs/globex/addresses', { service: 'acme/cache', network: 'second' }, globex)).toBe('grant.not-found')
  await registry.made(path, {}, globex)
  expect(await code('POST', path, {}, globex)).toBe('grant.full')
  // A second grant, for the other network, stands for itself.
  const other = await grant({ network: String(network['id']) })
  expect(await registry.made('/v1/orgs/globex/addresses', { service: 'acme/cache', network: 'second' }, globex)).toMatchObject({ network: network['id'], granted: { grant: other['id'] } })
  for (let index = 0; index < 3; index++) {
    await registry.made('/v1/orgs', { name: `org-${index}` })
    await registry.made('/v1/orgs/acme/grants', { service: 'cache', grantee: `org-${index}` })
  }
  expect(await code('POST', '/v1/orgs/acme/grants', { service: 'cache', grantee: 'initech' }, OPERATOR)).toBe('quota.grants')
})

test('revoking brings it everywhere, with the time of each program; the grantee may end it too', async () => {
  const proxy = await reading('proxy', 'mad-1')
  const agentTable = await reading('agent', 'ams-1')
  await registry.made('/v1/orgs/acme/redis', { name: 'far', region: 'ams' }, acme)
  const made = await grant({ service: 'far' })
  const minted = [1, 2].map(() => registry.made('/v1/orgs/globex/addresses', { service: 'acme/far' }, globex))
  const [first, second] = (await Promise.all(minted)).map((each) => String(each['address']))
  expect(proxy().addresses.get(first ?? '')).toMatchObject({ network: 2, generation: 1 })
  expect(agentTable().addresses.get(first ?? '')).toMatchObject({ network: 2, service: proxy().addresses.get(first ?? '')?.service })
  const revoked = await registry.call('DELETE', `/v1/orgs/globex/grants/${String(made['id'])}`, undefined, globex)
  expect(revoked.body).toMatchObject({
    id: made['id'],
    deleted: true,
    revocation: { proxies: [{ id: 'proxy/mad-1', ms: expect.any(Number) }], agents: [{ id: 'agent/ams-1', ms: expect.any(Number) }], missing: [] },
  })
  expect(new Set(revoked.body['addresses'] as unknown as string[])).toEqual(new Set([first, second]))
  for (const address of [first, second]) expect([proxy().addresses.has(address ?? ''), agentTable().addresses.has(address ?? '')]).toEqual([false, false])
  expect(await code('GET', `/v1/orgs/acme/grants/${String(made['id'])}`, undefined, acme)).toBe('grant.not-found')
  const audit = (await registry.call('GET', '/v1/audit?limit=1000')).body as unknown as { what: string; kind: string }[]
  expect(audit.filter(({ kind }) => kind === 'grants').map(({ what }) => what)).toEqual(['grant.create', 'grant.delete'])
})

test('a removed service takes its grants and their addresses along', async () => {
  const made = await grant()
  const address = await registry.made('/v1/orgs/globex/addresses', { service: 'acme/cache' }, globex)
  expect((await registry.call('DELETE', '/v1/orgs/acme/redis/cache', undefined, acme)).status).toBe(200)
  expect([registry.registry.store.get('grants', String(made['id'])), registry.registry.store.get('addresses', String(address['address']))]).toEqual([null, null])
})

test('without a grant no address of a service gets onto another network, whoever asks; the store is checked for it', async () => {
  const { store, plan, vault } = registry.registry
  const service = store.list('services')[0]
  const network = store.get('networks', '2')
  if (!service || !network) throw new Error('no service')
  expect(() => store.write({ who: 'test', what: 'x' }, (transaction) => mintAddress(transaction, service, network, plan))).toThrow(expect.objectContaining({ code: 'internal' }))
  await grant()
  const address = String((await registry.made('/v1/orgs/globex/addresses', { service: 'acme/cache' }, globex))['address'])
  const file = join(registry.directory, 'nearcast.db')
  expect(verifyStore(file, vault)).toEqual([])
  const record = store.get('addresses', address)
  if (!record) throw new Error('no address')
  const { granted: _granted, ...forged } = record
  store.write({ who: 'test', what: 'x' }, (transaction) => transaction.put('addresses', forged))
  expect(verifyStore(file, vault)).toEqual([`${address} leads from a network of ${globexId} to a service of ${findOrg(store, 'acme').id} without a grant`])
})

test('limits: set member by member by the owner, on networks by operators; they reach proxies in their rows', async () => {
  const proxy = await reading('proxy', 'mad-1')
  await grant()
  const address = String((await registry.made('/v1/orgs/globex/addresses', { service: 'acme/cache' }, globex))['address'])
  const path = `/v1/orgs/acme/addresses/${address}`
  const patched = await registry.call('PATCH', path, { limits: { maxConnections: 5, bytesPerSecondUp: 1000 } }, acme)
  expect(patched).toMatchObject({ status: 200, body: { limits: { maxConnections: 5, bytesPerSecondUp: 1000 }, change: { proxies: [{ id: 'proxy/mad-1' }], missing: [] } } })
  expect(proxy().addresses.get(address)?.limits).toEqual({ maxConnections: 5, bytesPerSecondUp: 1000 })
  expect((await registry.call('PATCH', path, { limits: { maxConnections: null, softConnections: 3 } }, acme)).body['limits']).toEqual({ bytesPerSecondUp: 1000, softConnections: 3 })
  expect((await registry.call('PATCH', path, { limits: { bytesPerSecondUp: null, softConnections: null } }, acme)).body).not.toHaveProperty('limits')
  expect(proxy().addresses.get(address)).not.toHaveProperty('limits')
  // The grantee can't raise what the owner allows; nor a member what the operator allows.
  expect(await code('PATCH', `/v1/orgs/globex/addresses/${address}`, { limits: { maxConnections: 9 } }, globex)).toBe('address.not-found')
  expect(await code('PATCH', '/v1/orgs/globex/networks/default', { limits: {} }, globex)).toBe('api.not-found')
  const network = await registry.call('PATCH', '/v1/orgs/globex/networks/default', { limits: { connectionsPerSecond: 7 } })
  expect(network.body).toMatchObject({ id: 2, limits: { connectionsPerSecond: 7 } })
  expect(proxy().networks.get(2)?.limits).toEqual({ connectionsPerSecond: 7 })
  for (const limits of [{ maxConnections: 0 }, { maxConnections: 1.5 }, { connections: 3 }, { bytesPerSecondUp: -1 }]) {
    expect(await code('PATCH', path, { limits }, acme)).toBe('api.body-invalid')
  }
})

test('live policies and draining: set, shown, in the rows; an agent that joins again still drains', async () => {
  const proxy = await reading('proxy', 'mad-1')
  const made = await registry.made('/v1/orgs/acme/redis', { name: 'kept', region: 'mad', live: 'keep' }, acme)
  const id = String(made['id'])
  expect([made['live'], proxy().services.get(id)?.live]).toEqual(['keep', 'keep'])
  expect((await registry.call('PATCH', '/v1/orgs/acme/services/kept', { live: 'drain:30' }, acme)).body).toMatchObject({ live: 'drain:30', change: { missing: [] } })
  expect(proxy().services.get(id)?.live).toBe('drain:30')
  expect((await registry.call('PATCH', '/v1/orgs/acme/services/kept', { live: null }, acme)).body).not.toHaveProperty('live')
  expect(proxy().services.get(id)).not.toHaveProperty('live')
  expect(await code('PATCH', '/v1/orgs/acme/services/kept', { live: 'drain' }, acme)).toBe('api.body-invalid')
  expect(await code('PATCH', '/v1/orgs/acme/services/kept', { shadow: true }, acme)).toBe('service.shadow-forbidden')
  expect((await registry.call('PATCH', '/v1/orgs/acme/services/kept', { shadow: true })).body).toMatchObject({ shadow: true })
  expect(proxy().services.get(id)?.shadow).toBe(true)
  expect((await registry.call('PATCH', '/v1/orgs/acme/services/kept', { shadow: false })).body).not.toHaveProperty('shadow')
  expect(proxy().services.get(id)).not.toHaveProperty('shadow')
  const drained = await registry.call('PATCH', '/v1/nodes/mad-1', { draining: true })
  expect(drained.body).toMatchObject({ id: 'mad-1', draining: true, change: { proxies: [{ id: 'proxy/mad-1' }] } })
  expect(proxy().nodes.get('mad-1')?.draining).toBe(true)
  await registry.join('agent', 'mad-1')
  await until('the new keys are there', () => proxy().nodes.get('mad-1')?.draining === true)
  expect((await registry.call('PATCH', '/v1/nodes/mad-1', { draining: false })).body['draining']).toBe(false)
  expect(proxy().nodes.get('mad-1')).not.toHaveProperty('draining')
})

test('revoking a node, a proxy and a token answers with those who have put it in force', async () => {
  await reading('proxy', 'mad-1')
  await reading('proxy', 'mad-2')
  await reading('agent', 'ams-1')
  const { body: ofProxy } = await registry.call('DELETE', '/v1/proxies/mad-2')
  expect(ofProxy).toMatchObject({ deleted: true, revocation: { agents: [{ id: 'agent/ams-1', ms: expect.any(Number) }], missing: [] } })
  const { body: ofNode } = await registry.call('DELETE', '/v1/nodes/mad-1')
  expect(ofNode).toMatchObject({ deleted: true, revocation: { proxies: [{ id: 'proxy/mad-1', ms: expect.any(Number) }], missing: [] } })
  const token = await registry.made('/v1/tokens', { name: 'short', role: 'operator' })
  expect((await registry.call('DELETE', `/v1/tokens/${String(token['id'])}`)).body).toMatchObject({ revocation: { proxies: [], agents: [], missing: [] } })
})

test('a store of format 1 is brought up to date when it is opened; one of the future is refused', () => {
  const directory = mkdtempSync(join(tmpdir(), 'nearcast-format-'))
  const file = join(directory, 'nearcast.db')
  try {
    const store = new SqliteStore({ file })
    const node = { id: 'n', region: 'mad', host: 'h', hop: 'v1', endpoint: '[::1]:1', epochs: [], signing: 0, keysRevision: 0, peers: [], revoked: false, draining: true, createdAt: '' } as const
    store.write({ who: 'test', what: 'x' }, (transaction) => transaction.put('nodes', node))
    store.close()
    const database = new DatabaseSync(file)
    database.exec(`UPDATE records SET body = json_remove(body, '$.draining'); PRAGMA user_version = 1`)
    expect(verifyStore(file, null)).toEqual([])
    const opened = new SqliteStore({ file })
    expect(opened.get('nodes', 'n')).toEqual({ ...node, draining: false })
    opened.close()
    database.exec('PRAGMA user_version = 1000')
    expect(verifyStore(file, null)[0]).toContain('has format 1000')
    expect(() => new SqliteStore({ file })).toThrow(expect.objectContaining({ code: 'store.corrupt' }))
    database.close()
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})
