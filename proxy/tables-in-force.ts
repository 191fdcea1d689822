/**
 * The feed's rows, where connections are decided: nodes, routes, the choice's memory, limits; then live connections that
 * a change concerns are judged anew (revocations.ts), once the whole change is in. One per thread that carries
 * connections; what the host needs of a change is feed.ts.
 */
import type { AddressRow, NetworkRow, NodeRow, ServiceRow } from '../lib/feed/messages.ts'
import type { AppliedChange } from '../lib/feed/reader.ts'
import type { Logger } from '../lib/log.ts'
import type { Limits } from './limits/limits.ts'
import type { Nearest } from './nearest/nearest.ts'
import type { Revocations, Touched } from './revocations.ts'
import type { RouteSource, TakesRoutes } from './routes.ts'

/** The part of the feed's table that connections are decided by. Plain maps: they go to other threads as they are. */
export interface Rows {
  readonly networks: ReadonlyMap<number, NetworkRow>
  readonly services: ReadonlyMap<string, ServiceRow>
  readonly addresses: ReadonlyMap<string, AddressRow>
  readonly nodes: ReadonlyMap<string, NodeRow>
}

/** Whoever takes the rows over: the tables of this thread, or those of others. */
export interface TakesRows {
  /** What it returns is waited for: only then are the rows in force. */
  replace(rows: Rows): Promise<void> | void
  change(changes: readonly AppliedChange[]): Promise<void> | void
}

export interface TablesInForceOptions {
  readonly routes: TakesRoutes & Pick<RouteSource, 'service'>
  readonly nodes: { replace(rows: ReadonlyMap<string, NodeRow>): void; put(id: string, row: NodeRow | null): void }
  readonly nearest: Pick<Nearest, 'forget' | 'forgetUnless'>
  readonly limits: Pick<Limits, 'replace' | 'putNetwork' | 'putAddress' | 'removeAddress'>
  readonly revocations: Pick<Revocations, 'review'>
  readonly log: Logger
}

export class TablesInForce implements TakesRows {
  readonly #options: TablesInForceOptions

  constructor(options: TablesInForceOptions) {
    this.#options = options
  }

  replace(rows: Rows): void {
    const { routes, nodes, nearest, limits, revocations, log } = this.#options
    nodes.replace(rows.nodes)
    for (const address of routes.replace(rows)) log.warn({ address }, 'address outside the plan skipped')
    nearest.forgetUnless((service) => routes.service(service) !== null)
    limits.replace(rows)
    revocations.review('all')
  }

  change(changes: readonly AppliedChange[]): void {
    for (const change of changes) this.#change(change)
    this.#options.revocations.review(touchedBy(changes))
  }

  #change({ table, key, row }: AppliedChange): void {
    const { routes, nodes, nearest } = this.#options
    // The reader has checked each row against its table's schema.
    switch (table) {
      case 'networks':
        return this.#putNetwork(Number(key), row as NetworkRow | null)
      case 'services':
        if (row === null) nearest.forget(key)
        return routes.putService(key, row as ServiceRow | null)
      case 'nodes':
        return nodes.put(key, row as NodeRow | null)
      case 'addresses':
        return this.#putAddress(key, row as AddressRow | null)
      default:
    }
  }

  #putNetwork(id: number, row: NetworkRow | null): void {
    const { routes, limits } = this.#options
    routes.putNetwork(id, row)
    limits.putNetwork(id, row?.limits)
  }

  #putAddress(address: string, row: AddressRow | null): void {
    const { routes, limits, log } = this.#options
    if (!routes.putAddress(address, row)) log.warn({ address }, 'address outside the plan skipped')
    if (row === null) limits.removeAddress(address)
    else limits.putAddress(row, row.limits)
  }
}

export function touchedBy(changes: readonly AppliedChange[]): Touched {
  const keys = (table: AppliedChange['table']): Set<string> => new Set(changes.filter((change) => change.table === table).map(({ key }) => key))
  return { address: keys('addresses'), service: keys('services'), node: keys('nodes') }
}
