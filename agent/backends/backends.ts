/**
 * The services of this node that aren't databases of ours (kinds tcp and postgres): each is handed on to the backend that
 * its row names, if the operator of this host allows that. Room between the feed and the watches; it says which service
 * is available, and what a connection is handed on to.
 */
import { parseBackend } from '../../lib/backend.ts'
import type { ProxyHeaderVersion } from '../../lib/backend.ts'
import { NearcastError, asNearcastError } from '../../lib/errors.ts'
import type { FailedService } from '../../lib/feed/reader.ts'
import type { ServiceRow } from '../../lib/feed/messages.ts'
import type { HopConnection } from '../../lib/hop/header.ts'
import type { Logger } from '../../lib/log.ts'
import { encodeV1, encodeV2 } from '../../lib/proxy-protocol/encode.ts'
import type { EngineAnswer } from '../connection.ts'
import type { AllowList } from './allow-list.ts'
import { BackendWatch } from './backend-watch.ts'
import type { BackendWatchOptions } from './backend-watch.ts'
import type { CheckedBackend } from './check.ts'

export interface BackendsOptions {
  readonly allow: AllowList
  readonly check: BackendWatchOptions['check']
  readonly checkIntervalMs: number
  readonly checkTimeoutMs: number
  readonly log: Logger
  /** service -> reason code, whole, on every change. */
  readonly publish: (unavailable: Readonly<Record<string, string>>) => void
}

interface Entry {
  /** What it was made of: a row that says the same changes nothing. */
  readonly text: string
  /** Or why it isn't served. */
  readonly watch: BackendWatch | NearcastError
}

export class Backends {
  readonly #options: BackendsOptions
  readonly #entries = new Map<string, Entry>()
  #published = '{}'

  constructor(options: BackendsOptions) {
    this.#options = options
  }

  /** service -> its watch, or why it isn't served. */
  get services(): ReadonlyMap<string, BackendWatch | NearcastError> {
    return new Map([...this.#entries].map(([service, { watch }]) => [service, watch]))
  }

  /** Takes the rows as they are now. Resolves once every new one has been checked; `changed` null: all of them count. */
  async apply(rows: ReadonlyMap<string, ServiceRow>, changed: ReadonlySet<string> | null): Promise<FailedService[]> {
    for (const service of this.#entries.keys()) if (!rows.has(service)) this.#remove(service)
    const concerned = [...rows.values()].filter(({ id }) => changed === null || changed.has(id))
    for (const row of concerned) this.#put(row)
    this.#changed()
    const failed = await Promise.all(concerned.map(({ id }) => this.#settled(id)))
    return failed.flatMap((failure) => failure ?? [])
  }

  has(service: string): boolean {
    return this.#entries.has(service)
  }

  /** What a connection is handed on to. Also of one that failed its last check: the dial is the better witness. */
  answer(connection: Pick<HopConnection, 'service' | 'source' | 'destination'>): EngineAnswer {
    const watch = this.#entries.get(connection.service)?.watch
    if (watch === undefined) return { unavailable: 'service.backend-missing' }
    if (!(watch instanceof BackendWatch)) return { unavailable: watch.code }
    const { target, proxyHeader } = watch.backend
    return { target, header: headerFor(proxyHeader, connection) }
  }

  /** A connection could not be handed on. */
  failed(service: string): void {
    const watch = this.#entries.get(service)?.watch
    if (watch instanceof BackendWatch) void watch.check()
  }

  /** Idempotent. */
  stop(): void {
    for (const service of this.#entries.keys()) this.#remove(service)
  }

  #put(row: ServiceRow): void {
    const { log } = this.#options
    const text = JSON.stringify([row.kind, row.backend])
    if (this.#entries.get(row.id)?.text === text) return
    this.#remove(row.id)
    try {
      this.#entries.set(row.id, { text, watch: this.#watch(row.id, this.#backendOf(row)) })
    } catch (error) {
      const failure = asNearcastError(error)
      this.#entries.set(row.id, { text, watch: failure })
      log.error({ service: row.id, code: failure.code }, failure.message)
    }
  }

  /** @throws NearcastError service.backend-missing, service.backend-invalid, service.backend-denied, service.unsupported */
  #backendOf({ id, kind, backend }: ServiceRow): CheckedBackend {
    if (kind === 'redis') throw new NearcastError('service.unsupported', `${id} is a database; it has no backend.`)
    if (backend === undefined) throw new NearcastError('service.backend-missing', `${id} names no backend; make it again with one.`)
    const target = parseBackend(backend.target)
    if (!this.#options.allow.allows(target)) {
      throw new NearcastError('service.backend-denied', `This agent may not hand ${id} on to ${backend.target}; its operator would add that to backends.allow.`)
    }
    return { kind, target, proxyHeader: backend.proxyHeader }
  }

  #watch(service: string, backend: CheckedBackend): BackendWatch {
    const { check, checkIntervalMs, checkTimeoutMs, log } = this.#options
    return new BackendWatch({ service, backend, check, intervalMs: checkIntervalMs, timeoutMs: checkTimeoutMs, log, changed: () => this.#changed() })
  }

  #remove(service: string): void {
    const watch = this.#entries.get(service)?.watch
    if (watch instanceof BackendWatch) watch.stop()
    this.#entries.delete(service)
  }

  #changed(): void {
    const unavailable: Record<string, string> = {}
    for (const [service, { watch }] of this.#entries) {
      const reason = watch instanceof BackendWatch ? watch.reason : watch.code
      if (reason !== null) unavailable[service] = reason
    }
    const text = JSON.stringify(unavailable)
    if (text === this.#published) return
    this.#published = text
    this.#options.publish(unavailable)
  }

  async #settled(service: string): Promise<FailedService | null> {
    const watch = this.#entries.get(service)?.watch
    if (watch === undefined) return null
    if (!(watch instanceof BackendWatch)) return { service, code: watch.code, message: watch.message }
    if (watch.reason === 'service.backend-unchecked') await watch.check()
    return watch.reason === null || this.#entries.get(service)?.watch !== watch
      ? null
      : { service, code: watch.reason, message: 'The backend does not answer; it is tried again and again.' }
  }
}

/** Source and destination are the client's own: the destination is the tenant. @throws NearcastError proxy-header.invalid */
function headerFor(version: ProxyHeaderVersion, { source, destination }: Pick<HopConnection, 'source' | 'destination'>): Uint8Array {
  const addresses = { family: 'ipv6', transport: 'stream', source, destination } as const
  if (version === 'none') return new Uint8Array()
  return version === 'v1' ? encodeV1(addresses) : encodeV2({ command: 'proxy', addresses })
}
