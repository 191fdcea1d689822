/** The API over HTTP: who may what, what is refused and how, and the objects' life. */
import { createServer } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Views } from '../../router/registry/feed/views.ts'
import type { DialerRecord } from '../../router/registry/store/records.ts'
import { HopKeyring } from '../../router/registry/trust/hop-keys.ts'
import type { TestRegistry } from '../support/registry.ts'
import { OPERATOR, startRegistry } from '../support/registry.ts'

let registry: TestRegistry
let acme = ''
let globex = ''
/** Tokens that may only read, and one that has ended. */
let reader = ''
let globexReader = ''
let operatorReader = ''
let ended = ''
/** The wall clock of the registry, ahead of the true one by so much. */
let aheadMs = 0

beforeAll(async () => {
  registry = await startRegistry({ clock: () => new Date(Date.now() + aheadMs) })
  await registry.made('/v1/orgs', { name: 'acme' })
  await registry.made('/v1/orgs', { name: 'globex' })
  acme = String((await registry.made('/v1/tokens', { name: 'acme-ci', role: 'member', org: 'acme' }))['token'])
  globex = String((await registry.made('/v1/tokens', { name: 'globex-ci', role: 'member', org: 'globex' }))['token'])
  const token = async (body: object): Promise<string> => String((await registry.made('/v1/tokens', body))['token'])
  reader = await token({ name: 'acme-look', role: 'member', org: 'acme', scopes: ['read'] })
  globexReader = await token({ name: 'globex-look', role: 'member', org: 'globex', scopes: ['read'] })
  operatorReader = await token({ name: 'look', role: 'operator', scopes: ['read'] })
  ended = await token({ name: 'ended', role: 'operator', expiresAt: new Date(Date.now() + 60_000).toISOString() })
  aheadMs = 61_000
  await registry.join('agent', 'mad-1')
  await registry.join('agent', 'ams-1', 'ams')
  await registry.made('/v1/nodes', { id: 'foreign-1', region: 'mad', hop: 'v1', endpoint: '[fd00::9]:6379' })
})
afterAll(() => registry.remove())

function filled(path: string): string {
  return path.replace(':org', 'acme').replace(':name', 'nobody').replace(':address', 'fdaa:0:1:0:1::ffff').replace(':id', 'nobody')
}

test('authorization: every route, every role', async () => {
  for (const route of registry.routes) {
    const path = filled(route.path)
    const status = async (token: string): Promise<[number, unknown]> => {
      const { status: code, body } = await registry.call(route.method, path, route.method === 'POST' ? { nonsense: 1 } : undefined, token)
      return [code, body['code']]
    }
    const name = `${route.method} ${route.path}`
    if (route.access === 'join') {
      // Plain HTTP: only TLS listeners have it.
      expect([name, await status(OPERATOR)]).toEqual([name, [404, 'api.not-found']])
      continue
    }
    if (route.access === 'public') {
      for (const token of ['nobody', OPERATOR, acme, reader, ended]) expect([name, await status(token)]).toEqual([name, [200, undefined]])
      continue
    }
    expect([name, await status(ended)]).toEqual([name, [401, 'token.expired']])
    for (const token of ['nobody', 'nct_bootstrap_wrong', `${OPERATOR}x`]) expect([name, await status(token)]).toEqual([name, [401, 'api.unauthorized']])
    const [operator, operatorCode] = await status(OPERATOR)
    expect([name, [401, 403].includes(operator) || operatorCode === 'org.not-found' || operatorCode === 'api.not-found']).toEqual([name, false])
    if (route.access === 'operator') {
      for (const token of [acme, globex]) expect([name, await status(token)]).toEqual([name, [404, 'api.not-found']])
    } else if (route.access === 'org') {
      expect([name, await status(acme)]).toEqual([name, [operator, operatorCode]])
      expect([name, await status(globex)]).toEqual([name, [404, 'org.not-found']])
      expect([name, await status(globexReader)]).toEqual([name, [404, 'org.not-found']])
    }
    // A token that may only read: as its role when it reads, refused when it would change something that it can see.
    const refused = [403, 'token.scope-missing']
    expect([name, await status(operatorReader)]).toEqual([name, route.method === 'GET' ? [operator, operatorCode] : refused])
    if (route.access === 'operator') expect([name, await status(reader)]).toEqual([name, [404, 'api.not-found']])
    else expect([name, await status(reader)]).toEqual([name, route.method === 'GET' ? await status(acme) : refused])
  }
})

