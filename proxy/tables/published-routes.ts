/**
 * The feed's rows as the table in shared memory that data threads read (shared-routes.ts). In the control thread. Nodes
 * get numbers here; whoever reads the table must be told of a number before a route has it (`numbers`).
 */
import { randomBytes } from 'node:crypto'
import type { Ipv6 } from '../../lib/address.ts'
import type { AddressRow, ServiceRow } from '../../lib/feed/messages.ts'
import type { AppliedChange } from '../../lib/feed/reader.ts'
import { asAddress } from '../routes.ts'
import { candidateOf } from './candidates.ts'
import { liveCode } from './live-code.ts'
import type { RouteTableHandle } from './route-table.ts'
import { RouteTableWriter } from './route-table-writer.ts'
import type { AddressEntry, ServiceEntry } from './route-table-writer.ts'
import { isParticular } from './shared-routes.ts'

interface Rows {
  readonly services: ReadonlyMap<string, ServiceRow>
  readonly addresses: ReadonlyMap<string, AddressRow>
}

export class PublishedRoutes {
  readonly #writer: RouteTableWriter
  readonly #numbers = new Map<string, number>()

  constructor(prefix: number) {
    const seed = randomBytes(8)
    this.#writer = new RouteTableWriter({ prefix, seed: [seed.readInt32LE(0), seed.readInt32LE(4)] })
  }

  get handle(): RouteTableHandle {
    return this.#writer.handle
  }

  /** Of all nodes that services have been placed on. */
  get numbers(): ReadonlyMap<number, string> {
    return new Map(Array.from(this.#numbers, ([node, number]) => [number, node]))
  }

  /** Numbers the nodes that these services are placed on. @returns those that are new */
  number(services: Iterable<ServiceRow | null>): ReadonlyMap<number, string> {
    const added = new Map<number, string>()
    for (const service of services) {
      for (const { node } of service?.placements ?? []) {
        if (this.#numbers.has(node)) continue
        added.set(this.#numbers.size + 1, node)
        this.#numbers.set(node, this.#numbers.size + 1)
      }
    }
    return added
  }

  /** Makes exactly these the routes; their nodes have numbers. @throws NearcastError table.full, and then the old addresses stay in force */
  replace({ services, addresses }: Rows): void {
    this.#writer.replace({ services: this.#services(services), addresses: addressesOf(addresses) })
  }

  /** New services, whose nodes have numbers, first, so that no address is ever seen without its own. @throws NearcastError table.full */
  change(changes: readonly AppliedChange[]): void {
    // The reader has checked each row against its table's schema.
    const services = changes.filter(({ table }) => table === 'services').map(({ key, row }) => [key, row as ServiceRow | null] as const)
    for (const [id, row] of services) if (row !== null) this.#writer.putService(id, this.#service(row))
    for (const { table, key, row } of changes) {
      const address = table === 'addresses' ? asAddress(key) : null
      if (address !== null) this.#writer.putAddress(address, entryOf(row as AddressRow | null))
    }
    for (const [id, row] of services) if (row === null) this.#writer.putService(id, null)
  }

  *#services(services: ReadonlyMap<string, ServiceRow>): Generator<readonly [string, ServiceEntry]> {
    for (const [id, row] of services) yield [id, this.#service(row)]
  }

  #service({ port, kind, shadow, live, placements, org, name }: ServiceRow): ServiceEntry {
    return {
      port,
      kind,
      shadow: shadow === true,
      live: liveCode(live),
      nodes: placements.map(({ node, role }) => candidateOf(this.#numbers.get(node) ?? 0, role)),
      names: [org, name],
    }
  }
}

function* addressesOf(rows: ReadonlyMap<string, AddressRow>): Generator<readonly [Ipv6, AddressEntry]> {
  for (const [text, row] of rows) {
    const address = asAddress(text)
    const entry = entryOf(row)
    if (address !== null && entry !== null) yield [address, entry]
  }
}

function entryOf(row: AddressRow | null): AddressEntry | null {
  if (row === null) return null
  const { generation, service, tls } = row
  return { generation, service, tls: tls?.policy ?? null, particularTls: tls !== undefined && isParticular(tls) }
}
