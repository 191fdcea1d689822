/** Secrets are zeroed where they were, as soon as they aren't needed: keys that were handed over, agreed secrets, sessions that end. */
import { expect, test } from 'vitest'
import { nodeAead } from '../../lib/wireguard/aead.ts'
import type { AeadFactory } from '../../lib/wireguard/aead.ts'
import { clampPrivate, KeyPair } from '../../lib/wireguard/keys.ts'
import { NoiseState, WIREGUARD_PROLOGUE } from '../../lib/wireguard/noise.ts'
import { Session } from '../../lib/wireguard/session.ts'
import { Random, testSeed } from '../support/random.ts'
import { Network, packetBetween } from '../support/wireguard-network.ts'

const random = new Random(testSeed('wireguard-zeroing'))
const ZEROES = new Uint8Array(32)

test('a session takes its keys, and a handshake what was agreed', () => {
  const keys = { sending: random.bytes(32), receiving: random.bytes(32) }
  const session = new Session({ isInitiator: true, localIndex: 1, remoteIndex: 2, nowMs: 0 }, keys, nodeAead)
  expect([keys.sending, keys.receiving]).toEqual([ZEROES, ZEROES])
  session.seal(random.bytes(16), 1420)
  session.close()
  expect(() => session.seal(random.bytes(16), 1420)).toThrow('zeroed')
  const pair = KeyPair.fromPrivate(clampPrivate(random.bytes(32)))
  const shared = random.bytes(32)
  expect(NoiseState.start(WIREGUARD_PROLOGUE, pair.publicKey).mixShared(shared)).toBe(true)
  expect(shared).toEqual(ZEROES)
})

test('of the keys of hours of sessions none is left but those in use, and of an engine that was closed none', () => {
  const live = new Set<object>()
  let made = 0
  const counted: AeadFactory = (key) => {
    const aead = nodeAead(key)
    const kept = { seal: aead.seal.bind(aead), open: aead.open.bind(aead), close: () => void (aead.close(), live.delete(kept)) }
    live.add(kept)
    made++
    return kept
  }
  const network = new Network(random)
  const [a, b] = [network.add('a', { aead: counted }), network.add('b')]
  network.introduce(a, b, random.bytes(32))
  for (let minute = 0; minute < 180; minute++) {
    a.engine.send(packetBetween(a, b, Buffer.from('hello')))
    network.run(60_000)
    expect(live.size).toBeLessThanOrEqual(2 * 3)
  }
  expect(made).toBeGreaterThan(100)
  a.engine.send(packetBetween(a, b, Buffer.from('hello')))
  network.run(100)
  expect(live.size).toBeGreaterThan(0)
  a.engine.close()
  expect(live.size).toBe(0)
})