test("another's org looks like none, and a list shows only one's own", async () => {
  const foreign = await registry.call('GET', '/v1/orgs/acme', undefined, globex)
  const unknown = await registry.call('GET', '/v1/orgs/nobody', undefined, globex)
  expect(foreign.status).toBe(404)
  expect(JSON.stringify(foreign.body).replaceAll('acme', 'nobody')).toBe(JSON.stringify(unknown.body))
  expect((await registry.call('GET', '/v1/orgs', undefined, globex)).body).toMatchObject([{ name: 'globex' }])
})

test('a database through its life: create, show again, refuse twice, delete, never reissue', async () => {
  const made = await registry.made('/v1/orgs/acme/redis', { name: 'life', region: 'mad', replicas: ['ams'], appendFsync: 'always' }, acme)
  expect(made).toMatchObject({ name: 'life', region: 'mad', replicas: ['ams'], port: 6379, username: 'default', state: 'active', appendFsync: 'always' })
  expect(made['placements']).toEqual([
    { node: 'mad-1', role: 'primary' },
    { node: 'ams-1', role: 'replica' },
  ])
  expect(made['url']).toBe(`redis://default:${String(made['password'])}@life.flycast:6379`)
  expect(made['env']).toMatchObject({ REDIS_HOST: 'life.flycast', REDIS_ADDRESS: made['address'] })
  const { provisioning, ...rest } = made
  expect(provisioning).toMatchObject({ agents: [], proxies: [], missing: [] })
  expect((await registry.call('GET', '/v1/orgs/acme/redis/life', undefined, acme)).body).toEqual(rest)
  expect((await registry.call('GET', `/v1/orgs/acme/redis/${String(made['id'])}`, undefined, acme)).body).toEqual(rest)
  const refused = async (path: string, body: unknown): Promise<unknown> => (await registry.call('POST', path, body, acme)).body['code']
  expect(await refused('/v1/orgs/acme/redis', { name: 'life', region: 'mad' })).toBe('name.taken')
  expect(await refused('/v1/orgs/acme/services', { name: 'life', port: 1, nodes: ['foreign-1'] })).toBe('name.taken')
  expect(await refused('/v1/orgs/acme/redis', { name: 'other', region: 'xxx' })).toBe('redis.region-unknown')
  expect(await refused('/v1/orgs/acme/redis', { name: 'other', region: 'mad', replicas: ['xxx'] })).toBe('redis.region-unknown')
  expect(await refused('/v1/orgs/acme/redis', { name: 'other', region: 'mad', replicas: ['mad'] })).toBe('redis.replica-duplicate')
  expect(await refused('/v1/orgs/acme/redis', { name: 'other', region: 'mad', network: 'nobody' })).toBe('network.not-found')
  expect(await refused('/v1/orgs/acme/redis', { name: 'other', region: 'mad', network: '2' })).toBe('network.not-found')
  const audit = JSON.stringify((await registry.call('GET', '/v1/audit?limit=1000')).body)
  expect(audit).toContain('redis.create')
  expect(audit).not.toContain(String(made['password']))
  expect(audit).not.toContain('sealed')

  expect((await registry.call('DELETE', '/v1/orgs/acme/redis/life', undefined, acme)).status).toBe(200)
  expect((await registry.call('GET', '/v1/orgs/acme/redis/life', undefined, acme)).body['code']).toBe('redis.not-found')
  const again = await registry.made('/v1/orgs/acme/redis', { name: 'life', region: 'mad' }, acme)
  expect(again['address']).not.toBe(made['address'])
  expect(again['password']).not.toBe(made['password'])
  await registry.call('DELETE', '/v1/orgs/acme/redis/life', undefined, acme)
})

const member = (kind: 'proxy' | 'agent'): DialerRecord => ({ id: `${kind}/x`, kind, region: 'r', host: 'h', serial: '', epoch: 1, rotation: 0, peers: [], createdAt: '' })

