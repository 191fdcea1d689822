/** The feed end to end: real readers against the real feed server, over TLS. */
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join as joinPath } from 'node:path'
import { connect } from 'node:tls'
import { afterEach, expect, test } from 'vitest'
import type { FeedChannel } from '../../lib/feed/channel.ts'
import { openChannel } from '../../lib/feed/channel.ts'
import type { Changes, FailedService, FeedTable } from '../../lib/feed/reader.ts'
import type { Identity } from '../../lib/identity.ts'
import { checkPeer, isRouter, join, loadIdentity } from '../../lib/identity.ts'
import { OPERATOR, startRegistry } from '../support/registry.ts'
import type { TestRegistry } from '../support/registry.ts'
import { until } from '../support/until.ts'

const started: TestRegistry[] = []

async function start(...args: Parameters<typeof startRegistry>): Promise<TestRegistry> {
  const registry = await startRegistry(...args)
  started.push(registry)
  return registry
}

afterEach(async () => {
  for (const registry of started.splice(0).toReversed()) await registry.remove()
})

interface Seen {
  table: FeedTable | undefined
  revision: number
  calls: (Changes)[]
  apply: (table: FeedTable, changes: Changes, revision: number) => FailedService[]
}

function recorder(): Seen {
  const seen: Seen = {
    table: undefined,
    revision: 0,
    calls: [],
    apply: (table, changes, revision) => {
      Object.assign(seen, { table, revision })
      seen.calls.push(changes)
      return []
    },
  }
  return seen
}

function failAll(table: FeedTable): FailedService[] {
  return [...table.services.keys()].map((service) => ({ service, code: 'redis.start-failed', message: 'no memory' }))
}

/** A bare feed connection, for what a good reader never does. */
async function bare(registry: TestRegistry, identity: Identity): Promise<{ channel: FeedChannel; messages: Record<string, unknown>[]; closed: Promise<string> }> {
  const messages: Record<string, unknown>[] = []
  const { promise: closed, resolve } = Promise.withResolvers<string>()
  const tls = { ca: identity.ca, cert: identity.certificate, key: identity.key, checkServerIdentity: checkPeer(isRouter) }
  const channel = await openChannel(new URL('/v1/feed', registry.feedUrl), tls, {
    message: (message) => messages.push(message as Record<string, unknown>),
    closed: resolve,
  })
  return { channel, messages, closed }
}

test('a program joins once, and its identity is a file that only it can read', async () => {
  const registry = await start()
  const token = await registry.joinToken('proxy', 'mad-1')
  const stateDir = joinPath(registry.directory, 'p')
  const options = { routerUrl: registry.feedUrl, token, stateDir, kind: 'proxy', id: 'mad-1' } as const
  const identity = await join(options)
  expect(identity.identity).toBe('proxy/mad-1')
  expect(loadIdentity(stateDir)).toEqual(identity)
  expect(statSync(joinPath(stateDir, 'identity.json')).mode & 0o777).toBe(0o600)
  await expect(join(options)).rejects.toMatchObject({ code: 'join.token-used' })
  await expect(join({ ...options, token: await registry.joinToken('agent', 'mad-1') })).rejects.toMatchObject({ code: 'api.body-invalid' })
  await expect(join({ ...options, token: await registry.joinToken('proxy', 'other') })).rejects.toMatchObject({ code: 'identity.mismatch' })
})

test('a join goes to the router whose CA the token names, or nowhere', async () => {
  const [mine, other] = [await start(), await start()]
  const token = await mine.joinToken('proxy', 'mad-1')
  const options = { routerUrl: other.feedUrl, token, stateDir: joinPath(mine.directory, 'p'), kind: 'proxy', id: 'mad-1' } as const
  await expect(join(options)).rejects.toMatchObject({ code: 'join.ca-mismatch' })
  await expect(join({ ...options, token: 'njt_short' })).rejects.toMatchObject({ code: 'join.token-invalid' })
  const forged = token.replace(/^njt_.{32}/, `njt_${'A'.repeat(32)}`)
  await expect(join({ ...options, routerUrl: mine.feedUrl, token: forged })).rejects.toMatchObject({ code: 'join.token-invalid' })
  await expect(join({ ...options, routerUrl: 'https://[::1]:1' })).rejects.toMatchObject({ code: 'join.failed', retryable: true })
})

test('an expired join token is refused', async () => {
  let now = Date.now()
  const registry = await start({ clock: () => new Date(now) })
  const token = await registry.joinToken('proxy', 'mad-1')
  now += 3601_000
  await expect(join({ routerUrl: registry.feedUrl, token, stateDir: registry.directory, kind: 'proxy', id: 'mad-1' })).rejects.toMatchObject({ code: 'join.token-expired' })
})

