/**
 * Who may come in: the routes' decision first, then this proxy's own limits on open connections in all and per source
 * network, then those of the address and the network (limits/). Keeps the list of what is open, by address, service and
 * node, for those who have to judge it anew (revocations.ts). No sockets, no clock of its own.
 */
import type { Ipv6, NetworkId } from '../lib/address.ts'
import type { SocketAddress } from '../lib/plane/plane.ts'
import type { Admission, Denial } from './connection-record.ts'
import type { LimitHit, Turnstile, Visitor } from './limits/turnstile.ts'
import type { Decision } from './decision.ts'

export interface EntranceOptions {
  readonly decide: (source: Ipv6, destination: Ipv6, port: number) => Decision
  readonly maxConnections: number
  readonly perNetworkConnections: number
  /** Limits of addresses and networks, and those who wait for their turn. */
  readonly turnstile: Pick<Turnstile, 'enter' | 'leave'>
  readonly onHit: (hit: LimitHit) => void
  /** Where others carry connections under the same `maxConnections`. */
  readonly roomForOneMore?: () => boolean
  /** So many are open now. */
  readonly onOpen?: (open: number) => void
  /** The rule says no, but the service is in shadow mode. */
  readonly onShadowed?: (id: number, source: SocketAddress, destination: SocketAddress, denial: Denial) => void
}

export interface OpenConnection {
  /** Of the destination; the source's is the same, except in shadow mode. */
  readonly network: NetworkId
  readonly address: string
  readonly service: string
  readonly generation: number
  /** The node that took it; null until one has. */
  node: string | null
  /** The hop session that its last header counted in. */
  session: Uint8Array | null
}

export class Entrance {
  readonly #options: EntranceOptions
  readonly #open = new Map<number, OpenConnection>()
  readonly #by = { address: new Groups(), service: new Groups(), node: new Groups() }
  readonly #perNetwork = new Map<NetworkId, number>()
  #draining = false

  constructor(options: EntranceOptions) {
    this.#options = options
  }

  /** `id` stays open until `release`. */
  admit(id: number, source: SocketAddress, destination: SocketAddress): Admission {
    const decision = this.#options.decide(source.ip, destination.ip, destination.port)
    if (!decision.allowed) return decision
    const { network, org, address, service, generation } = decision.route
    const visitor = { network, address, org, service }
    if (decision.shadowed) this.#options.onShadowed?.(id, source, destination, decision.shadowed)
    const refusal = this.#refusal(visitor)
    if (refusal !== null) return { allowed: false, reason: refusal, sourceNetwork: network, network }
    const entry = this.#options.turnstile.enter(id, visitor)
    if (entry === 'refused') return { allowed: false, reason: 'limit', sourceNetwork: network, network }
    this.#open.set(id, { network, address, service, generation, node: null, session: null })
    this.#options.onOpen?.(this.#open.size)
    this.#perNetwork.set(network, (this.#perNetwork.get(network) ?? 0) + 1)
    this.#by.address.add(address, id)
    this.#by.service.add(service, id)
    return { allowed: true, ...(entry === 'waiting' && { waits: true }), ...decision.route }
  }

  /** Idempotent; connections that were never admitted are nothing here. */
  release(id: number): void {
    const connection = this.#open.get(id)
    if (!connection) return
    this.#open.delete(id)
    this.#options.onOpen?.(this.#open.size)
    this.#options.turnstile.leave(id)
    const { network, address, service, node } = connection
    const left = (this.#perNetwork.get(network) ?? 1) - 1
    if (left === 0) this.#perNetwork.delete(network)
    else this.#perNetwork.set(network, left)
    this.#by.address.remove(address, id)
    this.#by.service.remove(service, id)
    if (node !== null) this.#by.node.remove(node, id)
  }

  /** A node took it. */
  served(id: number, node: string): void {
    const connection = this.#open.get(id)
    if (!connection || connection.node !== null) return
    connection.node = node
    this.#by.node.add(node, id)
  }

  /** Remembers which session a header was signed for, so that a refused one is reopened once and not per connection. */
  signed(id: number, session: Uint8Array | null): void {
    const connection = this.#open.get(id)
    if (connection) connection.session = session
  }

  sessionOf(id: number): Uint8Array | undefined {
    return this.#open.get(id)?.session ?? undefined
  }

  connection(id: number): Readonly<OpenConnection> | undefined {
    return this.#open.get(id)
  }

  /** Open connections of an address, service or node. */
  of(what: 'address' | 'service' | 'node', key: string): readonly number[] {
    return this.#by[what].of(key)
  }

  /** Services with open connections. */
  services(): readonly string[] {
    return this.#by.service.keys()
  }

  /** Whether a service has open connections. */
  has(service: string): boolean {
    return this.#by.service.has(service)
  }

  ids(): readonly number[] {
    return [...this.#open.keys()]
  }

  /** From here on nobody new is admitted. */
  drain(): void {
    this.#draining = true
  }

  get open(): number {
    return this.#open.size
  }

  #refusal({ network, address, org, service }: Visitor & { readonly network: NetworkId }): 'limit' | 'draining' | null {
    if (this.#draining) return 'draining'
    const { maxConnections, perNetworkConnections, onHit, roomForOneMore } = this.#options
    const room = roomForOneMore?.() ?? this.#open.size < maxConnections
    if (room && (this.#perNetwork.get(network) ?? 0) < perNetworkConnections) return null
    onHit({ place: { address, network }, org, service, limit: 'open-connections', outcome: 'refused' })
    return 'limit'
  }
}

/** key -> connections */
class Groups {
  readonly #groups = new Map<string, Set<number>>()

  add(key: string, id: number): void {
    const group = this.#groups.get(key)
    if (group) group.add(id)
    else this.#groups.set(key, new Set([id]))
  }

  remove(key: string, id: number): void {
    const group = this.#groups.get(key)
    group?.delete(id)
    if (group?.size === 0) this.#groups.delete(key)
  }

  keys(): string[] {
    return [...this.#groups.keys()]
  }

  has(key: string): boolean {
    return this.#groups.has(key)
  }

  of(key: string): number[] {
    return [...(this.#groups.get(key) ?? [])]
  }
}
