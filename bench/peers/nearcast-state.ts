/**
 * A Nearcast proxy or agent that serves from its cache alone: the identity and the last good table that it would have kept
 * on disk, made by hand. There is no router, and none is needed.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { FeedCache } from '../../lib/feed/cache.ts'
import type { Change } from '../../lib/feed/messages.ts'
import { FAILING_NODES, FAILING_PORT, FAILOVER_ADDRESS } from '../failing-nodes.ts'
import { ADDRESS, AGENT, DIRECTORY, NEIGHBOUR_ADDRESS, NETWORK, SECOND } from '../world.ts'

export const SERVICE = 'bench'
const NEIGHBOUR = 'neighbour'

/** Within the namespace nobody checks it: agents are on the proxy's own host. */
function selfSigned(): { certificate: string; key: string } {
  const [key, certificate] = [join(DIRECTORY, 'self.key'), join(DIRECTORY, 'self.pem')]
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key]
  execFileSync('openssl', ['req', '-x509', ...curve, '-out', certificate, '-days', '2', '-subj', '/CN=bench'], { stdio: 'pipe' })
  return { certificate: readFileSync(certificate, 'utf8'), key: readFileSync(key, 'utf8') }
}

/** @returns the state directory of `identity`. */
export async function writeState(identity: string, rows: readonly Change[]): Promise<string> {
  const directory = join(DIRECTORY, identity.replace('/', '-'))
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const { certificate, key } = selfSigned()
  writeFileSync(join(directory, 'identity.json'), JSON.stringify({ identity, certificate, key, ca: certificate }), { mode: 0o600 })
  const reader = createHash('sha256').update(certificate).digest('hex')
  await new FeedCache(join(directory, 'feed.json')).save({ revision: 1, reader, rows: [...rows] })
  return directory
}

/** The database behind the address, and one behind another. `redis`: the part that only its agent sees, which takes those that have one. */
export function tenantRows(port: number, redis: { readonly own?: object; readonly neighbour?: object } = {}): Change[] {
  return [
    { table: 'networks', key: String(NETWORK), row: { id: NETWORK, org: 'bench', name: 'default' } },
    ...database(SERVICE, ADDRESS, port, redis.own),
    ...(redis.own === undefined || redis.neighbour !== undefined ? database(NEIGHBOUR, NEIGHBOUR_ADDRESS, port, redis.neighbour) : []),
  ]
}

/** Where the `index`th of many more databases is found. */
export const crowdAddress = (index: number): string => `fdaa:0:1:0:1::1:${(index + 1).toString(16)}`

/** So many more databases, each behind an address of its own. */
export function crowdRows(port: number, count: number, redis?: object): Change[] {
  return Array.from({ length: count }, (_each, index) => database(`crowd${index}`, crowdAddress(index), port, redis)).flat()
}

function database(id: string, address: string, port: number, redis: object | undefined): Change[] {
  return [
    { table: 'services', key: id, row: { id, org: 'bench', name: id, kind: 'redis', port, placements: [{ node: AGENT, role: 'primary' }], ...(redis && { redis }) } },
    { table: 'addresses', key: address, row: { address, network: NETWORK, generation: 1, service: id } },
  ]
}

/** The same database for another network. */
export function secondNetworkRows(): Change[] {
  const { network, address } = SECOND
  return [
    { table: 'networks', key: String(network), row: { id: network, org: 'bench', name: 'second' } },
    { table: 'addresses', key: address, row: { address, network, generation: 1, service: SERVICE } },
  ]
}

/** Nodes that read the header themselves, behind an address of its own. */
export function failoverRows(port: number): Change[] {
  const names = Object.entries(FAILING_NODES)
  const service = { id: 'failing', org: 'bench', name: 'failing', kind: 'tcp', port, placements: names.map(([node]) => ({ node, role: 'peer' })) }
  return [
    ...names.map(([id, host]) => ({ table: 'nodes' as const, key: id, row: { id, region: id, host: id, hop: 'v2', endpoint: `[${host}]:${FAILING_PORT}`, keys: [] } })),
    { table: 'services', key: 'failing', row: service },
    { table: 'addresses', key: FAILOVER_ADDRESS, row: { address: FAILOVER_ADDRESS, network: NETWORK, generation: 1, service: 'failing' } },
  ]
}

export function nodeRow(socket: string, key: string): Change {
  const row = { id: AGENT, region: 'bench', host: 'bench', hop: 'signed-v2', endpoint: '[::1]:9', socket, keys: [{ epoch: 1, key }] }
  return { table: 'nodes', key: AGENT, row }
}

export function dialerRow(identity: string, key: string): Change {
  return { table: 'dialers', key: identity, row: { id: identity, kind: 'proxy', region: 'bench', host: 'bench', keys: [{ epoch: 1, key }] } }
}
