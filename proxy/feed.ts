/**
 * Puts the feed's table in force: nodes and routes at once, then what they need of the host (local prefixes, listeners,
 * the guard's ports), one step after the other. What `apply` has resolved for can be dialled.
 *
 * Order: what clients could reach is taken away from the routes first and from the host last; what is new is given to
 * the host before anybody is told. Limits change with their rows. Live connections that a change concerns are judged anew
 * once the whole change is in the tables (revocations.ts).
 */
import { asNetworkId } from '../lib/address.ts'
import type { NetworkId } from '../lib/address.ts'
import type { AddressRow, NetworkRow, NodeRow, ServiceRow } from '../lib/feed/messages.ts'
import type { AppliedChange, Changes, FailedService, FeedTable } from '../lib/feed/reader.ts'
import { asNearcastError } from '../lib/errors.ts'
import type { NearcastError } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import type { Limits } from './limits/limits.ts'
import type { Listeners } from './listeners.ts'
import type { Nearest } from './nearest/nearest.ts'
import type { Revocations, Touched } from './revocations.ts'
import type { Routes } from './routes.ts'

/** The host's side; absent where the operator manages the host. */
export interface HostNetwork {
  replace(networks: Iterable<NetworkId>): Promise<void>
  change(added: Iterable<NetworkId>, removed: Iterable<NetworkId>): Promise<void>
  open(ports: readonly number[]): Promise<void>
}

export interface FeedOptions {
  readonly routes: Routes
  readonly nodes: { replace(rows: ReadonlyMap<string, NodeRow>): void; put(id: string, row: NodeRow | null): void }
  readonly nearest: Pick<Nearest, 'forget' | 'forgetExcept'>
  readonly limits: Pick<Limits, 'replace' | 'putNetwork' | 'putAddress' | 'removeAddress'>
  readonly revocations: Pick<Revocations, 'review'>
  readonly listeners: Pick<Listeners, 'open' | 'closeExcept' | 'ports'>
  readonly host: HostNetwork | null
  readonly log: Logger
}

/** After a failure the host is brought in line again and again. */
const RETRY_MS = 5000
const MAX_FAILED = 1000

export class Feed {
  readonly #options: FeedOptions
  #queue: Promise<void> = Promise.resolve()
  #retry: NodeJS.Timeout | undefined
  #stopped = false
  #applied = false
  #faults: readonly string[] = []

  constructor(options: FeedOptions) {
    this.#options = options
  }

  /** Why clients may not be served as the table says. */
  get faults(): readonly string[] {
    return this.#applied ? this.#faults : ['no table yet']
  }

  /** Calls may overlap: tables change at once, the host in order. Never rejects: what failed is named, and tried again. */
  apply(table: FeedTable, changes: Changes): Promise<FailedService[]> {
    if (typeof changes === 'string') this.#snapshot(table)
    else this.#changes(changes)
    const touched = typeof changes === 'string' ? null : touchedNetworks(changes)
    return this.#enqueue(touched, servicesOf(changes, table))
  }

  /** Stops the retries; the last step under way ends by itself. */
  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#retry)
    await this.#queue
  }

  #snapshot(table: FeedTable): void {
    const { routes, nodes, nearest, limits, revocations, log } = this.#options
    nodes.replace(table.nodes)
    nearest.forgetExcept(table.services)
    for (const address of routes.replace(table)) log.warn({ address }, 'address outside the plan skipped')
    limits.replace(table)
    revocations.review('all')
  }

  #changes(changes: readonly AppliedChange[]): void {
    for (const change of changes) this.#change(change)
    const keys = (table: AppliedChange['table']): Set<string> => new Set(changes.filter((change) => change.table === table).map(({ key }) => key))
    const touched: Touched = { address: keys('addresses'), service: keys('services'), node: keys('nodes') }
    this.#options.revocations.review(touched)
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
      case 'dialers':
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

  #enqueue(touched: ReadonlySet<NetworkId> | null, services: () => readonly string[]): Promise<FailedService[]> {
    const step = this.#queue.then(() => this.#bringInLine(touched, services))
    this.#queue = step.then(() => undefined)
    return step
  }

  /** `touched` null: everything. The host gets what the routes say now, which may be newer than what was asked. */
  async #bringInLine(touched: ReadonlySet<NetworkId> | null, services: () => readonly string[]): Promise<FailedService[]> {
    const { routes, listeners, host, log } = this.#options
    const ports = routes.ports()
    const gone = [...(touched ?? [])].filter((network) => !routes.networks.has(network))
    const added = [...(touched ?? [])].filter((network) => routes.networks.has(network))
    try {
      if (touched === null) await host?.replace(routes.networks)
      else await host?.change(added, [])
      const failedPorts = await listeners.open(ports)
      await host?.open(listeners.ports().filter((port) => ports.includes(port)))
      await listeners.closeExcept(ports)
      if (touched !== null) await host?.change([], gone)
      return this.#settle([...failedPorts].flatMap(([port, error]) => routes.servicesOn(port).map((service) => failure(service, error))))
    } catch (error) {
      const fault = asNearcastError(error)
      log.error({ code: fault.code }, fault.message)
      return this.#settle(services().map((service) => failure(service, fault)), fault)
    }
  }

  #settle(failed: FailedService[], fault?: NearcastError): FailedService[] {
    this.#applied = true
    this.#faults = [...new Set([...(fault ? [`${fault.code}: ${fault.message}`] : []), ...failed.map(({ code, message }) => `${code}: ${message}`)])]
    clearTimeout(this.#retry)
    if (this.#faults.length > 0 && !this.#stopped) {
      this.#retry = setTimeout(() => void this.#enqueue(null, () => []), RETRY_MS)
      this.#retry.unref()
    }
    return failed.slice(0, MAX_FAILED)
  }
}

function failure(service: string, { code, message }: NearcastError): FailedService {
  return { service, code, message: message.slice(0, 512) }
}

function touchedNetworks(changes: readonly AppliedChange[]): Set<NetworkId> {
  return new Set(changes.filter(({ table }) => table === 'networks').map(({ key }) => asNetworkId(Number(key))))
}

/** Whom a fault of the host concerns; asked only when there is one. */
function servicesOf(changes: Changes, table: FeedTable): () => readonly string[] {
  return () => {
    const keys = typeof changes === 'string' ? [...table.services.keys()] : changes.filter((change) => change.table === 'services').map(({ key }) => key)
    return keys.filter((key) => table.services.has(key)).slice(0, MAX_FAILED)
  }
}