test('a reader gets a snapshot, then each change, and provisioning waits for its acknowledgement', async () => {
  const registry = await start()
  await registry.made('/v1/orgs', { name: 'acme' })
  const [proxy, agent] = [recorder(), recorder()]
  await registry.reader(await registry.join('agent', 'mad-1'), { apply: agent.apply }).start()
  const reader = registry.reader(await registry.join('proxy', 'mad-1'), { apply: proxy.apply })
  await reader.start()
  expect(reader.state).toBe('connected')
  expect(proxy.calls).toEqual(['snapshot'])
  expect([...(proxy.table?.networks.values() ?? [])]).toMatchObject([{ id: 1, name: 'default' }])
  expect(agent.table?.networks.size).toBe(0)

  const made = await registry.made('/v1/orgs/acme/redis', { name: 'cache', region: 'mad' })
  expect(made).toMatchObject({ state: 'active', address: 'fdaa:0:1:0:1::1', hostname: 'cache.flycast' })
  expect(made['provisioning']).toMatchObject({ agents: [{ id: 'agent/mad-1' }], proxies: [{ id: 'proxy/mad-1' }], missing: [] })
  const id = String(made['id'])
  expect(proxy.table?.addresses.get('fdaa:0:1:0:1::1')).toMatchObject({ network: 1, generation: 1, service: id })
  expect(proxy.table?.services.get(id)?.redis).toBeUndefined()
  expect(agent.table?.services.get(id)?.redis).toMatchObject({ appendFsync: 'everysec' })
  expect(JSON.stringify(proxy.table?.rows())).not.toContain(String(made['password']))

  // Both ends of the hop name one key alike.
  const signing = proxy.table?.nodes.get('mad-1')?.keys
  expect(signing).toHaveLength(1)
  expect(agent.table?.dialers.get('proxy/mad-1')?.keys).toEqual(signing)

  const gone = await registry.call('DELETE', '/v1/orgs/acme/redis/cache')
  expect(gone).toMatchObject({ status: 200, body: { revocation: { proxies: [{ id: 'proxy/mad-1' }], missing: [] } } })
  expect([proxy.table?.addresses.size, proxy.table?.services.size]).toEqual([0, 0])
  await until('the agent dropped the database', () => agent.table?.services.size === 0 && agent.table.addresses.size === 0)
  const again = await registry.made('/v1/orgs/acme/redis', { name: 'cache', region: 'mad' })
  expect(again['address']).toBe('fdaa:0:1:0:1::2')
})

test('an agent that fails to start a service says so in the answer', async () => {
  const registry = await start()
  await registry.made('/v1/orgs', { name: 'acme' })
  const failing = { apply: failAll }
  await registry.reader(await registry.join('agent', 'mad-1'), failing).start()
  const made = await registry.made('/v1/orgs/acme/redis', { name: 'cache', region: 'mad' })
  expect(made['provisioning']).toMatchObject({ agents: [{ id: 'agent/mad-1', error: 'redis.start-failed: no memory' }], missing: [] })
})

test('a slow apply holds up neither later revisions nor the order of acknowledgements', async () => {
  const registry = await start()
  await registry.made('/v1/orgs', { name: 'acme' })
  const begun: number[] = []
  const slow = Promise.withResolvers<FailedService[]>()
  const reader = registry.reader(await registry.join('proxy', 'mad-1'), {
    apply: (_table, changes, revision) => {
      begun.push(revision)
      return begun.length === 2 ? slow.promise : Promise.resolve(changes === 'snapshot' ? [] : [])
    },
  })
  await reader.start()
  const first = reader.revision
  await registry.made('/v1/orgs', { name: 'globex' })
  await registry.made('/v1/orgs', { name: 'initech' })
  await until('all three revisions began', () => begun.length === 3)
  expect(reader.revision).toBe(first)
  slow.resolve([])
  await until('the acknowledgements left', () => reader.revision === begun[2])
})

test('a reader resumes by revision, and starts from its cache when there is no router', async () => {
  const registry = await start()
  await registry.made('/v1/orgs', { name: 'acme' })
  const identity = await registry.join('proxy', 'mad-1')
  const first = recorder()
  const reader = registry.reader(identity, { apply: first.apply })
  await reader.start()
  await reader.stop()
  await registry.made('/v1/orgs', { name: 'globex' })

  const second = recorder()
  const resumed = registry.reader(identity, { apply: second.apply })
  await resumed.start()
  await until('connected again', () => resumed.state === 'connected')
  expect(second.calls[0]).toBe('partial')
  expect(second.calls[1]).toMatchObject([{ table: 'networks', key: '2' }])
  await resumed.stop()

  await registry.close()
  const alone = recorder()
  const cached = registry.reader(identity, { apply: alone.apply })
  await cached.start()
  expect(cached.state).not.toBe('connected')
  expect(alone.table?.networks.size).toBe(2)
  expect(cached.revision).toBe(resumed.revision)
})

