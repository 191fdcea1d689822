/**
 * Hosts of the backbone. What a host says of itself when it joins is what every other host will send through it, so it is
 * looked at closely: addresses that tenants or other hosts have are nobody's to take.
 */
import { formatIpv6, parseIpv6 } from '../../../lib/address.ts'
import type { Ipv6 } from '../../../lib/address.ts'
import { NearcastError } from '../../../lib/errors.ts'
import type { BackbonePlace } from '../../../lib/identity.ts'
import type { BackboneRecord, DialerRecord } from '../store/records.ts'
import type { StoreReader, StoreTransaction } from '../store/store.ts'

/** `prefix`: the first 16 bits of the tenants' plan. @throws NearcastError backbone.address-taken, address.invalid, wireguard.key-taken */
export function putBackboneHost(transaction: StoreTransaction, member: DialerRecord, place: BackbonePlace, prefix: number): void {
  const id = member.id.slice('backbone/'.length)
  const addresses = [...new Set(place.addresses.map((text) => formatIpv6(hostAddress(text, prefix))))]
  for (const other of transaction.list('backbone')) {
    if (other.id === id) continue
    const shared = addresses.find((address) => other.addresses.includes(address))
    if (shared !== undefined) throw new NearcastError('backbone.address-taken', `${shared} is an address of ${other.id} already; each belongs to one host.`, { side: 'client' })
    if (other.keys.includes(place.publicKey)) throw new NearcastError('wireguard.key-taken', 'That public key belongs to another host; let each make its own.', { side: 'client' })
  }
  transaction.put('backbone', {
    id,
    region: member.region,
    host: member.host,
    keys: [place.publicKey],
    keysRevision: transaction.nextRevision,
    endpoint: place.endpoint,
    addresses,
    createdAt: member.createdAt,
  })
}

/** Its certificate counts no more, and no host sends through it or takes from it. @throws NearcastError backbone.not-found */
export function removeBackboneHost(transaction: StoreTransaction, id: string): void {
  findBackboneHost(transaction, id)
  transaction.remove('dialers', `backbone/${id}`)
  transaction.remove('backbone', id)
}

/** @throws NearcastError backbone.not-found */
export function findBackboneHost(store: StoreReader, id: string): BackboneRecord {
  const host = store.get('backbone', id)
  if (host === null) throw new NearcastError('backbone.not-found', `There is no host "${id.slice(0, 64)}" on the backbone.`, { side: 'client' })
  return host
}

function hostAddress(text: string, prefix: number): Ipv6 {
  const address = parseIpv6(text)
  const [first = 0, second = 0] = address
  const isPlan = ((first << 8) | second) === prefix
  // Loopback, unspecified and mapped ones; link-local ones, which mean another host on each link; groups.
  const isHosts = address.subarray(0, 8).some((byte) => byte !== 0) && !(first === 0xfe && (second & 0xc0) === 0x80) && first !== 0xff
  if (isHosts && !isPlan) return address
  throw new NearcastError('address.invalid', `${text.slice(0, 64)} can't be the address of a host on the backbone: ${isPlan ? "it is of the tenants' plan" : 'others can have it, too'}.`, { side: 'client' })
}
