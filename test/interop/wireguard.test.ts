/** Our WireGuard device against wireguard-go (wireguard-pair.ts). Skipped, with the reason, where that can't be had. */
import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, expect, test } from 'vitest'
import { encodeKey } from '../../lib/wireguard/keys.ts'
import { endChild, LEFT, RIGHT, WireguardPair } from '../support/wireguard-pair.ts'
import type { Side } from '../support/wireguard-pair.ts'

/** A machine that others load takes seconds to start a program, and there are many here. */
const PATIENCE_MS = 60_000
const opened = await WireguardPair.open()
const forbidden = typeof opened === 'string' ? opened : false

function pair(): WireguardPair {
  if (typeof opened === 'string') throw new Error(opened)
  return opened
}

afterEach(async () => {
  if (typeof opened !== 'string') await opened.rest()
})
afterAll(async () => {
  if (typeof opened !== 'string') await opened.close()
})

const named = (name: string): string => `${name}${forbidden === false ? '' : ` (skipped: ${forbidden})`}`

test.skipIf(forbidden !== false).each(['auto', 'portable'] as const)(named('we begin: ping and TCP both ways, over IPv4, path %s'), { timeout: PATIENCE_MS }, async (path) => {
  pair().startTheirs({})
  const ours = await pair().startOurs({ weKnow: true, path })
  pair().ping(LEFT, RIGHT)
  pair().ping(RIGHT, LEFT)
  expect(await pair().transfer(LEFT, RIGHT, 3_000_000)).toBe('whole')
  expect(await pair().transfer(RIGHT, LEFT, 3_000_000)).toBe('whole')
  const { peers } = await ours.ask()
  expect(peers[0]?.lastHandshakeMs).toBeTypeOf('number')
  expect(peers[0]?.receivedBytes).toBeGreaterThan(3_000_000)
})

test.skipIf(forbidden !== false)(named('they begin: a preshared key, over IPv6; IPv4 inside'), { timeout: PATIENCE_MS }, async () => {
  const presharedKey = encodeKey(randomBytes(32))
  pair().startTheirs({ theyKnow: true, presharedKey, family: 'ipv6' })
  const ours = await pair().startOurs({ presharedKey, family: 'ipv6' })
  pair().ping(RIGHT, LEFT)
  pair().ping(LEFT, RIGHT)
  expect((await ours.ask()).peers[0]?.endpoint).toMatchObject({ host: RIGHT.ipv6 })
  expect(await pair().transfer(RIGHT, LEFT, 500_000, 'inside4')).toBe('whole')
  expect(await pair().transfer(LEFT, RIGHT, 500_000, 'inside4')).toBe('whole')
})

test.skipIf(forbidden !== false)(named('a wrong preshared key lets nothing pass'), { timeout: PATIENCE_MS }, async () => {
  pair().startTheirs({ presharedKey: encodeKey(randomBytes(32)) })
  const ours = await pair().startOurs({ weKnow: true, presharedKey: encodeKey(randomBytes(32)) })
  expect(() => pair().run(LEFT, 'ping', '-6', '-c', '2', '-i', '0.2', '-W', '1', RIGHT.inside)).toThrow()
  expect((await ours.ask()).peers[0]?.lastHandshakeMs).toBeNull()
})

test.skipIf(forbidden !== false)(named('roaming: either side gets another address'), { timeout: PATIENCE_MS }, async () => {
  const move = (side: Side, from: string, to: string): void => {
    pair().run(side, 'sh', '-euc', `ip addr del ${from}/24 dev veth0; ip addr add ${to}/24 dev veth0`)
  }
  pair().startTheirs({})
  const ours = await pair().startOurs({ weKnow: true })
  pair().ping(LEFT, RIGHT)
  try {
    move(LEFT, LEFT.ipv4, '10.99.0.11')
    pair().ping(LEFT, RIGHT)
    expect(pair().run(RIGHT, 'wg', 'show', 'wg1', 'endpoints')).toContain('10.99.0.11:51820')
    move(RIGHT, RIGHT.ipv4, '10.99.0.12')
    // wireguard-go keeps the source address that it had until its socket is made anew.
    pair().run(RIGHT, 'wg', 'set', 'wg1', 'listen-port', '51999')
    pair().ping(RIGHT, LEFT)
    expect((await ours.ask()).peers[0]?.endpoint).toEqual({ host: '10.99.0.12', port: 51999 })
  } finally {
    move(LEFT, '10.99.0.11', LEFT.ipv4)
    move(RIGHT, '10.99.0.12', RIGHT.ipv4)
  }
})

test.skipIf(forbidden !== false)(named('either side restarts'), { timeout: PATIENCE_MS }, async () => {
  const options = { weKnow: true, theyKnow: true, keepaliveSeconds: 1 }
  let theirs = pair().startTheirs(options)
  let ours = await pair().startOurs(options)
  pair().ping(LEFT, RIGHT)
  await endChild(ours.child)
  ours = await pair().startOurs(options)
  pair().ping(RIGHT, LEFT)
  await endChild(theirs)
  theirs = pair().startTheirs(options)
  pair().ping(LEFT, RIGHT)
  expect(theirs.exitCode).toBeNull()
})