test('a router that went and came back is found again, with what changed meanwhile', async () => {
  const registry = await start()
  await registry.made('/v1/orgs', { name: 'acme' })
  const identity = await registry.join('proxy', 'mad-1')
  const seen = recorder()
  const reader = registry.reader(identity, { apply: seen.apply })
  await reader.start()
  await registry.close()
  await until('the loss is noticed', () => reader.state === 'disconnected')
  expect(seen.table?.networks.size).toBe(1)

  const back = await start({ directory: registry.directory, feedPort: Number(new URL(registry.feedUrl).port) })
  await back.made('/v1/orgs', { name: 'globex' })
  await until('the new network arrives', () => seen.table?.networks.size === 2)
  await until('connected', () => reader.state === 'connected')
})

test('a damaged cache is set aside, one that cannot be written is no reason to stop', async () => {
  const registry = await start()
  const identity = await registry.join('proxy', 'mad-1')
  const cacheFile = joinPath(registry.directory, 'cache')
  const reader = registry.reader(identity, { cacheFile })
  await reader.start()
  await reader.stop()
  expect(statSync(cacheFile).mode & 0o777).toBe(0o600)
  writeFileSync(cacheFile, readFileSync(cacheFile, 'utf8').replace('"revision":', '"revision":9'))
  const again = registry.reader(identity, { cacheFile })
  await again.start()
  expect(again.state).toBe('connected')
  expect(statSync(`${cacheFile}.corrupt`).isFile()).toBe(true)

  const nowhere = registry.reader(identity, { cacheFile: joinPath(cacheFile, 'not', 'a', 'directory') })
  await nowhere.start()
  expect(nowhere.state).toBe('connected')
  await nowhere.stop()
})

test('nobody reads the feed without a certificate that counts', async () => {
  const [registry, stranger] = [await start(), await start()]
  const identity = await registry.join('proxy', 'mad-1')
  const foreign = await stranger.join('proxy', 'mad-1')
  await expect(bare(registry, { ...foreign, ca: identity.ca })).rejects.toMatchObject({ code: 'feed.identity-refused' })
  // The other way round: a reader doesn't talk to a router of another CA.
  await expect(bare(stranger, identity)).rejects.toMatchObject({ code: 'feed.unreachable' })
  const socket = connect({ host: '::1', port: Number(new URL(registry.feedUrl).port), ca: identity.ca, checkServerIdentity: checkPeer(isRouter) })
  const answer = await new Promise<string>((resolve) => {
    socket.write('GET /v1/feed HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n')
    socket.once('data', (data) => resolve(data.toString()))
  })
  socket.destroy()
  expect(answer).toMatch(/^HTTP\/1\.1 403/)
})

test('revoking cuts at once, takes the dialer away, and outlives a reconnect; joining again replaces the certificate', async () => {
  const registry = await start()
  const agent = recorder()
  await registry.reader(await registry.join('agent', 'mad-1'), { apply: agent.apply }).start()
  const identity = await registry.join('proxy', 'mad-1')
  const reader = registry.reader(identity)
  await reader.start()
  await until('the agent knows the proxy', () => agent.table?.dialers.has('proxy/mad-1') === true)
  const keyBefore = agent.table?.dialers.get('proxy/mad-1')?.keys
  await registry.call('DELETE', '/v1/proxies/mad-1')
  await until('cut, and no dialer any more', () => reader.state === 'disconnected' && agent.table?.dialers.has('proxy/mad-1') === false)
  await expect(bare(registry, identity)).rejects.toMatchObject({ code: 'feed.identity-refused' })

  const second = await registry.join('proxy', 'mad-1')
  await until('the agent knows the proxy', () => agent.table?.dialers.has('proxy/mad-1') === true)
  expect(agent.table?.dialers.get('proxy/mad-1')?.keys).not.toEqual(keyBefore)
  const third = await registry.join('proxy', 'mad-1')
  await expect(bare(registry, second)).rejects.toMatchObject({ code: 'feed.identity-refused' })
  const { channel } = await bare(registry, third)
  channel.cut('done')
})

