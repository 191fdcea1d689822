/**
 * Is this store sound? SQLite's own checks, links, the audit's chain, numbers in use below their counters, counters at or
 * above the high-water file, and credentials that open. Reads only.
 */
import { DatabaseSync } from 'node:sqlite'
import { flycastNumber, parseIpv6 } from '../../../lib/address.ts'
import { asNearcastError } from '../../../lib/errors.ts'
import type { Vault } from '../trust/credentials.ts'
import type { AddressRecord, GrantRecord, NetworkRecord, ServiceRecord, WireguardRecord } from './records.ts'
import { APPLICATION_ID, SCHEMA_VERSION } from './schema.ts'
import { auditHash } from './sqlite-store.ts'

type Row = Record<string, string | number | null>

/** @returns one sentence per fault; empty when the store is sound. */
export function verifyStore(file: string, vault: Vault | null): string[] {
  let database: DatabaseSync
  try {
    database = new DatabaseSync(file, { readOnly: true, timeout: 5000 })
  } catch (error) {
    return [`can't be opened: ${asNearcastError(error).message}`]
  }
  try {
    const all = (sql: string): Row[] => database.prepare(sql).all() as Row[]
    return [...format(all), ...integrity(all), ...auditChain(all), ...numbers(all), ...isolation(all), ...credentials(all, vault)]
  } catch (error) {
    return [`can't be read: ${asNearcastError(error).message}`]
  } finally {
    database.close()
  }
}

type Query = (sql: string) => Row[]

function format(all: Query): string[] {
  const application = all('PRAGMA application_id')[0]?.['application_id']
  const version = all('PRAGMA user_version')[0]?.['user_version']
  if (application !== APPLICATION_ID) return ['is no store of Nearcast']
  // An older one is brought up to date when it is opened.
  return Number(version) >= 1 && Number(version) <= SCHEMA_VERSION ? [] : [`has format ${version}, this program knows ${SCHEMA_VERSION}`]
}

function integrity(all: Query): string[] {
  const faults = all('PRAGMA integrity_check').map((row) => String(row['integrity_check'])).filter((text) => text !== 'ok')
  const links = all('PRAGMA foreign_key_check').map((row) => `a link of ${row['table']} (row ${row['rowid']}) leads nowhere`)
  return [...faults, ...links]
}

function auditChain(all: Query): string[] {
  let hash = ''
  let id = 0
  for (const row of all('SELECT * FROM audit ORDER BY id')) {
    const values = ['id', 'revision', 'at', 'who', 'what', 'org', 'kind', 'key', 'before', 'after'].map((column) => row[column] ?? null)
    if (row['id'] !== id + 1) return [`the audit misses row ${id + 1}`]
    if (row['hash'] !== auditHash(hash, values)) return [`audit row ${row['id']} was changed`]
    hash = row['hash']
    id++
  }
  return []
}

function records<Record>(all: Query, kind: string): Record[] {
  return all(`SELECT body FROM records WHERE kind = '${kind}'`).map((row) => JSON.parse(String(row['body'])) as Record)
}

function numbers(all: Query): string[] {
  const counters = new Map(all('SELECT name, value FROM counters').map((row) => [String(row['name']), Number(row['value'])]))
  const faults: string[] = []
  const check = (counter: string, value: number, what: string): void => {
    if (value > (counters.get(counter) ?? 0)) faults.push(`${what} uses ${value}, above its counter ${counter}`)
  }
  for (const network of records<NetworkRecord>(all, 'networks')) check('network', network.id, `network ${network.name}`)
  for (const address of records<AddressRecord>(all, 'addresses')) {
    check(`flycast/${address.network}`, flycastNumber(parseIpv6(address.address)), address.address)
    check(`generation/${address.network}`, address.generation, address.address)
  }
  for (const peer of records<WireguardRecord>(all, 'wireguard')) check(`peer/${peer.network}`, peer.number, `WireGuard peer ${peer.name}`)
  check('revision', Number(all('SELECT max(revision) AS last FROM audit')[0]?.['last'] ?? 0), 'the audit')
  return faults
}

/** A WireGuard peer is on a network of its own org; an address leads to a service of its network's org, or stands on a grant. */
function isolation(all: Query): string[] {
  const networks = new Map(records<NetworkRecord>(all, 'networks').map(({ id, org }) => [id, org]))
  const services = new Map(records<ServiceRecord>(all, 'services').map(({ id, org }) => [id, org]))
  const strays = records<WireguardRecord>(all, 'wireguard').filter(({ org, network }) => networks.get(network) !== org)
  const grants = new Map(records<GrantRecord>(all, 'grants').map((grant) => [grant.id, grant]))
  const foreign = strays.map(({ name, org, network }) => `WireGuard peer ${name} of ${org} is on network ${network}, which is not its own`)
  const led = records<AddressRecord>(all, 'addresses').flatMap(({ address, network, service, granted }) => {
    const [host, owner] = [networks.get(network), services.get(service)]
    if (host === owner && granted === undefined) return []
    const grant = grants.get(granted?.grant ?? '')
    const stands = grant?.service === service && grant.org === owner && grant.grantee === host && granted?.grantee === host && (grant.network ?? network) === network
    return stands ? [] : [`${address} leads from a network of ${host} to a service of ${owner} without a grant`]
  })
  return [...foreign, ...led]
}

function credentials(all: Query, vault: Vault | null): string[] {
  if (vault === null) return []
  return records<ServiceRecord>(all, 'services').flatMap((service) => {
    try {
      if (service.redis !== undefined) vault.open(service.id, service.redis.sealed)
      return []
    } catch (error) {
      return [asNearcastError(error).message]
    }
  })
}