test('an operator puts a PostgreSQL behind an agent; where it is, only operators and that agent see', async () => {
  const body = { name: 'pg', kind: 'postgres', port: 5432, nodes: ['mad-1'], backend: '127.0.0.1:5432' }
  const made = await registry.made('/v1/orgs/acme/services', body)
  expect(made).toMatchObject({ kind: 'postgres', backend: '127.0.0.1:5432', proxyHeader: 'none', hostname: 'pg.flycast' })
  const shown = (await registry.call('GET', '/v1/orgs/acme/services/pg', undefined, acme)).body
  expect(shown).toMatchObject({ id: made['id'], nodes: ['mad-1'] })
  expect(Object.keys(shown)).not.toContain('backend')
  expect((await registry.call('GET', '/v1/orgs/acme/services/pg')).body).toMatchObject({ backend: '127.0.0.1:5432' })
  const code = async (change: object, token?: string): Promise<unknown> =>
    (await registry.call('POST', '/v1/orgs/acme/services', { ...body, name: 'other', ...change }, token)).body['code']
  expect(await code({}, acme)).toBe('service.backend-forbidden')
  expect(await code({ nodes: ['foreign-1'] })).toBe('service.backend-unused')
  expect(await code({ backend: undefined, proxyHeader: 'v1', nodes: ['foreign-1'] })).toBe('service.backend-missing')
  expect(await code({ backend: 'unix:/run/../etc' })).toBe('service.backend-invalid')
  expect(await code({ backend: '127.0.0.1' })).toBe('service.backend-invalid')
  expect(await code({ proxyHeader: 'v3' })).toBe('api.body-invalid')
  expect(await code({ kind: 'redis' })).toBe('api.body-invalid')
  // Databases go by another route.
  expect((await registry.call('DELETE', '/v1/orgs/acme/redis/pg', undefined, acme)).body['code']).toBe('redis.not-found')
  const views = new Views(new HopKeyring(Buffer.alloc(32)), registry.registry.vault)
  const record = registry.registry.store.get('services', String(made['id']))
  const node = registry.registry.store.get('nodes', 'mad-1')
  expect(views.project({ member: member('agent'), node }, 'services', record)).toMatchObject({ kind: 'postgres', backend: { target: '127.0.0.1:5432', proxyHeader: 'none' } })
  expect(Object.keys(views.project({ member: member('proxy'), node: null }, 'services', record) ?? {})).not.toContain('backend')
  expect((await registry.call('DELETE', '/v1/orgs/acme/services/pg', undefined, acme)).status).toBe(200)
})

test('services on foreign nodes, further networks and addresses, and what they refuse', async () => {
  const network = await registry.made('/v1/orgs/acme/networks', { name: 'second' }, acme)
  expect(network['prefix']).toBe(`fdaa:0:${Number(network['id']).toString(16)}::/48`)
  const service = await registry.made('/v1/orgs/acme/services', { name: 'web', kind: 'tcp', port: 80, nodes: ['foreign-1'], network: 'second' }, acme)
  expect(service).toMatchObject({ kind: 'tcp', network: network['id'], nodes: ['foreign-1'], address: `fdaa:0:${Number(network['id']).toString(16)}:0:1::1` })
  // Nothing ends up on a network by accident.
  for (const [path, body] of [['addresses', { service: 'web' }], ['redis', { name: 'x', region: 'mad' }], ['services', { name: 'x', port: 80, nodes: ['foreign-1'] }]] as const) {
    expect((await registry.call('POST', `/v1/orgs/acme/${path}`, body, acme)).body['code']).toBe('network.missing')
  }
  const address = await registry.made('/v1/orgs/acme/addresses', { service: 'web', network: 'default' }, acme)
  expect(address).toMatchObject({ service: 'web', network: 1, port: 80, state: 'active' })
  const code = async (method: string, path: string, body?: unknown, token = acme): Promise<unknown> => (await registry.call(method, path, body, token)).body['code']
  expect(await code('POST', '/v1/orgs/acme/services', { name: 'x', port: 80, nodes: ['nobody'], network: '1' })).toBe('node.not-found')
  expect(await code('POST', '/v1/orgs/acme/services', { name: 'x', port: 80, nodes: ['mad-1'], network: '1' })).toBe('service.backend-missing')
  expect(await code('POST', '/v1/orgs/acme/addresses', { service: 'nobody', network: '1' })).toBe('service.not-found')
  expect(await code('DELETE', `/v1/orgs/globex/addresses/${String(address['address'])}`, undefined, globex)).toBe('address.not-found')
  expect(await code('DELETE', '/v1/orgs/acme/addresses/nonsense')).toBe('address.invalid')
  expect(await code('DELETE', '/v1/nodes/foreign-1', undefined, OPERATOR)).toBe('node.in-use')
  // Any spelling of an address is that address.
  const spelled = String(address['address']).replace('::', ':0:0:').toUpperCase()
  expect((await registry.call('DELETE', `/v1/orgs/acme/addresses/${spelled}`, undefined, acme)).status).toBe(200)
  expect((await registry.call('DELETE', '/v1/orgs/acme/services/web', undefined, acme)).status).toBe(200)
  expect((await registry.call('GET', '/v1/orgs/acme/addresses', undefined, acme)).body).toEqual([])
})

