/** The backbone's metrics. */
import type { Metrics } from '../../lib/metrics.ts'
import type { DropReason } from '../../lib/wireguard/drops.ts'

export interface BackboneState {
  readonly path: 'fast' | 'portable' | 'kernel'
  /** By the last look: hosts that the feed names, and those that are reached. */
  readonly hosts: () => { readonly known: number; readonly reached: number }
  readonly bytes: () => { readonly received: number; readonly sent: number }
  readonly drops: () => ReadonlyMap<DropReason, number>
  readonly feed: () => { readonly state: string; readonly revision: number }
}

export function backboneMetrics(metrics: Metrics, { path, hosts, bytes, drops, feed }: BackboneState): void {
  metrics.gauge('path', '1 for how packets come and go', ['path'], (gauge) => gauge.set({ path }, 1))
  metrics.gauge('hosts', 'Other hosts: that the feed names, and that are reached through the backbone', ['state'], (gauge) => {
    const { known, reached } = hosts()
    gauge.set({ state: 'known' }, known)
    gauge.set({ state: 'reached' }, reached)
  })
  metrics.gauge('bytes', 'Sealed bytes of the hosts that it holds now', ['direction'], (gauge) => {
    const { received, sent } = bytes()
    gauge.set({ direction: 'received' }, received)
    gauge.set({ direction: 'sent' }, sent)
  })
  metrics.gauge('dropped', 'Datagrams and packets that were thrown away', ['reason'], (gauge) => {
    for (const [reason, count] of drops()) gauge.set({ reason }, count)
  })
  metrics.gauge('feed_connected', '1 while the feed is connected', [], (gauge) => gauge.set(feed().state === 'connected' ? 1 : 0))
  metrics.gauge('feed_revision', 'Revision in force', [], (gauge) => gauge.set(feed().revision))
}
