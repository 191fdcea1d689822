/** Databases: services of kind redis, placed on one agent per region: a primary and replicas. */
import { NearcastError } from '../../../lib/errors.ts'
import type { RedisEngine } from '../../../lib/redis-engines.ts'
import type { NetworkRecord, OrgRecord, Placement } from '../store/records.ts'
import type { StoreReader, StoreTransaction } from '../store/store.ts'
import type { Vault } from '../trust/credentials.ts'
import { newCredentials } from '../trust/credentials.ts'
import { newId } from '../trust/secret-token.ts'
import type { AddressPlan } from './addresses.ts'
import { checkQuota } from './quotas.ts'
import type { NewService } from './services.ts'
import { addService } from './services.ts'

export const REDIS_PORT = 6379

export interface DatabaseRequest {
  readonly name: string
  readonly region: string
  readonly replicas: readonly string[]
  readonly appendFsync: 'always' | 'everysec'
  readonly maxMemoryBytes: number
  readonly engine?: RedisEngine | undefined
  readonly live?: string | undefined
}

export interface DatabasePlan extends AddressPlan {
  readonly vault: Vault
  /** Agents that are there right now are preferred; one that is away is still better than a refusal. */
  readonly connected: (node: string) => boolean
}

/** @throws NearcastError name.taken, quota.databases, redis.region-unknown, redis.replica-duplicate */
export function createDatabase(transaction: StoreTransaction, org: OrgRecord, network: NetworkRecord, request: DatabaseRequest, plan: DatabasePlan): NewService {
  const present = transaction.list('services', org.id).filter((service) => service.kind === 'redis').length
  checkQuota('databases', present, plan.quotas)
  const regions = [request.region, ...request.replicas]
  if (new Set(regions).size !== regions.length) {
    throw new NearcastError('redis.replica-duplicate', 'Name each region once: the primary region holds a copy already.', { side: 'client' })
  }
  const placements = regions.map((region, index): Placement => ({ node: chooseNode(transaction, region, plan), role: index === 0 ? 'primary' : 'replica' }))
  const id = newId('db')
  return addService(transaction, network, plan, {
    id,
    org: org.id,
    name: request.name,
    kind: 'redis',
    port: REDIS_PORT,
    placements,
    ...(request.live !== undefined && { live: request.live }),
    state: 'provisioning',
    createdAt: plan.clock().toISOString(),
    redis: {
      region: request.region,
      replicas: request.replicas,
      maxMemoryBytes: request.maxMemoryBytes,
      appendFsync: request.appendFsync,
      ...(request.engine !== undefined && { engine: request.engine }),
      sealed: plan.vault.seal(id, newCredentials()),
    },
  })
}

/** The agent of the region that is connected and holds the fewest services. */
function chooseNode(store: StoreReader, region: string, plan: DatabasePlan): string {
  const agents = store.list('nodes').filter((node) => node.hop === 'signed-v2' && !node.revoked)
  const ranked = agents
    .filter((node) => node.region === region)
    .map((node) => ({ id: node.id, away: plan.connected(node.id) ? 0 : 1, services: store.linkedTo('services', 'nodes', node.id).length }))
    .toSorted((left, right) => left.away - right.away || left.services - right.services || (left.id < right.id ? -1 : 1))
  const best = ranked[0]
  if (best !== undefined) return best.id
  const regions = [...new Set(agents.map((node) => node.region))].toSorted()
  throw new NearcastError('redis.region-unknown', `No data node in region "${region}"; there are: ${regions.join(', ') || 'none yet'}.`, { side: 'client' })
}
