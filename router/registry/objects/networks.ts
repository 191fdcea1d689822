/** Networks: a /48 each, numbered by a counter that never goes back. */
import { MAX_NETWORK_ID } from '../../../lib/address.ts'
import { NearcastError } from '../../../lib/errors.ts'
import type { NetworkRecord, OrgRecord } from '../store/records.ts'
import type { StoreReader, StoreTransaction } from '../store/store.ts'
import type { Clock } from './clock.ts'
import type { Quotas } from './quotas.ts'
import { checkQuota } from './quotas.ts'

/** @throws NearcastError name.taken, quota.networks, network.exhausted */
export function createNetwork(transaction: StoreTransaction, org: OrgRecord, name: string, quotas: Quotas, clock: Clock): NetworkRecord {
  if (transaction.find('networks', org.id, name) !== null) {
    throw new NearcastError('name.taken', `${org.name} has a network "${name}" already.`, { side: 'client' })
  }
  checkQuota('networks', transaction.list('networks', org.id).length, quotas)
  return addNetwork(transaction, org.id, name, clock)
}

export function addNetwork(transaction: StoreTransaction, org: string, name: string, clock: Clock): NetworkRecord {
  const id = transaction.next('network')
  if (id > MAX_NETWORK_ID) throw new NearcastError('network.exhausted', 'All 2^32-1 network ids have been given out.')
  const network: NetworkRecord = { id, org, name, createdAt: clock().toISOString() }
  transaction.put('networks', network)
  return network
}

/**
 * By id or name. Without one: the org's only network; with several one must be named, for nothing should end up on a
 * network by accident. @throws NearcastError network.not-found, network.missing
 */
export function findNetwork(store: StoreReader, org: OrgRecord, idOrName: string | undefined): NetworkRecord {
  if (idOrName === undefined && store.list('networks', org.id).length > 1) {
    throw new NearcastError('network.missing', 'The organization has several networks; name one.', { side: 'client' })
  }
  const wanted = idOrName ?? String(org.defaultNetwork)
  const byId = /^\d+$/.test(wanted) ? store.get('networks', wanted) : null
  const network = byId?.org === org.id ? byId : store.find('networks', org.id, wanted)
  if (network === null) throw new NearcastError('network.not-found', `The organization has no network "${wanted.slice(0, 64)}".`, { side: 'client' })
  return network
}
