/** How the registry's objects look in JSON answers. */
import type { z } from 'zod'
import { asNetworkId, networkPrefix } from '../../../lib/address.ts'
import { NearcastError } from '../../../lib/errors.ts'
import type { Registry } from '../registry.ts'
import { addressesUnder } from '../objects/grants.ts'
import { addressesOf } from '../objects/services.ts'
import { scopesOf } from '../objects/tokens.ts'
import type { AddressRecord, BackupRecord, DatabaseUser, GrantRecord, NetworkRecord, NodeRecord, OrgRecord, ServiceRecord, TokenRecord } from '../store/records.ts'
import type { addressAnswer, grantAnswer, networkAnswer, nodeAnswer, orgAnswer, serviceAnswer, tokenAnswer } from './answers.ts'
import type { backupAnswer, redisAnswer, redisUserAnswer } from './redis-answers.ts'

export function networkDocument(registry: Registry, network: NetworkRecord): z.infer<typeof networkAnswer> {
  return { id: network.id, name: network.name, prefix: networkPrefix(asNetworkId(network.id), registry.prefix), ...(network.limits && { limits: network.limits }), createdAt: network.createdAt }
}

export function orgDocument(registry: Registry, org: OrgRecord): z.infer<typeof orgAnswer> {
  const networks = registry.store.list('networks', org.id).map((network) => networkDocument(registry, network))
  return { id: org.id, name: org.name, createdAt: org.createdAt, networks }
}

export function addressDocument(registry: Registry, address: AddressRecord): z.infer<typeof addressAnswer> {
  const service = registry.store.get('services', address.service)
  return {
    address: address.address,
    network: address.network,
    service: service?.name ?? address.service,
    port: service?.port ?? null,
    generation: address.generation,
    tls: address.tls ?? { policy: 'off' },
    ...(address.limits && { limits: address.limits }),
    ...(address.granted && { granted: { ...address.granted, owner: address.org } }),
    state: address.active ? 'active' : 'provisioning',
    createdAt: address.createdAt,
  }
}

export function grantDocument(registry: Registry, grant: GrantRecord, showsGrantee: boolean): z.infer<typeof grantAnswer> {
  const { store } = registry
  const { id, network, maxAddresses, createdAt } = grant
  return {
    id,
    owner: store.get('orgs', grant.org)?.name ?? grant.org,
    ownerId: grant.org,
    service: store.get('services', grant.service)?.name ?? grant.service,
    ...(showsGrantee && { grantee: store.get('orgs', grant.grantee)?.name ?? grant.grantee }),
    granteeId: grant.grantee,
    network,
    maxAddresses,
    addresses: addressesUnder(store, id).map(({ address }) => address),
    createdAt,
  }
}

/** `showsBackend`: to operators. */
export function serviceDocument(registry: Registry, service: ServiceRecord, showsBackend = false): z.infer<typeof serviceAnswer> {
  // Granted ones are of use on another org's network: /grants lists them.
  const addresses = addressesOf(registry.store, service.id).filter((address) => address.granted === undefined)
  const first = addresses[0]
  return {
    id: service.id,
    org: service.org,
    name: service.name,
    kind: service.kind,
    port: service.port,
    hostname: `${service.name}.flycast`,
    ...(first !== undefined && { network: first.network }),
    address: first?.address ?? '',
    addresses: addresses.map((address) => address.address),
    placements: service.placements,
    nodes: service.placements.map((placement) => placement.node),
    ...(showsBackend && service.backend !== undefined && { backend: service.backend.target, proxyHeader: service.backend.proxyHeader }),
    ...(service.live !== undefined && { live: service.live }),
    ...(service.shadow && { shadow: service.shadow }),
    state: service.state,
    createdAt: service.createdAt,
  }
}

