/** Organizations: tenants. Each is born with a network of its own; an org without a network can't exist. */
import { NearcastError } from '../../../lib/errors.ts'
import type { NetworkRecord, OrgRecord } from '../store/records.ts'
import type { StoreReader, StoreTransaction } from '../store/store.ts'
import { newId } from '../trust/secret-token.ts'
import type { Clock } from './clock.ts'
import { addNetwork } from './networks.ts'

/** @throws NearcastError name.taken, network.exhausted */
export function createOrg(transaction: StoreTransaction, name: string, clock: Clock): { org: OrgRecord; network: NetworkRecord } {
  if (transaction.find('orgs', '', name) !== null) throw new NearcastError('name.taken', `There is an organization "${name}" already.`, { side: 'client' })
  const id = newId('org')
  const draft: OrgRecord = { id, name, defaultNetwork: 0, createdAt: clock().toISOString() }
  transaction.put('orgs', draft)
  const network = addNetwork(transaction, id, 'default', clock)
  const org = { ...draft, defaultNetwork: network.id }
  transaction.put('orgs', org)
  return { org, network }
}

/** By id or name. @throws NearcastError org.not-found */
export function findOrg(store: StoreReader, idOrName: string): OrgRecord {
  const org = store.get('orgs', idOrName) ?? store.find('orgs', '', idOrName)
  if (org === null) throw noOrg(idOrName)
  return org
}

/** Also for what another's token may not see: word for word, for any difference would tell. */
export function noOrg(idOrName: string): NearcastError {
  return new NearcastError('org.not-found', `There is no organization "${idOrName.slice(0, 64)}".`, { side: 'client' })
}
