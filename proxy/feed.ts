/**
 * Puts the feed's table in force: what connections are decided by at once (tables-in-force.ts), then what that needs of
 * the host (local prefixes, listeners, the guard's ports), one step after the other. What `apply` has resolved for can
 * be dialled.
 *
 * Order: what clients could reach is taken away from the routes first and from the host last; what is new is given to
 * the host before anybody is told.
 */
import { asNetworkId } from '../lib/address.ts'
import type { NetworkId } from '../lib/address.ts'
import type { AppliedChange, Changes, FailedService, FeedTable } from '../lib/feed/reader.ts'
import { asNearcastError } from '../lib/errors.ts'
import type { NearcastError } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import type { Listeners } from './listeners.ts'
import type { Routes } from './routes.ts'
import type { TakesRows } from './tables-in-force.ts'

/** The host's side; absent where the operator manages the host. */
export interface HostNetwork {
  replace(networks: Iterable<NetworkId>): Promise<void>
  change(added: Iterable<NetworkId>, removed: Iterable<NetworkId>): Promise<void>
  open(ports: readonly number[]): Promise<void>
}

export interface FeedOptions {
  readonly routes: Pick<Routes, 'ports' | 'networks' | 'servicesOn'>
  readonly tables: TakesRows
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
    const { tables } = this.#options
    const inForce = typeof changes === 'string' ? tables.replace(table) : tables.change(changes)
    const touched = typeof changes === 'string' ? null : touchedNetworks(changes)
    return this.#enqueue(touched, servicesOf(changes, table), inForce)
  }

  /** Stops the retries; the last step under way ends by itself. */
  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#retry)
    await this.#queue
  }

  #enqueue(touched: ReadonlySet<NetworkId> | null, services: () => readonly string[], inForce: Promise<void> | void): Promise<FailedService[]> {
    const step = this.#queue.then(async () => {
      await inForce
      return this.#bringInLine(touched, services)
    })
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
      this.#retry = setTimeout(() => void this.#enqueue(null, () => [], undefined), RETRY_MS)
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