test('a wrong hello is answered with its error', async () => {
  const registry = await start()
  const identity = await registry.join('proxy', 'mad-1')
  for (const [hello, code] of [
    [{ type: 'hello', version: 99, program: 'x', revision: 0 }, 'feed.version-unknown'],
    [{ type: 'ack', revision: 0 }, 'feed.message-invalid'],
    [{ type: 'hello', version: 1, program: 'x', revision: -1 }, 'feed.message-invalid'],
  ] as const) {
    const { channel, messages, closed } = await bare(registry, identity)
    channel.send(hello)
    expect(await closed).toBe(code)
    expect(messages).toMatchObject([{ type: 'error', code }])
  }
  const { channel, messages, closed } = await bare(registry, identity)
  channel.send({ type: 'hello', version: 1, program: 'x', revision: 0 })
  await until('an answer', () => messages.length === 1)
  channel.send({ type: 'ack', revision: 1_000_000 })
  expect(await closed).toBe('feed.message-invalid')
})

test('a revision that the log no longer reaches, or never knew, is answered by a snapshot', async () => {
  const registry = await start()
  await registry.made('/v1/orgs', { name: 'acme' })
  const identity = await registry.join('proxy', 'mad-1')
  for (const revision of [0, 1_000_000]) {
    const { channel, messages } = await bare(registry, identity)
    channel.send({ type: 'hello', version: 1, program: 'x', revision })
    await until('an answer', () => messages.length === 1)
    expect(messages[0]).toMatchObject({ type: 'snapshot', last: true, revision: registry.registry.store.revision })
    channel.cut('done')
  }
  const { channel, messages } = await bare(registry, identity)
  channel.send({ type: 'hello', version: 1, program: 'x', revision: registry.registry.store.revision })
  await until('an answer', () => messages.length === 1)
  expect(messages[0]).toMatchObject({ type: 'changes', rows: [] })
  channel.cut('done')
})

test('a reader that does not read is cut, not buffered for', async () => {
  const registry = await start({ readerLimits: { bufferedBytes: 64 * 1024 } })
  await registry.made('/v1/orgs', { name: 'acme' })
  const identity = await registry.join('proxy', 'mad-1')
  const socket = connect({ host: '::1', port: Number(new URL(registry.feedUrl).port), ca: identity.ca, cert: identity.certificate, key: identity.key, checkServerIdentity: checkPeer(isRouter) })
  socket.on('error', () => undefined)
  socket.write('GET /v1/feed HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n')
  await new Promise((resolve) => socket.once('data', resolve))
  const hello = Buffer.from(JSON.stringify({ type: 'hello', version: 1, program: 'x', revision: 0 }))
  socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | hello.length, 0, 0, 0, 0]), hello]))
  await until('connected', () => registry.registry.feed.isConnected('proxy/mad-1'))
  socket.pause()
  const { store } = registry.registry
  const act = { who: 'test', what: 'flood' }
  const name = 'x'.repeat(200)
  await until('the reader is cut', () => {
    store.write(act, (transaction) => {
      const org = store.find('orgs', '', 'acme')?.id ?? ''
      for (let id = 1000; id < 1300; id++) transaction.put('networks', { id, org, name: `${name}${id}`, createdAt: `${store.revision}` })
    })
    return !registry.registry.feed.isConnected('proxy/mad-1')
  })
  socket.destroy()
})

test('a gap in the revisions or a row of nonsense never harms the table in force', async () => {
  const registry = await start()
  await registry.made('/v1/orgs', { name: 'acme' })
  const seen = recorder()
  const reader = registry.reader(await registry.join('proxy', 'mad-1'), { apply: seen.apply })
  await reader.start()
  const { store } = registry.registry
  // A row that the schema refuses: a name that is too long.
  const org = store.find('orgs', '', 'acme')?.id ?? ''
  store.write({ who: 'test', what: 'bad row' }, (transaction) => {
    transaction.put('networks', { id: 7, org, name: 'y'.repeat(300), createdAt: '' })
    transaction.put('networks', { id: 8, org, name: 'fine', createdAt: '' })
  })
  await until('the good row arrives', () => seen.table?.networks.has(8) === true)
  expect(reader.rejectedRows).toBe(1)
  expect(seen.table?.networks.has(7)).toBe(false)
  expect(reader.state).toBe('connected')
})

