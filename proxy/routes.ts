/**
 * The table of addresses in ordinary memory: Flycast address -> service -> placements. The data path reads it where one
 * thread does everything; data threads read what is published from the same rows (tables/shared-routes.ts).
 *
 * A snapshot is built whole and then swapped in by one assignment; later changes are applied in place, each in O(1),
 * because between two events nobody reads. An address whose service isn't known (yet) is unknown, never a default.
 * No sockets, no clock, no logger. Who may connect is decision.ts; this file only answers what exists.
 */
import type { Ipv6, NetworkId } from '../lib/address.ts'
import { asNetworkId, isFlycast, keyOf, networkOf, parseIpv6 } from '../lib/address.ts'
import type { AddressRow, AddressTls, NetworkRow, ServiceRow } from '../lib/feed/messages.ts'
import { decide } from './decision.ts'
import type { Decision } from './decision.ts'

export interface Route {
  /** RFC 5952 text of the Flycast address, as the feed names it. */
  readonly address: string
  readonly generation: number
  readonly network: NetworkId
  /** Owner of the service. */
  readonly org: string
  /** Id and name of the service. */
  readonly service: string
  readonly name: string
  readonly kind: ServiceRow['kind']
  readonly port: number
  readonly placements: ServiceRow['placements']
  /** Isolation is judged and not enforced. */
  readonly shadow?: true
  readonly tls?: AddressTls
}

/** What the data path reads of a table. */
export interface RouteSource {
  /** The route of a known address, whatever its port. */
  find(destination: Ipv6): Route | null
  /** The same by RFC 5952 text; null for text that is no address. */
  findText(text: string): Route | null
  decide(source: Ipv6, destination: Ipv6, port: number): Decision
  /** null for an unknown one. */
  service(id: string): Pick<ServiceRow, 'live' | 'placements'> | null
  /** Nodes that hold a service; none for an unknown one. */
  placements(service: string): ServiceRow['placements']
}

/** Takes the rows over that make routes. */
export interface TakesRoutes {
  /** @returns addresses that were left out */
  replace(rows: RouteRows): string[]
  putNetwork(id: number, row: NetworkRow | null): void
  putService(id: string, row: ServiceRow | null): void
  /** @returns false when the row isn't an address of its network in our plan: it stays unknown. */
  putAddress(text: string, row: AddressRow | null): boolean
}

/** The part of the feed's table that makes routes. */
export interface RouteRows {
  readonly networks: ReadonlyMap<number, NetworkRow>
  readonly services: ReadonlyMap<string, ServiceRow>
  readonly addresses: ReadonlyMap<string, AddressRow>
}

export class Routes implements RouteSource, TakesRoutes {
  readonly #prefix: number
  #index = new Index()

  constructor(prefix: number) {
    this.#prefix = prefix
  }

