/**
 * Grants: the only way in which an address on one organization's network may lead to another organization's service. The
 * owner of the service gives one; either side mints addresses under it, and either side ends it. The isolation rule knows
 * nothing of grants: a granted address stands on the grantee's own network.
 *
 * Its addresses count for the owner's quota, up to the grant's own maximum: neither side can use up what is the other's.
 */
import { NearcastError } from '../../../lib/errors.ts'
import type { AddressRecord, GrantRecord, NetworkRecord, OrgRecord, ServiceRecord } from '../store/records.ts'
import type { StoreReader, StoreTransaction } from '../store/store.ts'
import { newId } from '../trust/secret-token.ts'
import type { AddressPlan } from './addresses.ts'
import { mintAddress } from './addresses.ts'
import { findNetwork } from './networks.ts'
import { findOrg } from './orgs.ts'
import { checkQuota } from './quotas.ts'
import { findService } from './services.ts'

export interface GrantRequest {
  readonly service: string
  readonly grantee: string
  readonly network?: string | undefined
  readonly maxAddresses: number
}

/**
 * `named`: whether the grantee may be given by name. Members give its id: names of others aren't theirs to try out.
 * @throws NearcastError service.not-found, org.not-found, network.not-found, grant.self, name.taken, quota.grants
 */
export function createGrant(transaction: StoreTransaction, org: OrgRecord, request: GrantRequest, named: boolean, plan: AddressPlan): GrantRecord {
  const service = findService(transaction, org.id, request.service)
  const grantee = named ? findOrg(transaction, request.grantee) : transaction.get('orgs', request.grantee)
  if (grantee === null) {
    throw new NearcastError('org.not-found', `There is no organization with the id "${request.grantee.slice(0, 64)}"; ask the grantee for its id.`, { side: 'client' })
  }
  if (grantee.id === org.id) throw new NearcastError('grant.self', 'An organization needs no grant for its own service; add an address.', { side: 'client' })
  const network = request.network === undefined ? null : findGranteesNetwork(transaction, grantee, request.network, named).id
  if (transaction.linkedTo('grants', 'services', service.id).some((each) => each.grantee === grantee.id && each.network === network)) {
    throw new NearcastError('name.taken', 'There is such a grant already; revoke it first.', { side: 'client' })
  }
  checkQuota('grants', transaction.list('grants', org.id).length, plan.quotas)
  const grant: GrantRecord = {
    id: newId('grt'),
    org: org.id,
    service: service.id,
    grantee: grantee.id,
    network,
    maxAddresses: request.maxAddresses,
    createdAt: plan.clock().toISOString(),
  }
  transaction.put('grants', grant)
  return grant
}

/** Given by an org, then received. */
export function grantsOf(store: StoreReader, org: string): GrantRecord[] {
  // The links of a grant lead to both sides.
  const both = store.linkedTo('grants', 'orgs', org)
  return [...both.filter((grant) => grant.org === org), ...both.filter((grant) => grant.org !== org)]
}

/** Of either side; to others it looks unknown. @throws NearcastError grant.not-found */
export function findGrant(store: StoreReader, org: string, id: string): GrantRecord {
  const grant = store.get('grants', id)
  if (grant !== null && (grant.org === org || grant.grantee === org)) return grant
  throw new NearcastError('grant.not-found', `The organization has neither given nor received a grant "${id.slice(0, 64)}".`, { side: 'client' })
}

/** Of `owner/service` to this org: names or ids. Several (for one network each): the one that fits `network`. @throws NearcastError grant.not-found */
export function findReceivedGrant(store: StoreReader, grantee: OrgRecord, reference: string, network: NetworkRecord | null): GrantRecord {
  const [owner = '', service = ''] = reference.split('/')
  const grants = grantsOf(store, grantee.id).filter((grant) => {
    if (grant.grantee !== grantee.id) return false
    const isOwner = grant.org === owner || store.get('orgs', grant.org)?.name === owner
    return isOwner && (grant.service === service || store.get('services', grant.service)?.name === service)
  })
  const grant = grants.find((each) => each.network !== null && each.network === network?.id) ?? grants.find((each) => each.network === null || network === null)
  if (grant !== undefined) return grant
  throw new NearcastError('grant.not-found', `${grantee.name} has received no grant for "${reference.slice(0, 128)}" on that network; ask its owner for one.`, { side: 'client' })
}

/**
 * On a network of the grantee; without one: the grant's, else the only one. `named`: as in `createGrant`.
 * @throws NearcastError network.missing, network.not-found, grant.network, grant.full
 */
export function mintGranted(transaction: StoreTransaction, grant: GrantRecord, reference: string | undefined, named: boolean, plan: AddressPlan): AddressRecord {
  const grantee = findOrg(transaction, grant.grantee)
  const wanted = reference ?? (grant.network === null ? undefined : String(grant.network))
  const network = findGranteesNetwork(transaction, grantee, wanted, named)
  if (grant.network !== null && grant.network !== network.id) {
    throw new NearcastError('grant.network', `The grant is for network ${grant.network} only.`, { side: 'client' })
  }
  const present = addressesUnder(transaction, grant.id).length
  if (present >= grant.maxAddresses) {
    throw new NearcastError('grant.full', `There are ${present} addresses under the grant, as many as it allows; remove one, or ask the owner for another grant.`, { side: 'client' })
  }
  return mintAddress(transaction, serviceOf(transaction, grant), network, plan, grant)
}

export function addressesUnder(store: StoreReader, grant: string): AddressRecord[] {
  return store.linkedTo('addresses', 'grants', grant)
}

/** Its addresses go with it, for ever. */
export function revokeGrant(transaction: StoreTransaction, grant: GrantRecord): void {
  for (const { address } of addressesUnder(transaction, grant.id)) transaction.remove('addresses', address)
  transaction.remove('grants', grant.id)
}

function findGranteesNetwork(store: StoreReader, grantee: OrgRecord, reference: string | undefined, named: boolean): NetworkRecord {
  if (named || reference === undefined || /^\d+$/.test(reference)) return findNetwork(store, grantee, reference)
  throw new NearcastError('network.not-found', 'Give the id of a network of the grantee, a number; its names are not yours to try out.', { side: 'client' })
}

function serviceOf(store: StoreReader, grant: GrantRecord): ServiceRecord {
  return findService(store, grant.org, grant.service)
}
