/**
 * Which live connections lost their ground, and what that means for them (lib/live-policy.ts has the table): judged from
 * the tables in force, on every change that touches their address, service or node. Cuts at once or counts down.
 */
import type { Departure, Departures } from '../lib/departures.ts'
import { liveForMs } from '../lib/live-policy.ts'
import type { Logger } from '../lib/log.ts'
import type { Entrance, OpenConnection } from './entrance.ts'
import type { Node } from './nearest/node.ts'
import type { RouteSource } from './routes.ts'

/** Keys whose rows have changed. */
export interface Touched {
  readonly address?: Iterable<string>
  readonly service?: Iterable<string>
  readonly node?: Iterable<string>
}

export interface RevocationsOptions {
  readonly entrance: Pick<Entrance, 'connection' | 'of' | 'ids'>
  readonly routes: Pick<RouteSource, 'findText' | 'service'>
  readonly nodes: { get(id: string): (Pick<Node, 'row'> & { readonly health: { readonly healthy: boolean } }) | undefined }
  readonly departures: Pick<Departures, 'review'>
  readonly log: Logger
}

export class Revocations {
  readonly #options: RevocationsOptions

  constructor(options: RevocationsOptions) {
    this.#options = options
  }

  review(touched: Touched | 'all'): void {
    const { entrance, departures, log } = this.#options
    const ids = touched === 'all' ? new Set(entrance.ids()) : this.#concerned(touched)
    const leaving = new Map<string, number>()
    for (const id of ids) {
      const connection = entrance.connection(id)
      if (connection === undefined) continue
      const causes = this.#causes(connection)
      for (const { cause } of causes) leaving.set(cause, (leaving.get(cause) ?? 0) + 1)
      departures.review(id, causes)
    }
    for (const [cause, connections] of leaving) log.info({ cause, connections }, 'live connections lost their ground')
  }

  /** One connection that has only now got its node. */
  judge(id: number): void {
    const connection = this.#options.entrance.connection(id)
    if (connection !== undefined) this.#options.departures.review(id, this.#causes(connection))
  }

  #concerned(touched: Touched): Set<number> {
    const { entrance } = this.#options
    const ids = new Set<number>()
    for (const what of ['address', 'service', 'node'] as const) {
      for (const key of touched[what] ?? []) for (const id of entrance.of(what, key)) ids.add(id)
    }
    return ids
  }

  #causes({ address, service, generation, node }: Readonly<OpenConnection>): Departure[] {
    const { routes, nodes } = this.#options
    const row = routes.service(service)
    if (row === null) return [{ cause: 'service removed', afterMs: 0 }]
    const causes: Departure[] = []
    const route = routes.findText(address)
    if (route?.service !== service || route.generation !== generation) causes.push({ cause: 'address revoked', afterMs: liveForMs(row.live, 'revoked') })
    if (node === null) return causes
    const known = nodes.get(node)
    if (known === undefined) causes.push({ cause: 'node revoked', afterMs: 0 })
    else if (!row.placements.some((placement) => placement.node === node)) causes.push({ cause: 'service moved', afterMs: 0 })
    else if (known.row.draining === true) causes.push({ cause: 'node draining', afterMs: liveForMs(row.live, 'node') })
    else if (!known.health.healthy) causes.push({ cause: 'node unhealthy', afterMs: liveForMs(row.live, 'node') })
    return causes
  }
}
