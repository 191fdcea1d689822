/** What `nearcast wireguard create` shows: a configuration that stock tools take, and gateways that really answered. */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { formatConfiguration } from '../../cli/wireguard/configuration.ts'
import { probeGateways } from '../../cli/wireguard/probe.ts'
import { qrCode } from '../../cli/wireguard/qr-code.ts'
import { join as joinFleet } from '../../lib/identity.ts'
import { Device } from '../../lib/wireguard/device.ts'
import { clampPrivate, decodeKey, encodeKey, KeyPair } from '../../lib/wireguard/keys.ts'
import { MemoryTun } from '../../lib/wireguard/memory-tun.ts'
import { UdpBind } from '../../lib/wireguard/udp-bind.ts'
import type { TestRegistry } from '../support/registry.ts'
import { OPERATOR, startRegistry } from '../support/registry.ts'

const privateKey = encodeKey(clampPrivate(randomBytes(32)))
const publicKey = KeyPair.fromPrivate(decodeKey(privateKey)).publicKey.text
const asked: string[] = []
const gateway = new Device({
  privateKey: clampPrivate(randomBytes(32)),
  bind: new UdpBind({ ipv4: '127.0.0.1', ipv6: null }),
  tun: new MemoryTun(() => {}),
  admit: (key) => {
    asked.push(key)
    return { allowedIps: ['fdaa:0:1:ffff:ffff::100/120'] }
  },
})
let registry: TestRegistry
const directory = mkdtempSync(join(tmpdir(), 'nearcast-wireguard-'))

beforeAll(async () => {
  await gateway.open()
  registry = await startRegistry()
})
afterAll(async () => {
  await gateway.close()
  await registry.remove()
  rmSync(directory, { recursive: true })
})

const facts = { title: 'acme/laptop', privateKey, address: 'fdaa:0:1:ffff:ffff::102', gateway: { id: 'mad-1', region: 'mad', publicKey: gateway.publicKey } }

test('the configuration, whole', () => {
  expect(formatConfiguration({ ...facts, endpoint: '192.0.2.1:51820' })).toBe(`# acme/laptop, by gateway mad-1 in mad
[Interface]
PrivateKey = ${privateKey}
Address = fdaa:0:1:ffff:ffff::102/120
MTU = 1420

[Peer]
PublicKey = ${gateway.publicKey}
Endpoint = 192.0.2.1:51820
AllowedIPs = fdaa:0:1::/48
PersistentKeepalive = 25
`)
  expect(formatConfiguration({ ...facts, address: 'fd00:0:7:ffff:ffff::102', endpoint: 'gw.example:1' })).toContain('AllowedIPs = fd00:0:7::/48')
  expect(qrCode(formatConfiguration({ ...facts, endpoint: '192.0.2.1:51820' })).split('\n').length).toBeGreaterThan(20)
})

test('a gateway that answers is first, with its time and the end point that answered; a silent one is last', async () => {
  const place = { region: 'mad', publicKey: gateway.publicKey, connected: true }
  const silent = new UdpBind({ ipv4: '127.0.0.1', ipv6: null })
  await silent.open(() => {})
  const probed = await probeGateways(
    [
      { ...place, id: 'silent', publicKey: KeyPair.fromPrivate(clampPrivate(randomBytes(32))).publicKey.text, endpoints: [`127.0.0.1:${silent.port}`] },
      { ...place, id: 'here', endpoints: ['nonsense', `127.0.0.1:${gateway.port}`] },
    ],
    privateKey,
  )
  await silent.close()
  expect(probed).toMatchObject([
    { gateway: { id: 'here' }, endpoint: `127.0.0.1:${gateway.port}` },
    { gateway: { id: 'silent' }, endpoint: `127.0.0.1:${silent.port}`, ms: null },
  ])
  expect(probed[0]?.ms).toBeGreaterThan(0)
  expect(asked).toEqual([publicKey])
})

interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

function nearcast(...words: string[]): Promise<Outcome> {
  const env = { PATH: process.env['PATH'], HOME: directory, NEARCAST_API: registry.url, NEARCAST_TOKEN: OPERATOR, NEARCAST_ORG: 'acme', NO_COLOR: '1' }
  return new Promise((resolve) => {
    execFile(process.execPath, [join(import.meta.dirname, '../../cli/main.ts'), 'wireguard', ...words], { env, timeout: 15_000 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    )
  })
}

test('create and reset: a file for its owner alone, never over another one; the private key stays here', async () => {
  await registry.made('/v1/orgs', { name: 'acme' })
  const file = join(directory, 'laptop.conf')
  const place = { publicKey: gateway.publicKey, endpoints: [`127.0.0.1:${gateway.port}`] }
  await joinFleet({ routerUrl: registry.feedUrl, token: await registry.joinToken('gateway', 'mad-1'), stateDir: join(directory, 'gateway'), kind: 'gateway', id: 'mad-1', gateway: place })

  const made = await nearcast('create', 'laptop', '--output', file)
  expect(made).toMatchObject({ code: 0, stderr: expect.stringMatching(/^mad: mad-1 answers in [\d.]+ ms \(127.*\nBring it up with "wg-quick up \/.*laptop\.conf"\.\n$/) })
  expect(statSync(file).mode & 0o777).toBe(0o600)
  const configuration = readFileSync(file, 'utf8')
  expect(configuration).toMatch(/^Address = fdaa:0:1:ffff:ffff::102\/120$/m)
  const key = /^PrivateKey = (.*)$/m.exec(configuration)?.[1] ?? ''
  const peer = registry.registry.store.list('wireguard')[0]
  expect(peer?.publicKey).toBe(KeyPair.fromPrivate(decodeKey(key)).publicKey.text)
  for (const text of [JSON.stringify(registry.registry.store.audit(0, 100)), made.stdout, made.stderr]) expect(text).not.toContain(key)

  const [taken, nowhere, listed, places] = await Promise.all([
    nearcast('reset', 'laptop', '--yes', '--output', file),
    nearcast('create', 'phone', '--region', 'nowhere'),
    nearcast('list'),
    nearcast('gateways'),
  ])
  expect(taken).toMatchObject({ code: 1, stderr: expect.stringContaining('exists already') })
  expect(nowhere).toMatchObject({ code: 1, stderr: expect.stringContaining('gateway.not-found') })
  expect(listed.stdout).toContain('fdaa:0:1:ffff:ffff::102')
  expect(places.stdout).toContain(`127.0.0.1:${gateway.port}`)
  expect([readFileSync(file, 'utf8'), registry.registry.store.list('wireguard')[0]?.publicKey]).toEqual([configuration, peer?.publicKey])
  const reset = await nearcast('reset', 'laptop', '--yes', '--endpoint', '192.0.2.9:1', '--json')
  const { configuration: renewed, gateways, ...rest } = JSON.parse(reset.stdout) as { configuration: string; gateways: { ms: number }[] }
  expect(rest).toMatchObject({ name: 'laptop', gateway: 'mad-1', endpoint: '192.0.2.9:1', address: 'fdaa:0:1:ffff:ffff::102' })
  expect(gateways[0]?.ms).toBeGreaterThan(0)
  expect(renewed).toContain('Endpoint = 192.0.2.9:1\n')
  expect(registry.registry.store.list('wireguard').map(({ publicKey: held }) => held)).not.toContain(peer?.publicKey)
})
