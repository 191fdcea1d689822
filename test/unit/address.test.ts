/** Addresses: text against Node's own parser and the URL standard, bits against the plan. */
import * as fc from 'fast-check'
import { isIPv6 } from 'node:net'
import { expect, test } from 'vitest'
import {
  asNetworkId,
  equalIpv6,
  flycastAddress,
  flycastNumber,
  flycastPrefix,
  formatIpv6,
  ipv6FromBytes,
  isFlycast,
  isMachine,
  isIpv6Text,
  isPeer,
  keyOf,
  machineAddress,
  MAX_FLYCAST_NUMBER,
  MAX_NETWORK_ID,
  MAX_PEER_NUMBER,
  networkOf,
  networkPrefix,
  peerAddress,
  peerPrefix,
  peersPrefix,
  parseIpv6,
} from '../../lib/address.ts'
import { testSeed } from '../support/random.ts'

const seed = testSeed('address')
/** Zero groups are frequent: they are what compression is about. */
const group = fc.oneof(fc.constant(0), fc.nat(0xffff))
const address = fc.tuple(group, group, group, group, group, group, group, group).map((groups) => {
  const bytes = new Uint8Array(16)
  groups.forEach((value, index) => new DataView(bytes.buffer).setUint16(index * 2, value))
  return ipv6FromBytes(bytes)
})
const network = fc.integer({ min: 1, max: MAX_NETWORK_ID }).map((id) => asNetworkId(id))
const number = fc.integer({ min: 1, max: MAX_FLYCAST_NUMBER })
const prefix = fc.nat(0xffff)
const text = fc.oneof(
  fc.stringMatching(/^[0-9a-fA-F:.%]{0,45}$/),
  fc.array(fc.oneof(fc.stringMatching(/^[0-9a-fA-F]{0,5}$/), fc.constant('')), { maxLength: 10 }).map((groups) => groups.join(':')),
  address.map((ip) => formatIpv6(ip).replace('0', '')),
  fc.string(),
)

test('what is parsed is what was formatted', () => {
  fc.assert(fc.property(address, (ip) => equalIpv6(parseIpv6(formatIpv6(ip)), ip)), { seed, numRuns: 2000 })
})

test('the text is that of the URL standard, which is RFC 5952', () => {
  const check = fc.property(address, (ip) => {
    const url = new URL(`http://[${formatIpv6(ip).toUpperCase()}]/`)
    expect(url.hostname).toBe(`[${formatIpv6(ip)}]`)
  })
  fc.assert(check, { seed, numRuns: 2000 })
})

test('accepted is what Node accepts, but for zone ids and dotted quads', () => {
  let accepted = 0
  const check = fc.property(text, (input) => {
    const expected = isIPv6(input) && !input.includes('%') && !input.includes('.')
    if (expected) accepted++
    expect(isIpv6Text(input)).toBe(expected)
  })
  fc.assert(check, { seed, numRuns: 10_000 })
  expect(accepted).toBeGreaterThan(500)
})

test('every spelling is the same 16 bytes', () => {
  const spellings = ['fdaa:0:47fb:0:1::19', 'FDAA:0:47FB:0:1:0:0:19', 'fdaa:0000:47fb:0000:0001:0000:0000:0019', 'fdaa:0:47fb::1:0:0:19']
  expect(new Set(spellings.map((spelling) => keyOf(parseIpv6(spelling)))).size).toBe(1)
})