test('keys rotate step by step: agents accept before dialers sign, and the old epoch goes last', async () => {
  const registry = await start()
  const [proxy, agent] = [recorder(), recorder()]
  const reader = registry.reader(await registry.join('agent', 'mad-1'), { apply: agent.apply })
  await reader.start()
  await registry.reader(await registry.join('proxy', 'mad-1'), { apply: proxy.apply }).start()
  await registry.reader(await registry.join('proxy', 'ams-1', 'ams')).start()
  const accepted = (): unknown => agent.table?.dialers.get('proxy/mad-1')?.keys
  const signing = (): unknown => proxy.table?.nodes.get('mad-1')?.keys
  await until('the agent knows both proxies', () => agent.table?.dialers.size === 2)
  const before = signing()
  expect(accepted()).toEqual(before)
  await registry.made('/v1/hop-keys/rotate', {})
  await until('the rotation is through', () => JSON.stringify(signing()) !== JSON.stringify(before) && JSON.stringify(accepted()) === JSON.stringify(signing()))
  expect(registry.registry.rotation.running).toBe(false)

  // While a proxy is away the old key stays; while the agent is away dialers sign with what it knows.
  await reader.stop()
  const held = signing()
  await registry.made('/v1/hop-keys/rotate', {})
  expect(signing()).toEqual(held)
  expect(registry.registry.rotation.running).toBe(true)
  await registry.call('DELETE', '/v1/nodes/mad-1')
  expect(registry.registry.rotation.running).toBe(false)
})

test('explain and status are answered by the programs themselves', async () => {
  const registry = await start()
  await registry.made('/v1/orgs', { name: 'acme' })
  const agent = registry.reader(await registry.join('agent', 'mad-1'))
  agent.sendAvailability({ db1: 'starting' })
  await agent.start()
  const report = { proxy: 'mad-1', revision: 1, verdict: { allowed: true }, candidates: [], why: 'because' }
  let answer: object = report
  const proxy = registry.reader(await registry.join('proxy', 'mad-1'), {
    ask: (name, params) => (name === 'explain' || name === 'status' ? Promise.resolve({ ...answer, params }) : Promise.reject(new Error('no such question'))),
  })
  await proxy.start()
  await registry.made('/v1/orgs/acme/redis', { name: 'cache', region: 'mad' })
  const params = { source: null, network: 1, destination: 'fdaa:0:1:0:1::1' }
  expect(await registry.call('GET', '/v1/explain?from=acme/mad&to=cache.flycast')).toMatchObject({ status: 200, body: { proxy: 'mad-1', params } })
  const source = 'fdaa:0:1:0:9::2'
  expect((await registry.call('GET', `/v1/explain?from=${source}&to=cache&proxy=mad-1`)).body).toMatchObject({ params: { source } })
  expect((await registry.call('GET', '/v1/explain?from=acme/gru&to=cache')).body).toMatchObject({ code: 'explain.no-proxy' })
  expect((await registry.call('GET', '/v1/explain?from=acme/mad&to=nothing')).body).toMatchObject({ code: 'service.not-found' })
  expect((await registry.call('GET', '/v1/explain')).body).toMatchObject({ code: 'api.body-invalid' })
  answer = { ...report, candidates: 'none' }
  expect((await registry.call('GET', '/v1/explain?from=acme/mad&to=cache')).body).toMatchObject({ code: 'feed.ask-failed', status: 502 })
  await expect(registry.registry.feed.ask('proxy/mad-1', 'other', {}, 1000)).rejects.toMatchObject({ code: 'feed.ask-failed' })
  await until('the availability is shown', () => registry.registry.feed.status('agent/mad-1')?.unavailable['db1'] === 'starting')
  answer = { proxy: 'mad-1', region: 'mad', feed: { state: 'connected', revision: 1 }, addresses: 1, ports: [6379], connections: 0, nodes: [] }
  const live = (await registry.call('GET', '/v1/live')).body
  expect(live).toMatchObject({ proxies: [answer], agents: [], missing: [{ identity: 'agent/mad-1' }] })
  expect((await registry.call('GET', '/v1/latency')).body).toMatchObject({ proxies: [{ proxy: 'mad-1', region: 'mad', nodes: [] }], missing: [] })
  answer = { ...answer, nodes: 'none' }
  expect((await registry.call('GET', '/v1/latency')).body).toMatchObject({ proxies: [], missing: [{ identity: 'proxy/mad-1' }] })
  expect((await registry.call('GET', '/v1/regions')).body).toEqual([{ id: 'mad', nodes: 1, connected: 1 }])
  const status = await registry.call('GET', '/v1/status', undefined, OPERATOR)
  expect(status.body['programs']).toMatchObject([{ identity: 'agent/mad-1', connected: true, lag: 0 }, { identity: 'proxy/mad-1', connected: true, lag: 0 }])
})