/** With the password, for `showsSecrets`: it is the owner's, and the owner may ask for it again. */
export function redisDocument(registry: Registry, service: ServiceRecord, showsSecrets: boolean): z.infer<typeof redisAnswer> {
  const { redis } = service
  if (redis === undefined) throw new NearcastError('internal', `${service.id} is no database.`)
  const base = serviceDocument(registry, service)
  const { hostname, address, port } = base
  const { password } = registry.vault.open(service.id, redis.sealed)
  const tls = tlsPolicyOf(registry, service)
  const place = `default:${password}@${hostname}:${port}`
  const url = `${schemeOf(tls)}://${place}`
  return {
    ...base,
    kind: 'redis',
    region: redis.region,
    replicas: redis.replicas,
    appendFsync: redis.appendFsync,
    maxMemoryBytes: redis.maxMemoryBytes,
    ...(redis.allowedSources !== undefined && { allowedSources: redis.allowedSources }),
    ...(redis.parkAfterMinutes !== undefined && { parkAfterMinutes: redis.parkAfterMinutes }),
    ...(redis.engine !== undefined && { engine: redis.engine }),
    ...(redis.plan !== undefined && { plan: redis.plan }),
    ...(redis.limits !== undefined && { limits: redis.limits }),
    ...(redis.eviction && { eviction: redis.eviction }),
    ...(redis.autoUpgrade && { autoUpgrade: redis.autoUpgrade }),
    ...(redis.dailyBackups !== undefined && { dailyBackups: redis.dailyBackups }),
    ...(redis.users !== undefined && redis.users.length > 0 && { users: redis.users.map((user) => user.name) }),
    tls,
    username: 'default',
    ...(showsSecrets && { password, url }),
    env: {
      ...(showsSecrets && { REDIS_URL: url }),
      ...(showsSecrets && tls === 'auto' && { REDIS_TLS_URL: `rediss://${place}` }),
      REDIS_HOST: hostname,
      REDIS_PORT: String(port),
      REDIS_USERNAME: 'default',
      ...(showsSecrets && { REDIS_PASSWORD: password }),
      REDIS_ADDRESS: address,
    },
  }
}

export function redisUserDocument(registry: Registry, service: ServiceRecord, { name, rules, createdAt }: DatabaseUser, showsSecrets: boolean): z.infer<typeof redisUserAnswer> {
  const password = registry.vault.open(service.id, service.redis?.sealed ?? '').users[name] ?? ''
  const url = `${schemeOf(tlsPolicyOf(registry, service))}://${name}:${password}@${service.name}.flycast:${service.port}`
  return { name, rules: rules.join(' '), ...(showsSecrets && { password, url }), createdAt }
}

export function backupDocument({ store }: Registry, { id, service, kind, state, error, bytes, sha256, store: bucket, createdAt }: BackupRecord): z.infer<typeof backupAnswer> {
  return { id, database: store.get('services', service)?.name ?? service, kind, state, ...(error !== undefined && { error }), bytes, sha256, stored: bucket === undefined ? 'node' : 'bucket', createdAt }
}

/** Of its own first address. */
function tlsPolicyOf({ store }: Registry, { id }: ServiceRecord): z.infer<typeof redisAnswer>['tls'] {
  return addressesOf(store, id).find(({ granted }) => granted === undefined)?.tls?.policy ?? 'off'
}

function schemeOf(tls: z.infer<typeof redisAnswer>['tls']): string {
  return tls === 'terminate' ? 'rediss' : 'redis'
}

export function nodeDocument(registry: Registry, node: NodeRecord): z.infer<typeof nodeAnswer> {
  const { id, region, host, hop, endpoint, socket, createdAt } = node
  const agent = hop === 'signed-v2' ? { connected: registry.feed.isConnected(`agent/${id}`), revoked: node.revoked } : {}
  const services = registry.store.linkedTo('services', 'nodes', id).length
  return { id, region, host, hop, endpoint, ...(socket !== undefined && { socket }), ...agent, draining: node.draining, services, createdAt }
}

export function tokenDocument(token: TokenRecord): z.infer<typeof tokenAnswer> {
  const { id, name, role, org, expiresAt, createdAt } = token
  return { id, name, role, ...(org !== '' && { org }), scopes: scopesOf(token), ...(expiresAt !== undefined && { expiresAt }), createdAt }
}
