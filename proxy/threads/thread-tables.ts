/**
 * Brings the feed's rows to data threads: routes by the table in shared memory, everything else by messages, in an order in
 * which no thread ever has a route without what it needs. First nodes, limits and names; then the routes, for all threads
 * at once; then whoever has lost its route is judged. In force means that all threads have said so.
 */
import type { ServiceRow } from '../../lib/feed/messages.ts'
import type { AppliedChange } from '../../lib/feed/reader.ts'
import type { Touched } from '../revocations.ts'
import type { RouteTableHandle } from '../tables/route-table.ts'
import { PublishedRoutes } from '../tables/published-routes.ts'
import { isParticular } from '../tables/shared-routes.ts'
import { touchedBy } from '../tables-in-force.ts'
import type { Rows, TakesRows } from '../tables-in-force.ts'
import type { ThreadChannel } from './messages.ts'

export interface ThreadTablesOptions {
  readonly prefix: number
  /** This thread's own: what is in force, to look at. */
  readonly own: TakesRows
  /** Asks all threads that run; one that ends meanwhile is replaced by one that is brought everything. */
  readonly askAll: (ask: (channel: ThreadChannel) => Promise<void>) => Promise<void>
}

const NONE: ReadonlyMap<string, ServiceRow | null> = new Map()

export class ThreadTables implements TakesRows {
  readonly #options: ThreadTablesOptions
  readonly #routes: PublishedRoutes
  #rows: Rows | null = null

  constructor(options: ThreadTablesOptions) {
    this.#options = options
    this.#routes = new PublishedRoutes(options.prefix)
  }

  get handle(): RouteTableHandle {
    return this.#routes.handle
  }

  /** @throws NearcastError table.full, and then the old addresses stay in force */
  async replace(rows: Rows): Promise<void> {
    const { own, askAll } = this.#options
    this.#rows = rows
    await own.replace(rows)
    this.#routes.number(rows.services.values())
    const open = new Map<ThreadChannel, readonly string[]>()
    await askAll(async (channel) => void open.set(channel, await this.#prepare(channel, rows)))
    this.#routes.replace(rows)
    await askAll((channel) => this.#review(channel, 'all', servicesOf(rows, open.get(channel) ?? [])))
  }

  /** @throws NearcastError table.full */
  async change(changes: readonly AppliedChange[]): Promise<void> {
    const { own, askAll } = this.#options
    await own.change(changes)
    // The reader has checked each row against its table's schema.
    const numbers = this.#routes.number(changes.filter(({ table }) => table === 'services').map(({ row }) => row as ServiceRow | null))
    await askAll((channel) => channel.ask('changes', { changes, numbers }))
    this.#routes.change(changes)
    await askAll((channel) => this.#review(channel, touchedBy(changes), NONE))
  }

  /** To a thread that begins, and has the table of routes already. */
  async bring(channel: ThreadChannel): Promise<void> {
    if (this.#rows !== null) await this.#prepare(channel, this.#rows)
  }

  /** @returns services of open connections */
  #prepare(channel: ThreadChannel, rows: Rows): Promise<readonly string[]> {
    return channel.ask('rows', { rows: besideRoutes(rows), numbers: this.#routes.numbers })
  }

  #review(channel: ThreadChannel, touched: Touched | 'all', services: ReadonlyMap<string, ServiceRow | null>): Promise<void> {
    return channel.ask('review', { touched, services })
  }
}

function servicesOf(rows: Rows, ids: readonly string[]): ReadonlyMap<string, ServiceRow | null> {
  return new Map(ids.map((id) => [id, rows.services.get(id) ?? null]))
}

/** What the table of routes doesn't say. Plain maps: a class doesn't go to another thread. */
function besideRoutes({ networks, addresses, nodes }: Rows): Rows {
  return {
    networks: new Map([...networks].filter(([, { limits }]) => limits !== undefined)),
    services: new Map(),
    addresses: new Map([...addresses].filter(([, { limits, tls }]) => limits !== undefined || (tls !== undefined && isParticular(tls)))),
    nodes,
  }
}
