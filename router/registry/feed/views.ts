/**
 * Who sees what of the registry: one record, one reader, one row or nothing. Pure. What a row needs to be judged stands in
 * its own record; of the reader only its own records count.
 *
 *             proxy                          agent
 *   networks  all                            none
 *   services  active, without credentials    those placed on it, with credentials
 *   addresses active                         of services placed on it
 *   nodes     all, with its own signing key  itself, and its peers with its own signing key
 *   dialers   none                           proxies and peers, with the keys that it must accept
 *
 * A gateway sees WireGuard peers and the other gateways, which nobody else does, and nothing else; a backbone likewise the
 * hosts of the backbone.
 */
import { asNetworkId, DEFAULT_PREFIX, peerPrefix } from '../../../lib/address.ts'
import type { Rows } from '../../../lib/feed/messages.ts'
import type { AddressRecord, BackboneRecord, DialerRecord, FeedKind, NetworkRecord, NodeRecord, Records, ServiceRecord, WireguardRecord } from '../store/records.ts'
import type { Vault } from '../trust/credentials.ts'
import { passwordSha256 } from '../trust/credentials.ts'
import type { HopKeyring } from '../trust/hop-keys.ts'

export interface Viewer {
  readonly member: DialerRecord
  /** An agent's own node. */
  readonly node: NodeRecord | null
}

type Row = Rows[FeedKind]

export class Views {
  readonly #keys: HopKeyring
  readonly #vault: Vault
  readonly #prefix: number

  /** `prefix`: the first 16 bits of the address plan. */
  constructor(keys: HopKeyring, vault: Vault, prefix = DEFAULT_PREFIX) {
    this.#keys = keys
    this.#vault = vault
    this.#prefix = prefix
  }

  project<K extends FeedKind>(viewer: Viewer, kind: K, record: Records[K] | null): Row | null {
    if (record === null) return null
    const views: { [Each in FeedKind]: (viewer: Viewer, record: Records[Each]) => Row | null } = {
      networks: network,
      services: (reader, service) => this.#service(reader, service),
      addresses: address,
      nodes: (reader, node) => this.#node(reader, node),
      dialers: (reader, dialer) => this.#dialer(reader, dialer),
      wireguard: (reader, peer) => this.#peer(reader, peer),
      backbone,
    }
    return views[kind](viewer, record)
  }

  #service({ member, node }: Viewer, service: ServiceRecord): Rows['services'] | null {
    const { id, org, name, kind, port, redis, backend, live, shadow } = service
    const row = { id, org, name, kind, port, placements: [...service.placements], ...(live !== undefined && { live }), ...(shadow && { shadow }) }
    if (member.kind === 'proxy') return service.state === 'active' ? row : null
    if (node === null || !service.placements.some((placement) => placement.node === node.id)) return null
    if (redis === undefined) return { ...row, ...(backend !== undefined && { backend }) }
    const { password, replicationSecret, users: passwords } = this.#vault.open(id, redis.sealed)
    const { maxMemoryBytes, appendFsync, allowedSources, parkAfterMinutes, engine, limits, eviction, users = [] } = redis
    const shown = users.map((user) => ({ name: user.name, passwordSha256: passwordSha256(passwords[user.name] ?? ''), rules: [...user.rules] }))
    return {
      ...row,
      redis: {
        passwordSha256: passwordSha256(password),
        replicationSecret,
        maxMemoryBytes,
        appendFsync,
        ...(shown.length > 0 && { users: shown }),
        ...(allowedSources !== undefined && { allowedSources: [...allowedSources] }),
        ...(parkAfterMinutes !== undefined && { parkAfterMinutes }),
        ...(engine !== undefined && { engine }),
        ...(limits !== undefined && { limits }),
        ...(eviction && { eviction }),
      },
    }
  }

  #node({ member, node }: Viewer, record: NodeRecord): Rows['nodes'] | null {
    if (record.revoked || (member.kind !== 'proxy' && member.kind !== 'agent')) return null
    if (member.kind === 'agent' && record.id !== node?.id && !record.peers.includes(node?.id ?? '')) return null
    const { id, region, host, hop, endpoint, socket, draining } = record
    const row = { id, region, host, hop, endpoint, ...(socket !== undefined && { socket }), ...(draining && { draining }) }
    return { ...row, keys: this.#keys.signing(member, record) }
  }

  #dialer({ member, node }: Viewer, record: DialerRecord): Rows['dialers'] | null {
    if (member.kind === 'gateway') return neighbour(member, record)
    if (node === null || (record.kind !== 'proxy' && record.kind !== 'agent')) return null
    if (record.kind === 'agent' && !record.peers.includes(node.id)) return null
    const { id, kind, region, host, serial } = record
    return { id, kind, region, host, serial, keys: this.#keys.accepted(record, node) }
  }

  #peer({ member }: Viewer, { number, ...peer }: WireguardRecord): Rows['wireguard'] | null {
    if (member.kind !== 'gateway') return null
    const { publicKey, id, org } = peer
    return { publicKey, id, org, network: peer.network, prefix: peerPrefix(asNetworkId(peer.network), number, this.#prefix) }
  }
}

function network({ member }: Viewer, { id, org, name, limits }: NetworkRecord): Rows['networks'] | null {
  return member.kind === 'proxy' ? { id, org, name, ...(limits !== undefined && { limits }) } : null
}

/** Those that say where others find them see each other. */
function neighbour(member: DialerRecord, { id, kind, region, host, gateway }: DialerRecord): Rows['dialers'] | null {
  if (kind !== 'gateway' || id === member.id || gateway?.neighbours === undefined || member.gateway?.neighbours === undefined) return null
  return { id, kind, region, host, keys: [], gateway: { publicKey: gateway.publicKey, endpoint: gateway.neighbours } }
}

function backbone({ member }: Viewer, { id, host, keys, endpoint, addresses }: BackboneRecord): Rows['backbone'] | null {
  return member.kind === 'backbone' ? { id, host, keys: [...keys], endpoint, addresses: [...addresses] } : null
}

function address({ member, node }: Viewer, record: AddressRecord): Rows['addresses'] | null {
  const seen = member.kind === 'proxy' ? record.active : node !== null && record.nodes.includes(node.id)
  if (!seen) return null
  const { generation, service, limits, tls } = record
  const limited = member.kind === 'proxy' && limits !== undefined && { limits }
  const secured = member.kind === 'proxy' && tls !== null && { tls }
  return { address: record.address, network: record.network, generation, service, ...limited, ...secured }
}
