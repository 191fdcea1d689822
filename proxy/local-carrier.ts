/** The program's own thread carries the connections: on the portable plane, or where one thread is all that is wanted. */
import type { Logger } from '../lib/log.ts'
import type { Plane, RateWaits } from '../lib/plane/plane.ts'
import type { Carrier } from './carrier.ts'
import { DataPath, prefixOf } from './data-path.ts'
import type { DataPathConfig, DataPathOptions } from './data-path.ts'
import type { ExplainReport } from './explain.ts'
import { Routes } from './routes.ts'
import type { OpenTlsEdge } from './tls/edge.ts'

export interface LocalCarrierOptions {
  readonly config: DataPathConfig
  readonly plane: Plane
  readonly nodes: DataPathOptions['nodes']
  readonly edge: OpenTlsEdge
  readonly events: DataPathOptions['events']
  readonly now: () => number
  readonly log: Logger
}

export class LocalCarrier implements Carrier {
  readonly plane: Plane
  readonly routes: Routes
  readonly #data: DataPath
  readonly #edge: OpenTlsEdge

  constructor({ config, plane, nodes, edge, events, now, log }: LocalCarrierOptions) {
    this.plane = plane
    this.#edge = edge
    this.routes = new Routes(prefixOf(config))
    this.#data = new DataPath({ config, plane, routes: this.routes, nodes, tls: edge, events, now, log })
  }

  get accept(): Carrier['accept'] {
    return this.#data.accept
  }

  get tables(): Carrier['tables'] {
    return this.#data.tables
  }

  get open(): number {
    return this.#data.entrance.open
  }

  get waiting(): number {
    return this.#data.turnstile.admissions.waiting
  }

  get handshakes(): number {
    return this.#edge.state().handshakes
  }

  rates(): readonly { readonly network: number; readonly address: string | null; readonly waits: RateWaits }[] {
    return this.#data.limits.rates()
  }

  explain(params: unknown, revision: number): ExplainReport {
    return this.#data.explain(params, revision)
  }

  nodeChanged(node: string): void {
    this.#data.nodeChanged(node)
  }

  drain(): void {
    this.#data.entrance.drain()
  }

  async close(): Promise<void> {
    this.#data.close()
    await this.plane.destroy()
  }
}
