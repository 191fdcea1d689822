/**
 * The proxy's metrics. Everything that a tenant can multiply (networks, services) has a bounded number of label values;
 * later ones are counted together as `other`.
 */
import type { Metrics } from '../lib/metrics.ts'
import type { RateWaits } from '../lib/plane/plane.ts'
import type { ConnectionRecord, Denial } from './connection-record.ts'
import type { Dropped } from './host/guard.ts'
import type { LimitHit } from './limits/turnstile.ts'
import type { Node } from './nearest/node.ts'
import type { Certificate } from './tls/certificates.ts'

const MAX_SERVICE_LABELS = 1000
const OTHER = 'other'
const DURATION_BUCKETS_SECONDS = [0.01, 0.1, 1, 10, 60, 600, 3600, 86_400]
const CONNECT_BUCKETS_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10]

/** Read when somebody scrapes. */
export interface MeasuredState {
  readonly openConnections: () => number
  readonly rejected: () => number
  /** Data threads that took the place of one that had ended. */
  readonly replacedThreads: () => number
  readonly addresses: () => number
  readonly ports: () => number
  readonly nodes: () => Iterable<Node>
  readonly feed: () => { readonly state: string; readonly revision: number }
  readonly dropped: () => readonly Dropped[]
  /** Connections that wait for their turn at a limit. */
  readonly waiting: () => number
  readonly tls: () => { readonly handshakes: number; readonly certificates: readonly Certificate[]; readonly reloads: { readonly succeeded: number; readonly failed: number } }
  /** How often connections under a byte rate had to wait; `address` null: a network's rate. */
  readonly rates: () => readonly { readonly network: number; readonly address: string | null; readonly waits: RateWaits }[]
}

type ServiceLabel = 'network' | 'service'

/** Where it counts: the program's metrics, or a data thread's tally on the way to them. */
export interface Meter {
  counter<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Counts<Label>
  histogram(name: string, help: string, buckets: readonly number[]): Observes
}

export interface Counts<Label extends string> {
  inc(labels: Record<Label, string>, value?: number): void
}

export interface Observes {
  observe(value: number): void
}

export class Measures {
  readonly #connections: Counts<'outcome'>
  readonly #perService: Counts<ServiceLabel>
  readonly #bytes: Counts<ServiceLabel | 'direction'>
  readonly #denied: Counts<'reason'>
  readonly #shadowed: Counts<'reason'>
  readonly #dials: Counts<'node' | 'outcome'>
  readonly #tls: Counts<'mode'>
  readonly #handshakes: Counts<'version' | 'resumed'>
  readonly #tlsFailures: Counts<'reason'>
  readonly #limited: Counts<ServiceLabel | 'org' | 'limit' | 'outcome'>
  readonly #ended: (record: ConnectionRecord) => void
  readonly #services = new Set<string>()

  constructor(metrics: Meter) {
    this.#connections = metrics.counter('connections_total', 'Ended client connections by outcome', ['outcome'])
    this.#perService = metrics.counter('service_connections_total', 'Ended connections that passed isolation', ['network', 'service'])
    this.#bytes = metrics.counter('bytes_total', 'Payload carried: up is client to node', ['network', 'service', 'direction'])
    this.#denied = metrics.counter('denied_total', 'Connections reset before anything was dialled or read', ['reason'])
    this.#shadowed = metrics.counter('shadowed_total', 'Connections of services in shadow mode that the isolation rule would have refused', ['reason'])
    this.#dials = metrics.counter('dials_total', 'Tries at nodes by outcome', ['node', 'outcome'])
    this.#limited = metrics.counter('limited_total', 'New connections beyond a limit: they waited for their turn, or were refused', ['network', 'org', 'service', 'limit', 'outcome'])
    this.#tls = metrics.counter('tls_connections_total', 'Connections to addresses with a TLS policy: plain, terminated, passthrough, failed', ['mode'])
    this.#handshakes = metrics.counter('tls_handshakes_total', 'Handshakes that succeeded', ['version', 'resumed'])
    this.#tlsFailures = metrics.counter('tls_failures_total', 'Client connections that ended in or before their TLS handshake', ['reason'])
    const duration = metrics.histogram('connection_duration_seconds', 'Life of carried connections', DURATION_BUCKETS_SECONDS)
    const connect = metrics.histogram('connect_seconds', 'From accepted until a node took the connection', CONNECT_BUCKETS_SECONDS)
    this.#ended = (record) => {
      if (record.connectMs === null) return
      connect.observe(record.connectMs / 1000)
      duration.observe(record.durationMs / 1000)
    }
  }

  dialled(node: string, outcome: string): void {
    this.#dials.inc({ node, outcome })
  }

  limited({ place, org, service, limit, outcome }: LimitHit): void {
    const labels = this.#labels(place.network, service)
    this.#limited.inc({ ...labels, org: labels.service === OTHER ? OTHER : org, limit, outcome })
  }

  shadowed({ reason }: Denial): void {
    this.#shadowed.inc({ reason })
  }

  ended(record: ConnectionRecord): void {
    this.#connections.inc({ outcome: record.outcome })
    if (record.denial) this.#denied.inc({ reason: record.denial.reason })
    this.#secured(record)
    this.#ended(record)
    if (!record.route) return
    const labels = this.#labels(record.route.network, record.route.service)
    this.#perService.inc(labels)
    this.#bytes.inc({ ...labels, direction: 'up' }, record.bytesUp)
    this.#bytes.inc({ ...labels, direction: 'down' }, record.bytesDown)
  }

  #secured({ tls }: ConnectionRecord): void {
    if (!tls) return
    this.#tls.inc({ mode: tls.mode })
    if (tls.mode === 'failed') this.#tlsFailures.inc({ reason: tls.reason })
    if (tls.mode === 'terminated') this.#handshakes.inc({ version: tls.session.protocol, resumed: String(tls.session.resumed) })
  }

  #labels(network: number, service: string): Record<ServiceLabel, string> {
    if (!this.#services.has(service)) {
      if (this.#services.size >= MAX_SERVICE_LABELS) return { network: OTHER, service: OTHER }
      this.#services.add(service)
    }
    return { network: String(network), service }
  }
}

