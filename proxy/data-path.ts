/**
 * Everything between the tables and the plane, on the thread that carries the connections: who may come in, where to,
 * what they may use, what ends them. Constructed whole once per such thread: in the program itself on the portable plane,
 * in each data thread on the io_uring one (threads/).
 */
import { Departures, quietTimer } from '../lib/departures.ts'
import type { NodeRow } from '../lib/feed/messages.ts'
import type { Logger } from '../lib/log.ts'
import type { ListenOptions, Plane } from '../lib/plane/plane.ts'
import type { ProxyConfig } from './config.ts'
import type { ConnectionRecord } from './connection-record.ts'
import { Entrance } from './entrance.ts'
import type { EntranceOptions } from './entrance.ts'
import { explain } from './explain.ts'
import type { ExplainReport } from './explain.ts'
import { Limits } from './limits/limits.ts'
import type { LimitHit } from './limits/turnstile.ts'
import { Turnstile } from './limits/turnstile.ts'
import { Nearest } from './nearest/nearest.ts'
import { Reception } from './reception.ts'
import type { ReceivedNode } from './reception.ts'
import { Revocations } from './revocations.ts'
import type { Touched } from './revocations.ts'
import type { RouteSource, TakesRoutes } from './routes.ts'
import { TablesInForce } from './tables-in-force.ts'
import type { TlsEdge } from './tls/client-tls.ts'

/** Connections that are about to be denied are held for a moment too; the plane's own limit leaves room for them. */
const UNDECIDED_CONNECTIONS = 1000

export type DataPathConfig = Pick<ProxyConfig, 'id' | 'host' | 'region' | 'prefix' | 'limits' | 'dial' | 'nearest'>

/** For logs and metrics; each is called where it happens, on this thread. */
export interface DataPathEvents {
  readonly ended: (record: ConnectionRecord) => void
  readonly dialled: (node: string, outcome: string) => void
  readonly hit: (hit: LimitHit) => void
  readonly shadowed: NonNullable<EntranceOptions['onShadowed']>
  /** So many are open now. */
  readonly opened?: (open: number) => void
}

export interface DataPathOptions {
  readonly config: DataPathConfig
  readonly plane: Plane
  readonly routes: RouteSource & TakesRoutes
  /** What is open is judged when the rows change; false: when `review` is called, as somebody else writes the routes. */
  readonly reviews?: boolean
  readonly nodes: {
    get(id: string): ReceivedNode | undefined
    replace(rows: ReadonlyMap<string, NodeRow>): void
    put(id: string, row: NodeRow | null): void
  }
  readonly tls: TlsEdge
  readonly events: DataPathEvents
  /** Of all threads together; default: those of this one. */
  readonly roomForOneMore?: () => boolean
  /** Milliseconds, monotonic. */
  readonly now: () => number
  readonly log: Logger
}

export class DataPath {
  readonly entrance: Entrance
  readonly turnstile: Turnstile
  readonly limits: Limits
  readonly tables: TablesInForce
  /** What listeners do with a connection. */
  readonly accept: Pick<ListenOptions, 'brain' | 'answer' | 'maxConnections'>
  readonly #options: DataPathOptions
  readonly #nearest: Nearest
  readonly #departures: Departures
  readonly #revocations: Revocations

  constructor(options: DataPathOptions) {
    this.#options = options
    const { config, plane, routes, nodes, tls, events, now, log, roomForOneMore, reviews = true } = options
    this.#nearest = new Nearest({ settings: config.nearest, host: config.host, region: config.region, nodes, placements: (service) => routes.placements(service) })
    this.turnstile = new Turnstile({ ...config.limits, now, onHit: events.hit })
    this.entrance = new Entrance({
      ...config.limits,
      decide: (source, destination, port) => routes.decide(source, destination, port),
      turnstile: this.turnstile,
      onHit: events.hit,
      onShadowed: events.shadowed,
      ...(roomForOneMore && { roomForOneMore }),
      ...(events.opened && { onOpen: events.opened }),
    })
    this.limits = new Limits({ turnstile: this.turnstile, plane, now })
    this.#departures = new Departures({ nowMs: now, setTimer: quietTimer, cut: (id) => void plane.cut(id) })
    this.#revocations = new Revocations({ entrance: this.entrance, routes, nodes, departures: this.#departures, log })
    this.tables = new TablesInForce({ routes, nodes, nearest: this.#nearest, limits: this.limits, revocations: reviews ? this.#revocations : { review: () => {} }, log })
    const onEnd = (record: ConnectionRecord): void => {
      this.#departures.forget(record.id)
      events.ended(record)
    }
    const reception = new Reception({
      self: `proxy/${config.id}`,
      entrance: this.entrance,
      turnstile: this.turnstile,
      revocations: this.#revocations,
      nearest: this.#nearest,
      nodes,
      dial: config.dial,
      tls,
      now,
      onDial: events.dialled,
      onEnd,
      log,
    })
    this.accept = {
      brain: (id) => reception.brain(id),
      answer: (id, question) => reception.answer(id, question),
      maxConnections: config.limits.maxConnections + UNDECIDED_CONNECTIONS,
    }
  }

  /** What is open and concerned by a change is judged anew. */
  review(touched: Touched | 'all'): void {
    this.#revocations.review(touched)
  }

  /** A node became unwell, or well again: what is open on it is judged anew. */
  nodeChanged(node: string): void {
    this.#revocations.review({ node: [node] })
  }

  /** @throws NearcastError address.invalid, network.missing */
  explain(params: unknown, revision: number): ExplainReport {
    const { config } = this.#options
    const { admissions } = this.turnstile
    return explain(params, { proxy: config.id, revision, prefix: prefixOf(config), routes: this.#options.routes, nearest: this.#nearest, settings: config.nearest, limits: this.limits, admissions })
  }

  /** Nobody waits for a turn or a cut any more. */
  close(): void {
    this.#departures.stop()
    this.turnstile.close()
  }
}

export function prefixOf(config: Pick<ProxyConfig, 'prefix'>): number {
  return Number.parseInt(config.prefix, 16)
}