test('quotas are coded errors, and a refused request leaves nothing behind', async () => {
  await registry.made('/v1/orgs', { name: 'full' })
  for (let index = 0; index < 4; index++) await registry.made('/v1/orgs/full/networks', { name: `n${index}` })
  expect((await registry.call('POST', '/v1/orgs/full/networks', { name: 'more' })).body).toMatchObject({ code: 'quota.networks', status: 409 })
  for (let index = 0; index < 5; index++) await registry.made('/v1/orgs/full/redis', { name: `d${index}`, region: 'mad', network: 'n0' })
  expect((await registry.call('POST', '/v1/orgs/full/redis', { name: 'more', region: 'mad', network: 'n0' })).body).toMatchObject({ code: 'quota.databases' })
  for (let index = 0; index < 15; index++) await registry.made('/v1/orgs/full/addresses', { service: 'd0', network: 'n1' })
  const before = registry.registry.store.revision
  expect((await registry.call('POST', '/v1/orgs/full/addresses', { service: 'd0', network: 'n1' })).body).toMatchObject({ code: 'quota.addresses' })
  expect((await registry.call('POST', '/v1/orgs/full/services', { name: 'tcp', port: 1, nodes: ['foreign-1'], network: 'n0' })).body).toMatchObject({ code: 'quota.addresses' })
  expect(registry.registry.store.revision).toBe(before)
  expect(registry.registry.store.find('services', '', 'tcp')).toBeNull()
})

test('a token that may only read sees no credentials', async () => {
  const made = await registry.made('/v1/orgs/acme/redis', { name: 'seen', region: 'mad', network: 'default' }, acme)
  const shown = (await registry.call('GET', '/v1/orgs/acme/redis/seen', undefined, reader)).body
  expect(shown).toMatchObject({ name: 'seen', address: made['address'], env: { REDIS_HOST: 'seen.flycast' } })
  expect(JSON.stringify(shown)).not.toContain(String(made['password']))
  expect(JSON.stringify((await registry.call('GET', '/v1/orgs/acme/redis', undefined, reader)).body)).not.toContain(String(made['password']))
  await registry.call('DELETE', '/v1/orgs/acme/redis/seen', undefined, acme)
})

test('a token can ask what it is', async () => {
  const mine = (await registry.call('GET', '/v1/whoami', undefined, reader)).body
  expect(mine).toMatchObject({ name: 'acme-look', role: 'member', scopes: ['read'] })
  expect((await registry.call('GET', '/v1/orgs/acme')).body['id']).toBe(mine['org'])
  expect((await registry.call('GET', '/v1/whoami')).body).toMatchObject({ id: 'bootstrap', role: 'operator', scopes: ['read', 'write'] })
})

test('a token ends when it was told to', async () => {
  const inAMinute = new Date(Date.now() + aheadMs + 60_000)
  const made = await registry.made('/v1/tokens', { name: 'short', role: 'operator', expiresAt: inAMinute.toISOString(), scopes: ['write'] })
  expect(made).toMatchObject({ scopes: ['read', 'write'], expiresAt: inAMinute.toISOString() })
  const token = String(made['token'])
  expect((await registry.call('GET', '/v1/orgs', undefined, token)).status).toBe(200)
  aheadMs += 60_001
  expect((await registry.call('GET', '/v1/orgs', undefined, token)).body).toMatchObject({ code: 'token.expired', status: 401 })
  const past = await registry.call('POST', '/v1/tokens', { name: 'late', role: 'operator', expiresAt: '2020-01-01T00:00:00Z' })
  expect(past).toMatchObject({ status: 400, body: { code: 'api.body-invalid' } })
  expect((await registry.call('POST', '/v1/tokens', { name: 'x', role: 'operator', scopes: [] })).status).toBe(400)
  expect((await registry.call('POST', '/v1/tokens', { name: 'x', role: 'operator', scopes: ['all'] })).status).toBe(400)
})

test('what is no route, or not with that method, is said as a problem too', async () => {
  expect((await registry.call('GET', '/')).body).toMatchObject({ status: 404, code: 'api.not-found' })
  expect((await registry.call('PUT', '/v1/orgs')).body).toMatchObject({ status: 405, code: 'api.method-not-allowed', detail: '/v1/orgs takes GET, POST.' })
  expect((await registry.call('PATCH', '/v1/orgs/acme/redis')).body).toMatchObject({ status: 405 })
  expect((await registry.call('GET', '/v1/status?verbose=1')).body).toMatchObject({ status: 400, code: 'api.body-invalid' })
  for (const path of ['/v1/orgs/%ZZ', '/v1/orgs/%00', `/v1/orgs/${'x'.repeat(4000)}`, '/v1/orgs/..%2f..', '//v1/orgs']) {
    const { status } = await registry.call('GET', path)
    expect([path, status]).toEqual([path, 404])
  }
})