test.each(['fe80::1%eth0', '::1.2.3.4', '::ffff:1.2.3.4', '1::2::3', ':::', ':1::', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1:2:3:4:5:6:7::8', 'g::', '12345::', ' ::1', '::1\n', '::1\0', '[::1]', '', ':', '٣::1'])(
  '%j is no address',
  (input) => {
    expect(() => parseIpv6(input)).toThrow(expect.objectContaining({ code: 'address.invalid', side: 'client' }))
  },
)

test('an error quotes a part of long input only', () => {
  expect(() => parseIpv6('x'.repeat(10_000))).toThrow(expect.objectContaining({ message: expect.stringMatching(/^.{1,200}$/) as string }))
})

test('keys are equal exactly when the addresses are', () => {
  fc.assert(fc.property(address, address, (one, two) => (keyOf(one) === keyOf(two)) === equalIpv6(one, two)), { seed })
  const bytes = Uint8Array.from({ length: 16 }, (_, index) => 0xf0 + index)
  for (let bit = 0; bit < 128; bit++) {
    const other = Uint8Array.from(bytes, (byte, index) => (index === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte))
    expect(keyOf(ipv6FromBytes(other))).not.toBe(keyOf(ipv6FromBytes(bytes)))
    expect(equalIpv6(ipv6FromBytes(other), ipv6FromBytes(bytes))).toBe(false)
  }
})

test('16 bytes are copied, others refused', () => {
  const bytes = new Uint8Array(16)
  const ip = ipv6FromBytes(bytes)
  bytes[0] = 1
  expect(ip[0]).toBe(0)
  for (const length of [0, 4, 15, 17]) expect(() => ipv6FromBytes(new Uint8Array(length))).toThrow(expect.objectContaining({ code: 'address.invalid' }))
})

test('a Flycast address says its network and its number, in any prefix', () => {
  const check = fc.property(network, number, prefix, (id, n, plan) => {
    const ip = flycastAddress(id, n, plan)
    expect(networkOf(ip, plan)).toBe(id)
    expect(flycastNumber(ip)).toBe(n)
    expect(isFlycast(ip, plan)).toBe(true)
    expect(isFlycast(ip, plan ^ 1)).toBe(false)
  })
  fc.assert(check, { seed })
})

test('a machine is no Flycast address', () => {
  const word = fc.nat(0xffff_ffff)
  const check = fc.property(network, fc.integer({ min: 2, max: 0xffff_fffe }), word, fc.nat(0xffff), (id, host, machine, free) => {
    const ip = machineAddress(id, host, machine, free)
    expect(networkOf(ip)).toBe(id)
    expect(isFlycast(ip)).toBe(false)
  })
  fc.assert(check, { seed })
})

test('the bits of the plan, spelt out', () => {
  const id = asNetworkId(0x47fb)
  expect(formatIpv6(flycastAddress(id, 0x19))).toBe('fdaa:0:47fb:0:1::19')
  expect(formatIpv6(flycastAddress(asNetworkId(MAX_NETWORK_ID), MAX_FLYCAST_NUMBER))).toBe('fdaa:ffff:ffff:0:1:ffff:ffff:ffff')
  expect(formatIpv6(machineAddress(id, 0x0a7b_d6b0, 0x0001_0002))).toBe('fdaa:0:47fb:a7b:d6b0:1:2:2')
  expect(networkPrefix(id)).toBe('fdaa:0:47fb::/48')
  expect(flycastPrefix(id)).toBe('fdaa:0:47fb:0:1::/80')
  expect(networkOf(parseIpv6('fdaa::3'))).toBeNull()
  expect(networkOf(parseIpv6('fdab:0:1::1'))).toBeNull()
  expect(networkOf(parseIpv6('fdaa:8000:0::1'))).toBe(0x8000_0000)
  expect(isFlycast(parseIpv6('fdaa:0:1:0:1::'))).toBe(false)
  expect(isFlycast(parseIpv6('fdaa::1:0:0:1'))).toBe(false)
})

test('a WireGuard peer: its /120 says its network, holds its address, and meets no machine, no Flycast address and no other peer', () => {
  const check = fc.property(network, fc.integer({ min: 1, max: MAX_PEER_NUMBER - 1 }), prefix, (id, n, plan) => {
    const own = peerAddress(id, n, plan)
    expect([networkOf(own, plan), isPeer(own, plan), isMachine(own, plan), isFlycast(own, plan)]).toEqual([id, true, true, false])
    const [base = '', bits] = peerPrefix(id, n, plan).split('/')
    expect(bits).toBe('120')
    expect([...own.subarray(0, 15)]).toEqual([...parseIpv6(base).subarray(0, 15)])
    expect(peerPrefix(id, n + 1, plan)).not.toBe(peerPrefix(id, n, plan))
    expect(isPeer(flycastAddress(id, n, plan), plan)).toBe(false)
  })
  fc.assert(check, { seed })
  const id = asNetworkId(1)
  expect(peerPrefix(id, 1)).toBe('fdaa:0:1:ffff:ffff::100/120')
  expect(formatIpv6(peerAddress(id, 1))).toBe('fdaa:0:1:ffff:ffff::102')
  expect(formatIpv6(peerAddress(id, 0x1_2345))).toBe('fdaa:0:1:ffff:ffff:0:123:4502')
  expect(peersPrefix(id)).toBe('fdaa:0:1:ffff:ffff::/80')
  for (const n of [0, -1, 0.5, MAX_PEER_NUMBER + 1]) expect(() => peerAddress(id, n)).toThrow(expect.objectContaining({ code: 'address.exhausted' }))
})

test.each([0, -1, 1.5, Number.NaN, MAX_NETWORK_ID + 1, Infinity])('%d is no network', (id) => {
  expect(() => asNetworkId(id)).toThrow(expect.objectContaining({ code: 'network.missing' }))
})

test.each([0, -1, 0.5, Number.NaN, MAX_FLYCAST_NUMBER + 1])('%d is no number of a Flycast address', (n) => {
  expect(() => flycastAddress(asNetworkId(1), n)).toThrow(expect.objectContaining({ code: 'address.exhausted' }))
})

test.each([0, 1, 1.5, 2 ** 32 - 1, 2 ** 32])('%d is no host of a machine', (host) => {
  expect(() => machineAddress(asNetworkId(1), host, 0)).toThrow(expect.objectContaining({ code: 'address.invalid' }))
})
