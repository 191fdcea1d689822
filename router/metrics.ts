/** The router's metrics. */
import { JOINING_KINDS } from '../lib/identity.ts'
import type { Counter, Metrics } from '../lib/metrics.ts'
import type { Registry } from './registry/registry.ts'

export interface RouterMetrics {
  readonly requests: Counter<'method' | 'status'>
}

export function routerMetrics(metrics: Metrics, registry: Registry): RouterMetrics {
  metrics.gauge('feed_readers', 'Connected readers', ['kind'], (gauge) => {
    for (const kind of JOINING_KINDS) gauge.set({ kind }, registry.feed.connected(kind).length)
  })
  metrics.gauge('revision', 'Revision of the registry', [], (gauge) => gauge.set(registry.store.revision))
  return { requests: metrics.counter('api_requests_total', 'API requests', ['method', 'status']) }
}