test('tokens: only the hash is kept, a removed one counts no more', async () => {
  const made = await registry.made('/v1/tokens', { name: 'short', role: 'member', org: 'acme' })
  const token = String(made['token'])
  expect((await registry.call('GET', '/v1/orgs/acme', undefined, token)).status).toBe(200)
  expect(JSON.stringify((await registry.call('GET', '/v1/tokens')).body)).not.toMatch(/nct_|hash/)
  expect(JSON.stringify(registry.registry.store.list('tokens'))).not.toContain(token)
  await registry.call('DELETE', `/v1/tokens/${String(made['id'])}`)
  expect((await registry.call('GET', '/v1/orgs/acme', undefined, token)).status).toBe(401)
  expect((await registry.call('POST', '/v1/tokens', { name: 'x', role: 'member' })).body['code']).toBe('api.body-invalid')
})

test('bodies: unknown members, wrong kinds, no JSON and too much of it are refused', async () => {
  const post = async (body: string): Promise<[number, unknown]> => {
    const response = await fetch(`${registry.url}/v1/orgs`, { method: 'POST', body, headers: { authorization: `Bearer ${OPERATOR}` } })
    expect(response.headers.get('content-type')).toBe('application/problem+json')
    const problem = (await response.json()) as Record<string, unknown>
    return [response.status, problem['code']]
  }
  expect(await post('{"name":"ok-name","extra":1}')).toEqual([400, 'api.body-invalid'])
  expect(await post('{"name":7}')).toEqual([400, 'api.body-invalid'])
  expect(await post('{"name":"-bad"}')).toEqual([400, 'api.body-invalid'])
  expect(await post('not json')).toEqual([400, 'api.body-invalid'])
  expect(await post('')).toEqual([400, 'api.body-invalid'])
  expect(await post(JSON.stringify({ name: 'x'.repeat(70_000) }))).toEqual([413, 'api.body-too-large'])
  expect((await registry.call('GET', '/v1/audit?limit=1e9')).body['code']).toBe('api.body-invalid')
  expect((await registry.call('GET', '/v2/orgs')).body['code']).toBe('api.not-found')
})

test('two requests at once never get the same address', async () => {
  await registry.made('/v1/orgs', { name: 'race' })
  const made = await Promise.all(Array.from({ length: 5 }, (_, index) => registry.made('/v1/orgs/race/redis', { name: `d${index}`, region: 'mad' })))
  expect(new Set(made.map((database) => database['address'])).size).toBe(5)
})

test('too many requests are refused for a while, by token and by peer', async () => {
  const slow = await startRegistry({ rate: 5 })
  try {
    const statuses: number[] = []
    for (let index = 0; index < 12; index++) statuses.push((await slow.call('GET', '/v1/orgs')).status)
    expect(statuses).toContain(429)
    const guesses: number[] = []
    for (let index = 0; index < 12; index++) guesses.push((await slow.call('GET', '/v1/orgs', undefined, 'guess')).status)
    expect([guesses[0], guesses.at(-1)]).toEqual([401, 429])
  } finally {
    await slow.remove()
  }
})

test('a full disk answers 507 and changes nothing', async () => {
  const full = await startRegistry({ maxPages: 80 })
  try {
    let last = { status: 201, body: {} as Record<string, unknown> }
    let made = 0
    for (; last.status === 201 && made < 1000; made++) last = await full.call('POST', '/v1/orgs', { name: `org-${made}` })
    expect(last).toMatchObject({ status: 507, body: { code: 'store.full' } })
    expect(full.registry.store.list('orgs')).toHaveLength(made - 1)
    expect(full.registry.store.list('networks')).toHaveLength(made - 1)
    expect((await full.call('GET', '/v1/orgs')).status).toBe(200)
  } finally {
    await full.remove()
  }
})

test('a taken port is listen.in-use, and the registry is left unlocked', async () => {
  const taken = createServer()
  await new Promise<void>((resolve) => taken.listen(0, '::1', resolve))
  const address = taken.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  await expect(startRegistry({ feedPort: port })).rejects.toMatchObject({ code: 'listen.in-use' })
  await new Promise((resolve) => taken.close(resolve))
})