  /** Builds a new table and swaps it in. Rows that aren't addresses of the plan are left out and returned. */
  replace(rows: RouteRows): string[] {
    const next = new Index()
    const refused: string[] = []
    for (const id of rows.networks.keys()) next.networks.add(asNetworkId(id))
    for (const row of rows.services.values()) next.putService(row.id, row)
    for (const row of rows.addresses.values()) if (!this.#putAddress(next, row)) refused.push(row.address)
    this.#index = next
    return refused
  }

  putNetwork(id: number, row: NetworkRow | null): void {
    if (row === null) this.#index.networks.delete(asNetworkId(id))
    else this.#index.networks.add(asNetworkId(id))
  }

  putService(id: string, row: ServiceRow | null): void {
    this.#index.putService(id, row)
  }

  putAddress(text: string, row: AddressRow | null): boolean {
    if (row !== null) return this.#putAddress(this.#index, row)
    const address = asAddress(text)
    if (address !== null) this.#index.removeAddress(keyOf(address))
    return true
  }

  #putAddress(index: Index, row: AddressRow): boolean {
    const address = asAddress(row.address)
    if (address === null || !isFlycast(address, this.#prefix) || networkOf(address, this.#prefix) !== row.network) return false
    const network = asNetworkId(row.network)
    index.putAddress(keyOf(address), { address: row.address, generation: row.generation, network, service: row.service, ...(row.tls && { tls: row.tls }) })
    return true
  }

  find(destination: Ipv6): Route | null {
    const entry = this.#index.addresses.get(keyOf(destination))
    const service = entry && this.#index.services.get(entry.service)?.row
    if (!entry || !service) return null
    const { org, name, kind, port, placements, shadow } = service
    return { ...entry, org, name, kind, port, placements, ...(shadow && { shadow }) }
  }

  findText(text: string): Route | null {
    const address = asAddress(text)
    return address && this.find(address)
  }

  decide(source: Ipv6, destination: Ipv6, port: number): Decision {
    return decide((address) => this.find(address), source, destination, port, this.#prefix)
  }

  placements(service: string): ServiceRow['placements'] {
    return this.#index.services.get(service)?.row?.placements ?? []
  }

  service(id: string): ServiceRow | null {
    return this.#index.services.get(id)?.row ?? null
  }

  /** Ports of services that have an address. */
  ports(): number[] {
    return [...this.#index.ports.keys()]
  }

  /** Ids of services that listen on `port` and have an address. O(services), for error reports. */
  servicesOn(port: number): string[] {
    const entries = [...this.#index.services]
    return entries.filter(([, entry]) => entry.row?.port === port && entry.addresses > 0).map(([id]) => id)
  }

  /** Networks that exist, with or without addresses. */
  get networks(): ReadonlySet<NetworkId> {
    return this.#index.networks
  }

  /** Addresses of one network, as RFC 5952 text. */
  addressesOf(network: NetworkId): string[] {
    const keys = [...(this.#index.byNetwork.get(network) ?? [])]
    return keys.map((key) => this.#index.addresses.get(key)?.address ?? '')
  }

  get size(): number {
    return this.#index.addresses.size
  }
}

interface AddressEntry {
  readonly address: string
  readonly generation: number
  readonly network: NetworkId
  readonly service: string
  readonly tls?: AddressTls
}

interface ServiceEntry {
  row: ServiceRow | null
  addresses: number
}

/** The maps behind a table and what is counted in them; every operation is O(1). */
class Index {
  readonly networks = new Set<NetworkId>()
  readonly addresses = new Map<string, AddressEntry>()
  /** Holds an entry without a row while an address names a service that isn't known. */
  readonly services = new Map<string, ServiceEntry>()
  readonly byNetwork = new Map<NetworkId, Set<string>>()
  /** port -> services on it that have an address */
  readonly ports = new Map<number, number>()

  putService(id: string, row: ServiceRow | null): void {
    const entry = this.services.get(id) ?? { row: null, addresses: 0 }
    this.#countPort(entry, -1)
    entry.row = row
    this.#countPort(entry, 1)
    this.#keepService(id, entry)
  }

  putAddress(key: string, entry: AddressEntry): void {
    this.removeAddress(key)
    this.addresses.set(key, entry)
    const siblings = this.byNetwork.get(entry.network)
    if (siblings) siblings.add(key)
    else this.byNetwork.set(entry.network, new Set([key]))
    this.#countAddress(entry.service, 1)
  }

  removeAddress(key: string): void {
    const entry = this.addresses.get(key)
    if (!entry) return
    this.addresses.delete(key)
    const siblings = this.byNetwork.get(entry.network)
    siblings?.delete(key)
    if (siblings?.size === 0) this.byNetwork.delete(entry.network)
    this.#countAddress(entry.service, -1)
  }

  #countAddress(service: string, by: 1 | -1): void {
    const entry = this.services.get(service) ?? { row: null, addresses: 0 }
    this.#countPort(entry, -1)
    entry.addresses += by
    this.#countPort(entry, 1)
    this.#keepService(service, entry)
  }

  #keepService(id: string, entry: ServiceEntry): void {
    if (entry.row === null && entry.addresses === 0) this.services.delete(id)
    else this.services.set(id, entry)
  }

  #countPort(entry: ServiceEntry, by: 1 | -1): void {
    if (entry.row === null || entry.addresses === 0) return
    const count = (this.ports.get(entry.row.port) ?? 0) + by
    if (count === 0) this.ports.delete(entry.row.port)
    else this.ports.set(entry.row.port, count)
  }
}

export function asAddress(text: string): Ipv6 | null {
  try {
    return parseIpv6(text)
  } catch {
    return null
  }
}
