/**
 * The routes of a data thread: looked up in the shared memory (route-table.ts), which the control thread writes
 * (published-routes.ts). Beside it this thread keeps only what is told to it of few addresses (TLS with certificates or
 * protocols of its own), and what it has read of services that it carries, so that live connections can be judged after
 * the service has gone from the table.
 */
import type { Ipv6 } from '../../lib/address.ts'
import { formatIpv6 } from '../../lib/address.ts'
import type { AddressRow, AddressTls, ServiceRow } from '../../lib/feed/messages.ts'
import { decide } from '../decision.ts'
import type { Decision } from '../decision.ts'
import type { Route, RouteSource, TakesRoutes } from '../routes.ts'
import { asAddress } from '../routes.ts'
import { placementOf } from './candidates.ts'
import { liveText } from './live-code.ts'
import { Route as Found, RouteTable, Target } from './route-table.ts'
import type { RouteTableHandle } from './route-table.ts'

export interface SharedRoutesOptions {
  readonly handle: RouteTableHandle
  readonly prefix: number
  /** Whether this thread has connections of a service: then what is known of it stays. */
  readonly isOpen: (service: string) => boolean
}

interface Service {
  readonly id: string
  readonly org: string
  readonly name: string
  readonly live?: string
  readonly placements: ServiceRow['placements']
}

/** What was read of a slot; the same version under the same directory says the same, of its service, too. */
interface Read {
  readonly version: number
  readonly directory: number
  readonly service: Service
  readonly route: Route
}

/** Routes that nobody uses are forgotten when so many are known. */
const MOST_REMEMBERED = 4096

export class SharedRoutes implements RouteSource, TakesRoutes {
  readonly #table: RouteTable
  readonly #options: SharedRoutesOptions
  readonly #nodes = new Map<number, string>()
  /** By where they stand in the table. */
  readonly #routes = new Map<number, Read>()
  readonly #services = new Map<string, Pick<ServiceRow, 'live' | 'placements'>>()
  /** What doesn't fit into the table, by address. Looked at only when the table says that there is something. */
  #tls = new Map<string, AddressTls>()
  /** Of the table before: it is in force until the new one is. */
  #tlsBefore = new Map<string, AddressTls>()
  readonly #found = new Found()
  readonly #target = new Target()
  #most = MOST_REMEMBERED

  constructor(options: SharedRoutesOptions) {
    this.#options = options
    this.#table = new RouteTable(options.handle)
  }

  /** What the table's numbers mean. Told before a route has one of them. */
  name(nodes: ReadonlyMap<number, string>): void {
    for (const [number, node] of nodes) this.#nodes.set(number, node)
  }

  /** Of `addresses` those are enough that have a TLS policy of their own; services are known as they are used. */
  replace({ addresses }: { readonly addresses: ReadonlyMap<string, AddressRow> }): string[] {
    this.#tlsBefore = this.#tls
    this.#tls = new Map()
    for (const [address, row] of addresses) this.putAddress(address, row)
    return []
  }

  putNetwork(): void {
    // The table has an address, or hasn't: that its network exists, too, is the control thread's to see.
  }

  putService(id: string, row: ServiceRow | null): void {
    if (row === null) this.#services.delete(id)
    else if (this.#services.has(id)) this.#services.set(id, row)
  }

  /** What it was before stays: the table says whether it is still asked for. */
  putAddress(address: string, row: AddressRow | null): boolean {
    if (row?.tls !== undefined && isParticular(row.tls)) this.#tls.set(address, row.tls)
    return true
  }

  find(destination: Ipv6): Route | null {
    const found = this.#found
    while (this.#table.find(destination, found)) {
      const read = this.#routes.get(found.position)
      if (read?.version === found.version && read.directory === found.directory) {
        // It may have been forgotten as a service that was told to be gone, and be back.
        if (!this.#services.has(read.service.id)) this.#services.set(read.service.id, read.service)
        return read.route
      }
      const service = this.#readService(found)
      // It has changed since it was found: what is it now?
      if (service !== null) return this.#remember(formatIpv6(destination), service)
    }
    return null
  }

  /** The slot that was found, and its service. */
  #remember(address: string, service: Service): Route | null {
    const { position, version, directory, generation, network, kind, port, shadow } = this.#found
    const tls = this.#tlsOf(address, this.#found)
    if (tls === undefined) return null
    const { id, org, name, placements } = service
    const route: Route = { address, generation, network: network as Route['network'], service: id, org, name, kind, port, placements, ...(shadow && { shadow }), ...(tls && { tls }) }
    if (this.#routes.size >= this.#most) this.#forgetIdle()
    this.#routes.set(position, { version, directory, service, route })
    this.#services.set(id, service)
    return route
  }

  findText(text: string): Route | null {
    const address = asAddress(text)
    return address && this.find(address)
  }

  decide(source: Ipv6, destination: Ipv6, port: number): Decision {
    return decide((address) => this.find(address), source, destination, port, this.#options.prefix)
  }

  /** Of services that this thread carries, or has just decided about. */
  service(id: string): Pick<ServiceRow, 'live' | 'placements'> | null {
    return this.#services.get(id) ?? null
  }

  placements(service: string): ServiceRow['placements'] {
    return this.#services.get(service)?.placements ?? []
  }

  /** null: no TLS; undefined: a policy that nobody has told us, so the address isn't served. */
  #tlsOf(address: string, { tls, particularTls }: Found): AddressTls | null | undefined {
    if (tls === null) return null
    return particularTls ? (this.#tls.get(address) ?? this.#tlsBefore.get(address)) : { policy: tls }
  }

  /** null when the route has changed since it was found. */
  #readService(found: Found): Service | null {
    if (!this.#table.follow(found, this.#target)) return null
    const names = this.#table.names(found)
    if (names === null) return null
    const [org = '', name = ''] = JSON.parse(names) as string[]
    const { service: bytes, serviceBytes, nodes, count } = this.#target
    const live = liveText(found.live)
    const placements = [...nodes.subarray(0, count)].flatMap((candidate) => placementOf(candidate, this.#nodes) ?? [])
    return { id: String.fromCharCode(...bytes.subarray(0, serviceBytes)), org, name, placements, ...(live !== undefined && { live }) }
  }

  #forgetIdle(): void {
    const { isOpen } = this.#options
    for (const [position, { service }] of this.#routes) if (!isOpen(service.id)) this.#routes.delete(position)
    for (const id of this.#services.keys()) if (!isOpen(id)) this.#services.delete(id)
    this.#most = Math.max(MOST_REMEMBERED, 2 * this.#routes.size)
  }
}

/** Whether there is more to it than the table has room for. */
export function isParticular({ alpn, clientCa }: AddressTls): boolean {
  return alpn !== undefined || clientCa !== undefined
}
