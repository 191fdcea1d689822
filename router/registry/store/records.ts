/**
 * What the registry keeps: one record type per kind. Kinds that are also feed tables (`FEED_KINDS`) carry everything
 * that decides who may see them, so that a view of a record depends on that record alone (router/registry/feed/views.ts).
 */
import type { AddressTls, Limits, ServiceRow, TableName } from '../../../lib/feed/messages.ts'
import type { RedisEngine } from '../../../lib/redis-engines.ts'
import type { RedisLimits } from '../../../lib/redis-limits.ts'
import type { GatewayPlace, JoiningKind } from '../../../lib/identity.ts'

export type Placement = ServiceRow['placements'][number]

export interface OrgRecord {
  readonly id: string
  readonly name: string
  readonly defaultNetwork: number
  readonly createdAt: string
}

export interface NetworkRecord {
  readonly id: number
  readonly org: string
  readonly name: string
  /** Set by operators. */
  readonly limits?: Limits
  readonly createdAt: string
}

/** `provisioning`: only the agents that will hold it know it. `active`: proxies too. */
export type ServiceState = 'provisioning' | 'active'

export interface DatabaseUser {
  readonly name: string
  /** As lib/acl-rules.ts allows them. */
  readonly rules: readonly string[]
  readonly createdAt: string
}

export interface ServiceRecord {
  readonly id: string
  readonly org: string
  readonly name: string
  readonly kind: ServiceRow['kind']
  readonly port: number
  readonly placements: readonly Placement[]
  readonly state: ServiceState
  /** What becomes of live connections (lib/live-policy.ts). */
  readonly live?: string
  /** Isolation is judged and logged, not enforced. */
  readonly shadow?: true
  readonly createdAt: string
  /** What agents hand its connections on to. */
  readonly backend?: NonNullable<ServiceRow['backend']>
  readonly redis?: {
    readonly region: string
    readonly replicas: readonly string[]
    readonly maxMemoryBytes: number
    readonly appendFsync: 'always' | 'everysec'
    /** What runs it; absent: as its nodes are set. */
    readonly engine?: RedisEngine
    /** Whose limits it took over last; absent: none. */
    readonly plan?: string
    readonly limits?: RedisLimits
    /** When it is full, keys go instead of writes being refused. */
    readonly eviction?: true
    /** At a limit it goes on to the next plan. */
    readonly autoUpgrade?: true
    /** Beside `default`; their passwords are sealed with the others. */
    readonly users?: readonly DatabaseUser[]
    /** Clients must come from one of these (lib/source-list.ts); absent: from anywhere. */
    readonly allowedSources?: readonly string[]
    /** Without a connection for so long; absent: as its node's agent is set. */
    readonly parkAfterMinutes?: number | 'never'
    /** Taken every day, so many kept; absent: none. */
    readonly dailyBackups?: number
    /** Password and replication secret, encrypted (trust/credentials.ts). */
    readonly sealed: string
  }
}

/** A service of `org` may have addresses on a network of `grantee`. */
export interface GrantRecord {
  readonly id: string
  /** Owner of the service. */
  readonly org: string
  readonly service: string
  readonly grantee: string
  /** The only network of the grantee that it is for; null: any of them. */
  readonly network: number | null
  /** Minted under it at the same time, at most. */
  readonly maxAddresses: number
  readonly createdAt: string
}

/** A copy of a database, in a file of its agent's; the key of that file is here alone. */
export interface BackupRecord {
  readonly id: string
  readonly org: string
  readonly service: string
  /** Who took it; whose disk it is on, unless there is a `store`. */
  readonly node: string
  /** The bucket that it lies in: every node that knows it can read it. */
  readonly store?: string
  readonly kind: 'manual' | 'daily'
  readonly state: 'running' | 'ready' | 'failed'
  /** Why it failed: a code and a sentence. */
  readonly error?: string
  readonly createdAt: string
  /** Of the RDB; 0 unless ready. */
  readonly bytes: number
  /** Of the RDB, hex; empty unless ready. */
  readonly sha256: string
  /** The database that was last replaced by it. */
  readonly restoredInto?: string
  /** The file's own key, encrypted (trust/credentials.ts). */
  readonly sealed: string
}

export interface AddressRecord {
  /** RFC 5952 text; the key. */
  readonly address: string
  /** Owner of the service, whose quota it counts for. */
  readonly org: string
  readonly network: number
  readonly generation: number
  readonly service: string
  /** Copied from the service in the same transaction: who may see the address. */
  readonly nodes: readonly string[]
  readonly active: boolean
  /** null: off. */
  readonly tls: AddressTls | null
  /** Set by the owner of the service. */
  readonly limits?: Limits
  /** On another org's network: by this grant, and only as long as there is one. */
  readonly granted?: { readonly grant: string; readonly grantee: string }
  readonly createdAt: string
}

export interface NodeRecord {
  readonly id: string
  readonly region: string
  readonly host: string
  readonly hop: 'signed-v2' | 'v2' | 'v1'
  readonly endpoint: string
  readonly socket?: string
  /** Key epochs that the agent accepts, newest first; empty for foreign nodes. */
  readonly epochs: readonly number[]
  /** The epoch that dialers sign with: the newest one that the agent has acknowledged. */
  readonly signing: number
  /** The revision that set `epochs` or `signing` last. */
  readonly keysRevision: number
  /** Nodes that hold databases in common with this one. */
  readonly peers: readonly string[]
  /** A revoked agent that still is named by placements: invisible until it joins again. */
  readonly revoked: boolean
  /** New connections go there only when no other node is left. */
  readonly draining: boolean
  readonly createdAt: string
}

