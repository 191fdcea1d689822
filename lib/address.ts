/**
 * IPv6 addresses and the one description of their bits in the address plan (6PN).
 *
 *   fdaa | network id | host | machine | free        bits: 16 | 32 | 32 | 32 | 16
 *   fdaa : <network>  : 0:1  : <number>               a Flycast address: host part 1, the low 48 bits are its number
 *   fdaa : <network>  : ffff:ffff : <number 40> <8>    a WireGuard peer's /120
 *
 * Addresses are 16 bytes inside and text only at the edge, so that two spellings never compare as different.
 * Network 0 and three host parts are reserved: 0 for infrastructure (DNS), 1 for Flycast addresses, ffff:ffff for
 * WireGuard peers, each of which has a /120.
 * Text form: RFC 5952. Parsing: RFC 4291 section 2.2 without zone ids and without embedded dotted quads, because
 * neither can occur in an address that we hand out and both have been ways around a check (docs/errors.md).
 */
import { NearcastError } from './errors.ts'

declare const ipv6Brand: unique symbol
/** 16 bytes, network order. Treat as immutable. */
export type Ipv6 = Uint8Array & { readonly [ipv6Brand]: true }

declare const networkBrand: unique symbol
/** 1 .. 2^32-1. */
export type NetworkId = number & { readonly [networkBrand]: true }

export const MAX_NETWORK_ID = 0xffff_ffff
/** Flycast numbers use the whole low 48 bits; 0 is the subnet-router anycast address and is never minted. */
export const MAX_FLYCAST_NUMBER = 0xffff_ffff_ffff
/** The address plan's first 16 bits. */
export const DEFAULT_PREFIX = 0xfdaa
/** 0 is never given out. */
export const MAX_PEER_NUMBER = 0xff_ffff_ffff
const FLYCAST_HOST = 1
const PEER_HOST = 0xffff_ffff
/** Within its /120: 0 is the subnet-router anycast address. */
const PEER_SELF = 2

function invalid(text: string, why: string): NearcastError {
  return new NearcastError('address.invalid', `"${text.slice(0, 64)}" is not an IPv6 address: ${why}.`, { side: 'client' })
}

/** @throws NearcastError address.invalid */
export function parseIpv6(text: string): Ipv6 {
  if (text.length < 2 || text.length > 39) throw invalid(text, 'it must have 2 to 39 characters')
  const halves = text.split('::')
  if (halves.length > 2) throw invalid(text, '"::" may stand once')
  const head = parseGroups(text, halves[0] ?? '')
  const tail = halves.length === 2 ? parseGroups(text, halves[1] ?? '') : []
  const missing = 8 - head.length - tail.length
  if (halves.length === 1 ? missing !== 0 : missing < 1) throw invalid(text, 'it must have eight groups')
  const groups = [...head, ...Array<number>(missing).fill(0), ...tail]
  const bytes = new Uint8Array(16)
  groups.forEach((group, index) => {
    bytes[index * 2] = group >> 8
    bytes[index * 2 + 1] = group & 0xff
  })
  return bytes as Ipv6
}

function parseGroups(text: string, part: string): number[] {
  if (part === '') return []
  return part.split(':').map((group) => {
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) throw invalid(text, 'each group is one to four hexadecimal digits')
    return Number.parseInt(group, 16)
  })
}

export function isIpv6Text(text: string): boolean {
  try {
    parseIpv6(text)
    return true
  } catch {
    return false
  }
}

/** RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups (the first of equals) as "::". */
export function formatIpv6(address: Ipv6): string {
  const groups = Array.from({ length: 8 }, (_, index) => group16(address, index))
  let start = -1
  let length = 1
  for (let index = 0; index < 8; index++) {
    let run = 0
    while (index + run < 8 && groups[index + run] === 0) run++
    if (run > length) {
      start = index
      length = run
    }
    index += run
  }
  const hex = groups.map((group) => group.toString(16))
  if (start < 0) return hex.join(':')
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}`
}

function group16(address: Ipv6, index: number): number {
  return ((address[index * 2] ?? 0) << 8) | (address[index * 2 + 1] ?? 0)
}

/** @throws NearcastError address.invalid unless `bytes` holds exactly 16. */
export function ipv6FromBytes(bytes: Uint8Array): Ipv6 {
  if (bytes.length !== 16) throw invalid(`${bytes.length} bytes`, 'it has 16 bytes')
  return Uint8Array.from(bytes) as Ipv6
}

/** A string key for maps: one character a group, equal exactly when the 16 bytes are. Written out: each connection asks for several. */
export function keyOf(address: Ipv6): string {
  return String.fromCharCode(
    group16(address, 0), group16(address, 1), group16(address, 2), group16(address, 3),
    group16(address, 4), group16(address, 5), group16(address, 6), group16(address, 7),
  )
}

export function equalIpv6(left: Ipv6, right: Ipv6): boolean {
  for (let index = 0; index < 16; index++) if (left[index] !== right[index]) return false
  return true
}

/** @throws NearcastError network.missing unless 1 <= id <= 2^32-1: a missing network is an error, never a default. */
export function asNetworkId(id: number): NetworkId {
  if (!Number.isInteger(id) || id < 1 || id > MAX_NETWORK_ID) {
    throw new NearcastError('network.missing', `A network id is a whole number from 1 to ${MAX_NETWORK_ID}; name one.`)
  }
  return id as NetworkId
}

/** The network that an address belongs to, or null when it is outside the plan (other prefix, or network 0). */
export function networkOf(address: Ipv6, prefix = DEFAULT_PREFIX): NetworkId | null {
  if (group16(address, 0) !== prefix) return null
  const id = group16(address, 1) * 0x1_0000 + group16(address, 2)
  return id === 0 ? null : (id as NetworkId)
}

function hostOf(address: Ipv6): number {
  return group16(address, 3) * 0x1_0000 + group16(address, 4)
}

/** Whether a client can have it, a machine or a WireGuard peer: a network, and neither of the host parts 0 and 1. */
export function isMachine(address: Ipv6, prefix = DEFAULT_PREFIX): boolean {
  return networkOf(address, prefix) !== null && hostOf(address) > FLYCAST_HOST
}

/** True for fdaa:<network>:0:1::/80 with a network and a number other than 0. */
export function isFlycast(address: Ipv6, prefix = DEFAULT_PREFIX): boolean {
  return networkOf(address, prefix) !== null && hostOf(address) === FLYCAST_HOST && flycastNumber(address) !== 0
}

/** The low 48 bits. */
export function flycastNumber(address: Ipv6): number {
  return (group16(address, 5) * 0x1_0000 + group16(address, 6)) * 0x1_0000 + group16(address, 7)
}

/** @throws NearcastError address.exhausted unless 1 <= number <= 2^48-1. */
export function flycastAddress(network: NetworkId, number: number, prefix = DEFAULT_PREFIX): Ipv6 {
  if (!Number.isInteger(number) || number < 1 || number > MAX_FLYCAST_NUMBER) {
    throw new NearcastError('address.exhausted', 'A network has 2^48-1 Flycast addresses; add another network.')
  }
  return compose(network, FLYCAST_HOST, Math.floor(number / 0x1_0000), number % 0x1_0000, prefix)
}

/** The address of a machine: `host` 2 .. 2^32-2, `machine` 0 .. 2^32-1, `free` 0 .. 65535. */
export function machineAddress(network: NetworkId, host: number, machine: number, free = 2, prefix = DEFAULT_PREFIX): Ipv6 {
  if (!Number.isInteger(host) || host < 2 || host >= PEER_HOST) {
    throw new NearcastError('address.invalid', 'The host part of a machine address is 2 to 2^32-2; 0, 1 and 2^32-1 are reserved.')
  }
  return compose(network, host, machine, free, prefix)
}

function compose(network: number, host: number, machine: number, free: number, prefix: number): Ipv6 {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, prefix)
  view.setUint32(2, network)
  view.setUint32(6, host)
  view.setUint32(10, machine)
  view.setUint16(14, free)
  return bytes as Ipv6
}

/** `fdaa:0:1::/48` */
export function networkPrefix(network: NetworkId, prefix = DEFAULT_PREFIX): string {
  return `${formatIpv6(compose(network, 0, 0, 0, prefix))}/48`
}

/** `fdaa:0:1:0:1::/80`, the only part of a network that may be local to a proxy's host. */
export function flycastPrefix(network: NetworkId, prefix = DEFAULT_PREFIX): string {
  return `${formatIpv6(compose(network, FLYCAST_HOST, 0, 0, prefix))}/80`
}

/** The address that a WireGuard peer is told to take, the third of its /120. @throws NearcastError address.exhausted unless 1 <= number <= 2^40-1. */
export function peerAddress(network: NetworkId, number: number, prefix = DEFAULT_PREFIX): Ipv6 {
  return peerPart(network, number, PEER_SELF, prefix)
}

/** `fdaa:0:1:ffff:ffff::100/120`: all that a WireGuard peer may send from. @throws NearcastError address.exhausted unless 1 <= number <= 2^40-1. */
export function peerPrefix(network: NetworkId, number: number, prefix = DEFAULT_PREFIX): string {
  return `${formatIpv6(peerPart(network, number, 0, prefix))}/120`
}

/** `fdaa:0:1:ffff:ffff::/80`: all WireGuard peers of a network. */
export function peersPrefix(network: NetworkId, prefix = DEFAULT_PREFIX): string {
  return `${formatIpv6(compose(network, PEER_HOST, 0, 0, prefix))}/80`
}

/** Whether a WireGuard peer, and no machine, has it. */
export function isPeer(address: Ipv6, prefix = DEFAULT_PREFIX): boolean {
  return networkOf(address, prefix) !== null && hostOf(address) === PEER_HOST
}

function peerPart(network: NetworkId, number: number, part: number, prefix: number): Ipv6 {
  if (!Number.isInteger(number) || number < 1 || number > MAX_PEER_NUMBER) {
    throw new NearcastError('address.exhausted', 'A network has 2^40-1 places for WireGuard peers; add another network.')
  }
  return compose(network, PEER_HOST, Math.floor(number / 0x100), (number % 0x100) * 0x100 + part, prefix)
}
