/** Keys, credentials, certificates, tokens, views and the rate limit: what they give and what they refuse. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { identitiesOf, identityOf } from '../../lib/identity.ts'
import { RateLimit } from '../../router/registry/api/rate-limit.ts'
import { Acknowledgements } from '../../router/registry/feed/acknowledgements.ts'
import { Views } from '../../router/registry/feed/views.ts'
import type { DialerRecord, NodeRecord, ServiceRecord } from '../../router/registry/store/records.ts'
import { CertificateAuthority } from '../../router/registry/trust/certificate-authority.ts'
import { newCredentials, passwordSha256, Vault } from '../../router/registry/trust/credentials.ts'
import { HopKeyring } from '../../router/registry/trust/hop-keys.ts'
import { secretKey } from '../../router/registry/trust/key-file.ts'
import { apiTokenId, hashToken, matchesHash, newApiToken, newId, newJoinToken } from '../../router/registry/trust/secret-token.ts'

const directory = mkdtempSync(join(tmpdir(), 'nearcast-trust-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const agent = (id: string, epochs: number[], signing: number, peers: string[] = []): NodeRecord => ({
  id,
  region: 'mad',
  host: 'h',
  hop: 'signed-v2',
  endpoint: '[::1]:7400',
  epochs,
  signing,
  keysRevision: 1,
  peers,
  revoked: false,
  draining: false,
  createdAt: '',
})
const dialer = (id: string, epoch: number, peers: string[] = []): DialerRecord => ({
  id,
  kind: id.startsWith('agent/') ? 'agent' : 'proxy',
  region: 'mad',
  host: 'h',
  serial: '01',
  epoch,
  rotation: 0,
  peers,
  createdAt: '',
})

test('sealed credentials open with their key, for their service, unchanged; else not', () => {
  const vault = new Vault(randomBytes(32))
  const secret = newCredentials()
  const sealed = vault.seal('db1', secret)
  expect(vault.open('db1', sealed)).toEqual(secret)
  expect(sealed).not.toContain(secret.password)
  expect(vault.seal('db1', secret)).not.toBe(sealed)
  const bytes = Buffer.from(sealed, 'base64url')
  const corrupt = expect.objectContaining({ code: 'store.corrupt' })
  for (let index = 0; index < bytes.length; index++) {
    const changed = Buffer.from(bytes)
    changed[index] = (changed[index] ?? 0) ^ 1
    expect(() => vault.open('db1', changed.toString('base64url'))).toThrow(corrupt)
  }
  expect(() => vault.open('db2', sealed)).toThrow(corrupt)
  expect(() => new Vault(randomBytes(32)).open('db1', sealed)).toThrow(corrupt)
  expect(() => vault.open('db1', '')).toThrow(corrupt)
})

test('a key file is made once, read again, and refused when others may read it', () => {
  const file = join(directory, 'some.key')
  const key = secretKey(file)
  expect(secretKey(file)).toEqual(key)
  chmodSync(file, 0o644)
  expect(() => secretKey(file)).toThrow(expect.objectContaining({ code: 'config.invalid' }))
  writeFileSync(join(directory, 'short.key'), 'abcd', { mode: 0o600 })
  expect(() => secretKey(join(directory, 'short.key'))).toThrow(expect.objectContaining({ code: 'config.invalid' }))
})

test('hop keys: both ends name the key alike, in every state of a rotation and after every join', () => {
  const keys = new HopKeyring(randomBytes(32))
  const proxy = dialer('proxy/mad-1', 3)
  for (const [epochs, signing] of [[[2], 2], [[5], 5], [[7, 5], 5], [[7, 5], 7], [[7], 7]] as const) {
    const node = agent('mad-1', [...epochs], signing)
    const [signs] = keys.signing(proxy, node)
    expect(keys.accepted(proxy, node)).toContainEqual(signs)
    expect(new Set(keys.accepted(proxy, node).map((key) => key.epoch)).size).toBe(keys.accepted(proxy, node).length)
  }
  const node = agent('mad-1', [7, 5], 5)
  const old = keys.accepted(proxy, node)
  const joinedAgain = keys.accepted(dialer('proxy/mad-1', 9), node)
  expect(joinedAgain.filter((key) => old.some((other) => other.key === key.key))).toEqual([])
  expect(keys.signing(dialer('proxy/mad-2', 3), node)).not.toEqual(keys.signing(proxy, node))
  expect(keys.signing(proxy, agent('mad-2', [7, 5], 5))).not.toEqual(keys.signing(proxy, node))
  expect(keys.signing(proxy, { ...node, hop: 'v1', epochs: [] } as NodeRecord)).toEqual([])
})

test('views: no credential leaves but to the agents that hold the service, no key but one\'s own', () => {
  const vault = new Vault(randomBytes(32))
  const keys = new HopKeyring(randomBytes(32))
  const views = new Views(keys, vault)
  const secret = newCredentials()
  const service: ServiceRecord = {
    id: 'db1',
    org: 'o',
    name: 'cache',
    kind: 'redis',
    port: 6379,
    placements: [{ node: 'mad-1', role: 'primary' }],
    state: 'provisioning',
    createdAt: '',
    redis: { region: 'mad', replicas: [], maxMemoryBytes: 1 << 20, appendFsync: 'always', sealed: vault.seal('db1', secret) },
  }
  const proxy = { member: dialer('proxy/p', 1), node: null }
  const holder = { member: dialer('agent/mad-1', 2), node: agent('mad-1', [2], 2, ['ams-1']) }
  const stranger = { member: dialer('agent/gru-1', 3), node: agent('gru-1', [3], 3) }
  expect(views.project(proxy, 'services', service)).toBeNull()
  expect(views.project(stranger, 'services', { ...service, state: 'active' })).toBeNull()
  const shown = views.project(holder, 'services', service)
  expect(shown).toMatchObject({ redis: { passwordSha256: passwordSha256(secret.password), replicationSecret: secret.replicationSecret } })
  expect(JSON.stringify(shown)).not.toContain(secret.password)
  const active = views.project(proxy, 'services', { ...service, state: 'active' })
  expect(active).not.toBeNull()
  expect(JSON.stringify(active)).not.toMatch(/redis":|sealed|secret/i)

  const address = { address: 'fdaa:0:1:0:1::1', org: 'o', network: 1, generation: 1, service: 'db1', nodes: ['mad-1'], active: false, tls: null, createdAt: '' }
  expect([proxy, holder, stranger].map((viewer) => views.project(viewer, 'addresses', address) !== null)).toEqual([false, true, false])
  expect([proxy, holder, stranger].map((viewer) => views.project(viewer, 'addresses', { ...address, active: true }) !== null)).toEqual([true, true, false])

  const node = agent('mad-1', [2], 2, ['ams-1'])
  expect([proxy, holder, stranger].map((viewer) => views.project(viewer, 'nodes', node) !== null)).toEqual([true, true, false])
  expect(views.project(proxy, 'nodes', { ...node, revoked: true })).toBeNull()
  expect(views.project(proxy, 'nodes', node)).toMatchObject({ keys: keys.signing(proxy.member, node) })
  const peer = dialer('agent/ams-1', 4, ['mad-1'])
  expect([proxy, holder, stranger].map((viewer) => views.project(viewer, 'dialers', peer) !== null)).toEqual([false, true, false])
  expect([proxy, holder, stranger].map((viewer) => views.project(viewer, 'dialers', proxy.member) !== null)).toEqual([false, true, true])
  const network = { id: 1, org: 'o', name: 'default', createdAt: '' }
  expect([proxy, holder, stranger].map((viewer) => views.project(viewer, 'networks', network) !== null)).toEqual([true, false, false])
})

test('the CA is made once; its certificates name one identity and show the serial that is stored', async () => {
  const home = join(directory, 'ca')
  mkdirSync(home)
  const authority = await CertificateAuthority.open(home)
  expect((await CertificateAuthority.open(home)).fingerprint).toBe(authority.fingerprint)
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256', publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs8', format: 'pem' } })
  const { certificate, serial } = await authority.issue('proxy/mad-1', publicKey)
  const parsed = new X509Certificate(certificate)
  expect(parsed.serialNumber).toBe(serial)
  expect(identityOf({ subjectaltname: parsed.subjectAltName ?? '' })).toBe('proxy/mad-1')
  expect(parsed.ca).toBe(false)
  expect(parsed.verify(new X509Certificate(authority.pem).publicKey)).toBe(true)
  expect(parsed.validToDate.getTime() - Date.now()).toBeGreaterThan(9 * 365 * 24 * 3600 * 1000)
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048, publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs8', format: 'pem' } })
  for (const key of [rsa.publicKey, 'nonsense']) await expect(authority.issue('proxy/x', key)).rejects.toMatchObject({ code: 'api.body-invalid' })
})

test('the identity of a certificate is exactly one well-formed URI', () => {
  expect(identityOf({ subjectaltname: 'URI:nearcast://agent/mad-1, IP Address:127.0.0.1' })).toBe('agent/mad-1')
  for (const bad of ['', 'DNS:nearcast://agent/mad-1', 'URI:nearcast://root/mad-1', 'URI:nearcast://agent/', 'URI:nearcast://agent/A', 'URI:nearcast://agent/a/b', 'URI:https://agent/a', '"URI:nearcast://agent/a"']) {
    expect(identityOf({ subjectaltname: bad })).toBeNull()
  }
  expect(identityOf({ subjectaltname: 'URI:nearcast://agent/a, URI:nearcast://proxy/b' })).toBeNull()
  expect(identitiesOf({ subjectaltname: 'URI:nearcast://agent/a, URI:nearcast://proxy/b' })).toEqual(['agent/a', 'proxy/b'])
})

test('tokens carry their id, match only their own hash, and have the agreed form', () => {
  const token = newApiToken('tokabcd')
  expect(apiTokenId(token)).toBe('tokabcd')
  expect(apiTokenId('anything else')).toBe('bootstrap')
  expect(matchesHash(token, hashToken(token))).toBe(true)
  expect(matchesHash(`${token}x`, hashToken(token))).toBe(false)
  expect(matchesHash(token, '')).toBe(false)
  for (let round = 0; round < 100; round++) expect(newJoinToken('ab'.repeat(32))).toMatch(/^njt_[A-Za-z0-9_-]{32}_[0-9a-f]{64}$/)
  expect(newId('srv')).toMatch(/^srv[a-z2-7]{16}$/)
})

test('the rate limit lets a burst pass, then as many as the rate, per caller', () => {
  let nowMs = 0
  const limit = new RateLimit({ perSecond: 10, burst: 3 }, () => nowMs)
  const taken = (caller: string): boolean => {
    try {
      limit.take(caller)
      return true
    } catch {
      return false
    }
  }
  expect([taken('a'), taken('a'), taken('a'), taken('a'), taken('b')]).toEqual([true, true, true, false, true])
  nowMs += 100
  expect([taken('a'), taken('a')]).toEqual([true, false])
  nowMs += 60_000
  expect([taken('a'), taken('a'), taken('a'), taken('a')]).toEqual([true, true, true, false])
  for (let caller = 0; caller < 30_000; caller++) expect(taken(`peer ${caller}`)).toBe(true)
})

test('acknowledgements: a wait ends with the last reader, counts a later revision, and names those missing', async () => {
  let nowMs = 1000
  const acknowledgements = new Acknowledgements(() => nowMs)
  acknowledgements.published(5, ['proxy/a', 'proxy/b', 'agent/c'])
  const all = acknowledgements.wait(5, 'proxy', 1000)
  const agents = acknowledgements.wait(5, 'agent', 0)
  nowMs += 7
  acknowledgements.acknowledged('proxy/a', 5)
  acknowledgements.acknowledged('proxy/b', 4)
  nowMs += 5
  acknowledgements.acknowledged('proxy/b', 9)
  acknowledgements.acknowledged('proxy/stranger', 9)
  expect(await all).toEqual({
    acknowledged: [
      { identity: 'proxy/a', ms: 7, failed: [] },
      { identity: 'proxy/b', ms: 12, failed: [] },
    ],
    missing: [],
  })
  expect(await agents).toEqual({ acknowledged: [], missing: ['agent/c'] })
  expect(await acknowledgements.wait(6, 'proxy', 1000)).toEqual({ acknowledged: [], missing: [] })
  expect([acknowledgements.inForce('proxy/b'), acknowledgements.inForce('agent/c')]).toEqual([9, 0])
})