/** A program that joined. */
export interface DialerRecord {
  /** `proxy/mad-1` */
  readonly id: string
  readonly kind: JoiningKind
  readonly region: string
  readonly host: string
  /** The one certificate that counts; hexadecimal. */
  readonly serial: string
  /** Where a gateway's peers find it. */
  readonly gateway?: GatewayPlace
  /** Raised by every join, so that keys of an earlier certificate die with it. */
  readonly epoch: number
  /** The last key rotation: a change of it shows the row's keys again. */
  readonly rotation: number
  readonly peers: readonly string[]
  readonly createdAt: string
}

/** A machine that comes in by WireGuard. Its private key is its own: only the public one is here. */
export interface WireguardRecord {
  /** Base64; the key of the record, so that no two peers share one. */
  readonly publicKey: string
  readonly id: string
  readonly org: string
  readonly network: number
  readonly name: string
  /** Says which /120 of the network is its own; never given out again. */
  readonly number: number
  readonly createdAt: string
}

/** A host that joined the backbone: what the others are told of it. */
export interface BackboneRecord {
  /** Of its program, `backbone/<id>`. */
  readonly id: string
  readonly region: string
  readonly host: string
  /** Base64; the one in use first. A second one is accepted as well, while it changes keys (trust/backbone-rekey.ts). */
  readonly keys: readonly string[]
  /** `offered`: the second key is the next one. `taken`: it is the one before. Absent: there is one. */
  readonly rekey?: 'offered' | 'taken'
  /** The revision that set `keys` last. */
  readonly keysRevision: number
  readonly endpoint: string
  /** RFC 5952 text; no two hosts have one in common. */
  readonly addresses: readonly string[]
  readonly createdAt: string
}

/** `read`: look at everything but credentials. `write`: change things, and see credentials. */
export const SCOPES = ['read', 'write'] as const
export type Scope = (typeof SCOPES)[number]

export interface TokenRecord {
  readonly id: string
  readonly name: string
  readonly role: 'operator' | 'member'
  readonly org: string
  /** Absent in tokens made before there were scopes: all. */
  readonly scopes?: readonly Scope[]
  /** Absent: it counts until it is removed. */
  readonly expiresAt?: string
  /** SHA-256 of the token. */
  readonly hash: string
  readonly createdAt: string
}

export interface JoinTokenRecord {
  /** SHA-256 of the token; the key. */
  readonly hash: string
  readonly program: string
  readonly region: string
  readonly host: string
  readonly expiresAt: string
  readonly usedAt: string | null
}

export interface Records {
  orgs: OrgRecord
  networks: NetworkRecord
  services: ServiceRecord
  grants: GrantRecord
  addresses: AddressRecord
  backups: BackupRecord
  nodes: NodeRecord
  dialers: DialerRecord
  wireguard: WireguardRecord
  backbone: BackboneRecord
  tokens: TokenRecord
  joinTokens: JoinTokenRecord
}
export type Kind = keyof Records

export const FEED_KINDS = ['networks', 'services', 'addresses', 'nodes', 'dialers', 'wireguard', 'backbone'] as const satisfies readonly (Kind & TableName)[]
export type FeedKind = (typeof FEED_KINDS)[number]

export function isFeedKind(kind: Kind): kind is FeedKind {
  return FEED_KINDS.some((known) => known === kind)
}

interface Shape<K extends Kind> {
  readonly key: (record: Records[K]) => string
  readonly org?: (record: Records[K]) => string
  /** Unique within its kind and org. */
  readonly name?: (record: Records[K]) => string
  /** Records that must exist as long as this one does. */
  readonly links?: (record: Records[K]) => (readonly [Kind, string])[]
  /** Members that never leave the store: hidden from the audit. */
  readonly secret?: readonly string[]
}

export const SHAPES: { readonly [K in Kind]: Shape<K> } = {
  orgs: { key: (org) => org.id, name: (org) => org.name },
  networks: { key: (network) => String(network.id), org: (network) => network.org, name: (network) => network.name, links: (network) => [['orgs', network.org]] },
  services: {
    key: (service) => service.id,
    org: (service) => service.org,
    name: (service) => service.name,
    links: (service) => [['orgs', service.org], ...service.placements.map((placement) => ['nodes', placement.node] as const)],
    secret: ['sealed'],
  },
  addresses: {
    key: (address) => address.address,
    org: (address) => address.org,
    links: (address) => [
      ['networks', String(address.network)],
      ['services', address.service],
      ...(address.granted === undefined ? [] : [['grants', address.granted.grant] as const, ['orgs', address.granted.grantee] as const]),
    ],
  },
  grants: {
    key: (grant) => grant.id,
    org: (grant) => grant.org,
    links: (grant) => [
      ['orgs', grant.org],
      ['orgs', grant.grantee],
      ['services', grant.service],
      ...(grant.network === null ? [] : [['networks', String(grant.network)] as const]),
    ],
  },
  backups: {
    key: (backup) => backup.id,
    org: (backup) => backup.org,
    links: (backup) => [['orgs', backup.org], ['services', backup.service], ['nodes', backup.node]],
    secret: ['sealed'],
  },
  nodes: { key: (node) => node.id },
  dialers: { key: (dialer) => dialer.id },
  wireguard: {
    key: (peer) => peer.publicKey,
    org: (peer) => peer.org,
    name: (peer) => peer.name,
    links: (peer) => [['orgs', peer.org], ['networks', String(peer.network)]],
  },
  backbone: { key: (host) => host.id },
  tokens: { key: (token) => token.id, org: (token) => token.org, links: (token) => (token.org === '' ? [] : [['orgs', token.org]]), secret: ['hash'] },
  joinTokens: { key: (token) => token.hash, secret: ['hash'] },
}