/** What is read when somebody scrapes. */
export function measureState(metrics: Metrics, state: MeasuredState): void {
  metrics.gauge('connections_waiting', 'Connections that wait for their turn at a limit', [], (gauge) => gauge.set(state.waiting()))
  metrics.gauge('rate_waits', 'How often a sender was held back since its byte rate was set', ['network', 'address', 'direction'], (gauge) => {
    gauge.reset()
    for (const { network, address, waits } of state.rates().slice(0, MAX_SERVICE_LABELS)) {
      for (const direction of ['up', 'down'] as const) gauge.set({ network: String(network), address: address ?? 'all', direction }, waits[direction])
    }
  })
  metrics.gauge('tls_handshakes_open', 'Clients between their first byte of TLS and the end of their handshake', [], (gauge) => gauge.set(state.tls().handshakes))
  metrics.gauge('tls_certificate_expiry_seconds', 'When the certificate of a name ends, as Unix time', ['name'], (gauge) => {
    gauge.reset()
    for (const { names, expiresAtMs } of state.tls().certificates.slice(0, MAX_SERVICE_LABELS)) gauge.set({ name: names[0] ?? '' }, expiresAtMs / 1000)
  })
  metrics.gauge('tls_reloads', 'Times that certificates were read anew since the start', ['outcome'], (gauge) => {
    const { succeeded, failed } = state.tls().reloads
    gauge.set({ outcome: 'succeeded' }, succeeded)
    gauge.set({ outcome: 'failed' }, failed)
  })
  metrics.gauge('connections_open', 'Client connections that are open now', [], (gauge) => gauge.set(state.openConnections()))
  metrics.gauge('data_threads_replaced', 'Data threads that took the place of one that ended after a defect', [], (gauge) => gauge.set(state.replacedThreads()))
  metrics.gauge('connections_rejected', 'Reset by the plane, which held too many', [], (gauge) => gauge.set(state.rejected()))
  metrics.gauge('addresses', 'Flycast addresses in force', [], (gauge) => gauge.set(state.addresses()))
  metrics.gauge('listeners', 'Ports that are listened on', [], (gauge) => gauge.set(state.ports()))
  metrics.gauge('feed_revision', 'Revision of the table in force', [], (gauge) => gauge.set(state.feed().revision))
  metrics.gauge('feed_connected', '1 while the router is connected; otherwise the last good table serves', [], (gauge) =>
    gauge.set(state.feed().state === 'connected' ? 1 : 0),
  )
  metrics.gauge('node_latency_seconds', 'Smoothed round trip of probes', ['node', 'region'], (gauge) =>
    each(state.nodes(), gauge, (node) => (node.latency.smoothedMs === null ? null : node.latency.smoothedMs / 1000)),
  )
  metrics.gauge('node_healthy', '1 while probes and dials succeed', ['node', 'region'], (gauge) =>
    each(state.nodes(), gauge, (node) => (node.health.healthy ? 1 : 0)),
  )
  metrics.gauge('node_connections', 'Connections that this proxy carries to it', ['node', 'region'], (gauge) =>
    each(state.nodes(), gauge, (node) => node.connections),
  )
  metrics.gauge('guard_dropped_packets', 'Dropped by the host packet filter since it was installed', ['interface', 'reason'], (gauge) => {
    for (const { interface: name, reason, packets } of state.dropped()) gauge.set({ interface: name, reason }, packets)
  })
}

/** Nodes that are gone leave no value behind. */
function each(
  nodes: Iterable<Node>,
  gauge: { reset(): void; set(labels: { node: string; region: string }, value: number): void },
  valueOf: (node: Node) => number | null,
): void {
  gauge.reset()
  for (const node of nodes) {
    const value = valueOf(node)
    if (value !== null) gauge.set({ node: node.row.id, region: node.row.region }, value)
  }
}
