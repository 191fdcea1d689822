/**
 * Services: what addresses point at. A service is written as `provisioning` first, seen by its agents alone; `activate`
 * shows it and its addresses to the proxies. Its addresses carry who may see them, so every change of placements or state
 * goes through here and changes them in the same transaction.
 */
import { parseBackend } from '../../../lib/backend.ts'
import type { ProxyHeaderVersion } from '../../../lib/backend.ts'
import { NearcastError } from '../../../lib/errors.ts'
import type { AddressRecord, NetworkRecord, OrgRecord, Placement, ServiceRecord } from '../store/records.ts'
import type { StoreReader, StoreTransaction } from '../store/store.ts'
import { newId } from '../trust/secret-token.ts'
import type { AddressPlan } from './addresses.ts'
import { activateAddress, mintAddress } from './addresses.ts'
import { refreshPeers } from './peers.ts'
import { checkQuota } from './quotas.ts'

export interface NewService {
  readonly service: ServiceRecord
  readonly address: AddressRecord
}

export interface ServiceRequest {
  readonly name: string
  readonly kind: 'tcp' | 'postgres'
  readonly port: number
  readonly nodes: readonly string[]
  /** Where the agents among the nodes hand connections on to, each on its own host; foreign nodes are dialled themselves. */
  readonly backend?: string | undefined
  readonly proxyHeader?: ProxyHeaderVersion | undefined
  readonly live?: string | undefined
}

/** @throws NearcastError name.taken, quota.services, node.not-found, service.backend-missing, -unused, -invalid */
export function createService(transaction: StoreTransaction, org: OrgRecord, network: NetworkRecord, request: ServiceRequest, plan: AddressPlan): NewService {
  const present = transaction.list('services', org.id).filter((service) => service.kind !== 'redis').length
  checkQuota('services', present, plan.quotas)
  const { backend, proxyHeader } = request
  const placements = [...new Set(request.nodes)].map((id): Placement => {
    const node = transaction.get('nodes', id)
    if (node === null) throw new NearcastError('node.not-found', `There is no node "${id}"; "nearcast fleet nodes list" (GET /v1/nodes) lists them.`, { side: 'client' })
    if (node.hop === 'signed-v2' && backend === undefined) {
      throw new NearcastError('service.backend-missing', `${id} is an agent: name the backend that it hands connections on to, or nodes with hop v1 or v2.`, { side: 'client' })
    }
    return { node: id, role: 'peer' }
  })
  if (backend !== undefined && !placements.some(({ node }) => transaction.get('nodes', node)?.hop === 'signed-v2')) {
    throw new NearcastError('service.backend-unused', 'None of the nodes is an agent, which alone hands connections on to a backend; leave it out.', { side: 'client' })
  }
  if (backend === undefined && proxyHeader !== undefined) {
    throw new NearcastError('service.backend-missing', 'proxyHeader says what a backend gets; name the backend.', { side: 'client' })
  }
  if (backend !== undefined) parseBackend(backend)
  return addService(transaction, network, plan, {
    id: newId('srv'),
    org: org.id,
    name: request.name,
    kind: request.kind,
    port: request.port,
    placements,
    ...(backend !== undefined && { backend: { target: backend, proxyHeader: proxyHeader ?? 'none' } }),
    ...(request.live !== undefined && { live: request.live }),
    state: 'provisioning',
    createdAt: plan.clock().toISOString(),
  })
}

/** Names are unique in an org over all kinds: they are host names on its networks. */
export function addService(transaction: StoreTransaction, network: NetworkRecord, plan: AddressPlan, service: ServiceRecord): NewService {
  if (transaction.find('services', service.org, service.name) !== null) {
    throw new NearcastError('name.taken', `There is a service or database "${service.name}" already.`, { side: 'client' })
  }
  transaction.put('services', service)
  refreshPeers(transaction, nodesOf(service))
  return { service, address: mintAddress(transaction, service, network, plan) }
}

export function activateService(transaction: StoreTransaction, id: string): void {
  const service = transaction.get('services', id)
  if (service === null) return
  if (service.state !== 'active') transaction.put('services', { ...service, state: 'active' })
  for (const address of addressesOf(transaction, id)) activateAddress(transaction, address.address)
}

/** What becomes of live connections; null: the usual; undefined: as before. */
export function setLive(transaction: StoreTransaction, id: string, live: string | null | undefined): void {
  const record = transaction.get('services', id)
  if (record === null || live === undefined) return
  const { live: _before, ...service } = record
  transaction.put('services', { ...service, ...(live !== null && { live }) })
}

/** Whether isolation is only judged and logged; undefined: as before. */
export function setShadow(transaction: StoreTransaction, id: string, shadow: boolean | undefined): void {
  const record = transaction.get('services', id)
  if (record === null || shadow === undefined) return
  const { shadow: _before, ...service } = record
  transaction.put('services', { ...service, ...(shadow && { shadow }) })
}

/** Its addresses and grants go with it, for ever. */
export function removeService(transaction: StoreTransaction, service: ServiceRecord): void {
  for (const address of addressesOf(transaction, service.id)) transaction.remove('addresses', address.address)
  for (const grant of transaction.linkedTo('grants', 'services', service.id)) transaction.remove('grants', grant.id)
  // Their keys go with them: what lies on a node opens no more.
  for (const backup of transaction.linkedTo('backups', 'services', service.id)) transaction.remove('backups', backup.id)
  transaction.remove('services', service.id)
  refreshPeers(transaction, nodesOf(service))
}

/** By id or name, in one org; `other`: no database. @throws NearcastError redis.not-found, service.not-found */
export function findService(store: StoreReader, org: string, idOrName: string, kind?: 'redis' | 'other'): ServiceRecord {
  const byId = store.get('services', idOrName)
  const service = byId?.org === org ? byId : store.find('services', org, idOrName)
  if (service === null || (kind !== undefined && (service.kind === 'redis') !== (kind === 'redis'))) {
    const [code, noun] = kind === 'redis' ? (['redis.not-found', 'database'] as const) : (['service.not-found', 'service'] as const)
    throw new NearcastError(code, `The organization has no ${noun} "${idOrName.slice(0, 64)}".`, { side: 'client' })
  }
  return service
}

/** On whatever network. */
export function addressesOf(store: StoreReader, service: string): AddressRecord[] {
  return store.linkedTo('addresses', 'services', service)
}

function nodesOf(service: ServiceRecord): string[] {
  return service.placements.map((placement) => placement.node)
}
