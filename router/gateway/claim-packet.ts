/**
 * What gateways tell each other (whereabouts.ts), as IPv6 packets between addresses of their own inside the tunnel, with the
 * protocol number for what is a network's own business (61, IANA "any host internal protocol"):
 *
 *   IPv6 header | version 1 | kind: 1 claims, 2 heard | entries: public key 32, number 6
 *
 * Pure.
 */
import { createHash } from 'node:crypto'
import type { Ipv6 } from '../../lib/address.ts'
import { decodeKey, encodeKey } from '../../lib/wireguard/keys.ts'
import type { Claim } from './whereabouts.ts'

export type ClaimKind = 'claims' | 'heard'

const HEADER_BYTES = 40
const HOST_INTERNAL = 61
const VERSION = 1
const KINDS: readonly ClaimKind[] = ['claims', 'heard']
const HEAD_BYTES = HEADER_BYTES + 2
const KEY_BYTES = 32
const ENTRY_BYTES = KEY_BYTES + 6
/** No way is narrower than 1280. */
const ENTRIES = Math.floor((1280 - HEAD_BYTES) / ENTRY_BYTES)

/** A gateway's own address inside the tunnel: of the infrastructure (network 0 of the plan), by its public key; no peer can send from it. */
export function gatewayAddress(publicKey: string, prefix: number): Ipv6 {
  const bytes = new Uint8Array(16)
  bytes.set([prefix >> 8, prefix & 0xff])
  bytes.set(createHash('sha256').update(publicKey).digest().subarray(0, 10), 6)
  return bytes as Ipv6
}

/** As many packets as it takes. */
export function* encodeClaims(kind: ClaimKind, claims: readonly Claim[], from: Ipv6, to: Ipv6): Generator<Uint8Array> {
  for (let start = 0; start < claims.length; start += ENTRIES) {
    const some = claims.slice(start, start + ENTRIES)
    const packet = new Uint8Array(HEAD_BYTES + ENTRY_BYTES * some.length)
    const view = new DataView(packet.buffer)
    view.setUint32(0, 0x6000_0000)
    view.setUint16(4, packet.length - HEADER_BYTES)
    packet.set([HOST_INTERNAL, 1], 6)
    packet.set(from, 8)
    packet.set(to, 24)
    packet.set([VERSION, 1 + KINDS.indexOf(kind)], HEADER_BYTES)
    for (const [index, { publicKey, number }] of some.entries()) {
      const at = HEAD_BYTES + index * ENTRY_BYTES
      packet.set(decodeKey(publicKey), at)
      view.setUint16(at + KEY_BYTES, Math.floor(number / 2 ** 32))
      view.setUint32(at + KEY_BYTES + 2, number % 2 ** 32)
    }
    yield packet
  }
}

/** @returns null for what is none, or of another version */
export function decodeClaims(packet: Uint8Array): { readonly kind: ClaimKind; readonly claims: readonly Claim[] } | null {
  const kind = KINDS[(packet[HEADER_BYTES + 1] ?? 0) - 1]
  const entries = (packet.length - HEAD_BYTES) / ENTRY_BYTES
  if (packet[6] !== HOST_INTERNAL || packet[HEADER_BYTES] !== VERSION || kind === undefined || !Number.isInteger(entries) || entries < 1) return null
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength)
  const claims = Array.from({ length: entries }, (_, index): Claim => {
    const at = HEAD_BYTES + index * ENTRY_BYTES
    return { publicKey: encodeKey(packet.subarray(at, at + KEY_BYTES)), number: view.getUint16(at + KEY_BYTES) * 2 ** 32 + view.getUint32(at + KEY_BYTES + 2) }
  })
  return { kind, claims }
}
