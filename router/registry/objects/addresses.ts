/**
 * Flycast addresses: the next number of a network, the next generation of its map. Both counters only rise, also over a
 * delete and over a restore: an address never has a second owner, and were its bits ever given again, the generation
 * would tell the owners apart.
 */
import { asNetworkId, flycastAddress, formatIpv6 } from '../../../lib/address.ts'
import { NearcastError } from '../../../lib/errors.ts'
import type { AddressRecord, GrantRecord, NetworkRecord, ServiceRecord } from '../store/records.ts'
import type { StoreReader, StoreTransaction } from '../store/store.ts'
import type { Clock } from './clock.ts'
import type { Quotas } from './quotas.ts'
import { checkQuota } from './quotas.ts'

export interface AddressPlan {
  /** The first 16 bits: 0xfdaa. */
  readonly prefix: number
  readonly quotas: Quotas
  readonly clock: Clock
}

/**
 * Inactive: proxies learn it with `activate`. On another org's network only with the `grant` that allows it.
 * @throws NearcastError quota.addresses, address.exhausted
 */
export function mintAddress(
  transaction: StoreTransaction,
  service: ServiceRecord,
  network: NetworkRecord,
  plan: AddressPlan,
  grant: GrantRecord | null = null,
): AddressRecord {
  const allowed = grant === null ? network.org === service.org : grant.org === service.org && grant.service === service.id && grant.grantee === network.org && (grant.network ?? network.id) === network.id
  if (!allowed) throw new NearcastError('internal', `An address of ${service.id} was to be minted on network ${network.id}, which is not its org's, without a grant.`)
  checkQuota('addresses', transaction.list('addresses', service.org).length, plan.quotas)
  const number = transaction.next(`flycast/${network.id}`)
  const address: AddressRecord = {
    address: formatIpv6(flycastAddress(asNetworkId(network.id), number, plan.prefix)),
    org: service.org,
    network: network.id,
    generation: transaction.next(`generation/${network.id}`),
    service: service.id,
    nodes: service.placements.map((placement) => placement.node),
    active: false,
    tls: null,
    ...(grant !== null && { granted: { grant: grant.id, grantee: grant.grantee } }),
    createdAt: plan.clock().toISOString(),
  }
  transaction.put('addresses', address)
  return address
}

/** From here on proxies know it. */
export function activateAddress(transaction: StoreTransaction, address: string): void {
  const record = transaction.get('addresses', address)
  if (record !== null && !record.active) transaction.put('addresses', { ...record, active: true })
}

/** Of services of the org, and those granted to it. */
export function addressesOfOrg(store: StoreReader, org: string): AddressRecord[] {
  // Only granted addresses link to an org: their grantee.
  return [...store.list('addresses', org), ...store.linkedTo('addresses', 'orgs', org)]
}

/** `owner`: not the grantee's either. @throws NearcastError address.not-found, also for another org's */
export function findAddress(store: StoreReader, org: string, address: string, who: 'owner' | 'either' = 'either'): AddressRecord {
  const record = store.get('addresses', address)
  if (record === null || (record.org !== org && (who === 'owner' || record.granted?.grantee !== org))) {
    throw new NearcastError('address.not-found', `The organization has no address ${address.slice(0, 64)}.`, { side: 'client' })
  }
  return record
}
