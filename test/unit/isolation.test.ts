/** The one rule, against a second description of it that is written in text instead of bits. */
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Ipv6 } from '../../lib/address.ts'
import { asNetworkId, flycastAddress, ipv6FromBytes, keyOf, machineAddress, MAX_FLYCAST_NUMBER, MAX_NETWORK_ID, parseIpv6 } from '../../lib/address.ts'
import { mayConnect } from '../../lib/isolation.ts'
import { testSeed } from '../support/random.ts'

const seed = testSeed('isolation')
const hex = (ip: Ipv6): string => Buffer.from(ip).toString('hex')

/** fdaa | nnnnnnnn | 00000001 | 12 digits that aren't all zero; at the source the same network and a host above 00000001. */
function expected(source: Ipv6, destination: Ipv6, known: boolean): boolean {
  const [from, to] = [hex(source), hex(destination)]
  return known && /^fdaa(?!00000000).{8}00000001(?!000000000000).{12}$/.test(to) && from.slice(0, 12) === to.slice(0, 12) && from.slice(12, 20) > '00000001'
}

const network = fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: MAX_NETWORK_ID })).map((id) => asNetworkId(id))
const flycast = fc.tuple(network, fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: MAX_FLYCAST_NUMBER }))).map(([id, n]) => flycastAddress(id, n))
const machine = fc.tuple(network, fc.integer({ min: 2, max: 0xffff_fffe }), fc.nat(0xffff_ffff)).map(([id, host, number]) => machineAddress(id, host, number))
const any = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => ipv6FromBytes(bytes))
const special = fc.constantFrom('::', '::1', 'fdaa::3', 'fdaa::', 'fdaa::1:0:0:1', 'fdaa:0:1:0:1::', 'fe80::1', '::ffff:102:304', 'fdab:0:1:0:1::1').map(parseIpv6)
const address = fc.oneof(flycast, machine, any, special)

/** One bit away from allowed. */
const nearMiss = fc.tuple(flycast, fc.nat(127), fc.nat(127), fc.boolean(), fc.boolean()).map(([destination, one, two, flipSource, flipDestination]) => {
  const source = Uint8Array.from(destination, (byte, index) => (index === 9 ? 2 : byte))
  return [flipSource ? flip(source, one) : ipv6FromBytes(source), flipDestination ? flip(destination, two) : destination] as const
})

function flip(bytes: Uint8Array, bit: number): Ipv6 {
  return ipv6FromBytes(Uint8Array.from(bytes, (byte, index) => (index === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte)))
}

test('allowed only to a known Flycast address of the own network', () => {
  const seen = { allowed: 0, denied: 0 }
  const check = fc.property(fc.oneof(fc.tuple(address, address), nearMiss), fc.boolean(), ([source, destination], known) => {
    const verdict = mayConnect(source, destination, (asked) => known && keyOf(asked) === keyOf(destination))
    seen[verdict.allowed ? 'allowed' : 'denied']++
    expect(verdict.allowed).toBe(expected(source, destination, known))
    if (verdict.allowed) expect(verdict.network.toString(16).padStart(8, '0')).toBe(hex(destination).slice(4, 12))
  })
  fc.assert(check, { seed, numRuns: 20_000 })
  expect(seen.allowed).toBeGreaterThan(500)
  expect(seen.denied).toBeGreaterThan(500)
})

test('every single bit of both addresses counts as the plan says', () => {
  const destination = parseIpv6('fdaa:0:1:0:1::5')
  const source = parseIpv6('fdaa:0:1:2:3:4:5:6')
  const table = new Set([keyOf(destination)])
  const known = (ip: Ipv6): boolean => table.has(keyOf(ip))
  expect(mayConnect(source, destination, known)).toEqual({ allowed: true, network: 1 })
  for (let bit = 0; bit < 128; bit++) {
    expect(mayConnect(flip(source, bit), destination, known).allowed, `source bit ${bit}`).toBe(bit >= 48)
    expect(mayConnect(source, flip(destination, bit), known).allowed, `destination bit ${bit}`).toBe(false)
  }
})

function ask(): boolean {
  throw new Error('asked')
}

function always(): boolean {
  return true
}

test('unknown addresses are asked for last, foreign ones never', () => {
  const destination = parseIpv6('fdaa:0:1:0:1::5')
  for (const source of ['fdaa:0:2:2::1', '::1', 'fdaa::1', 'fdab:0:1:2::1']) expect(mayConnect(parseIpv6(source), destination, ask).allowed).toBe(false)
  expect(() => mayConnect(parseIpv6('fdaa:0:1:2::1'), destination, ask)).toThrow('asked')
})

test.each([
  ['fdaa:0:1:2::1', 'fdaa:0:1:2::2', 'not-flycast', 1, 1],
  ['fdaa:0:1:2::1', '2001:db8::1', 'not-flycast', 1, null],
  ['fdaa:0:1:2::1', 'fdaa:0:1:0:1::', 'not-flycast', 1, 1],
  ['2001:db8::1', 'fdaa:0:1:0:1::5', 'outside-plan', null, 1],
  ['fdaa::1', 'fdaa:0:1:0:1::5', 'outside-plan', null, 1],
  ['fdaa:0:1:0:1::7', 'fdaa:0:1:0:1::5', 'outside-plan', 1, 1],
  ['fdaa:0:1::3', 'fdaa:0:1:0:1::5', 'outside-plan', 1, 1],
  ['fdaa:0:2:2::1', 'fdaa:0:1:0:1::5', 'foreign-network', 2, 1],
  ['fdaa:0:1:2::1', 'fdaa:0:1:0:1::6', 'unknown-address', 1, 1],
])('%s to %s: %s', (source, destination, reason, sourceNetwork, network_) => {
  const verdict = mayConnect(parseIpv6(source), parseIpv6(destination), (ip) => hex(ip).endsWith('5'))
  expect(verdict).toEqual({ allowed: false, reason, sourceNetwork, network: network_ })
})

test('the prefix is a setting', () => {
  expect(mayConnect(parseIpv6('fd12:0:1:2::1'), parseIpv6('fd12:0:1:0:1::5'), always).allowed).toBe(false)
  expect(mayConnect(parseIpv6('fd12:0:1:2::1'), parseIpv6('fd12:0:1:0:1::5'), always, 0xfd12).allowed).toBe(true)
  expect(mayConnect(parseIpv6('fdaa:0:1:2::1'), parseIpv6('fd12:0:1:0:1::5'), always, 0xfd12).allowed).toBe(false)
})
