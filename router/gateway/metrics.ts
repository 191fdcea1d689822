/** The gateway's metrics. */
import type { Metrics } from '../../lib/metrics.ts'
import type { DataPathState } from './data-path.ts'

export interface GatewayState {
  readonly path: 'fast' | 'portable'
  /** Asked of another thread. */
  readonly data: () => Promise<DataPathState>
  readonly feed: () => { readonly state: string; readonly revision: number }
}

export function gatewayMetrics(metrics: Metrics, { path, data, feed }: GatewayState): void {
  metrics.gauge('path', '1 for how packets come and go', ['path'], (gauge) => gauge.set({ path }, 1))
  metrics.gauge('peers', 'WireGuard peers: that the feed names, that are in the device, and that are at other gateways', ['state'], async (gauge) => {
    const { peers } = await data()
    gauge.set({ state: 'known' }, peers.known)
    gauge.set({ state: 'installed' }, peers.installed)
    gauge.set({ state: 'elsewhere' }, peers.elsewhere)
  })
  metrics.gauge('gateways', 'Other gateways: that the feed names, and that are reached', ['state'], async (gauge) => {
    const { gateways } = await data()
    gauge.set({ state: 'known' }, gateways.known)
    gauge.set({ state: 'reached' }, gateways.reached)
  })
  metrics.gauge('peers_refused', 'Handshakes of peers for which there was no room', [], async (gauge) => gauge.set((await data()).peers.refused))
  metrics.gauge('dropped', 'Datagrams and packets that were thrown away', ['where', 'reason'], async (gauge) => {
    const { deviceDrops, innerDrops } = await data()
    for (const [reason, count] of deviceDrops) gauge.set({ where: 'wireguard', reason }, count)
    for (const [reason, count] of innerDrops) gauge.set({ where: 'inner', reason }, count)
  })
  metrics.gauge('packets', 'Packets inside, that passed: from peers to the host, from the host, from peer to peer', ['direction'], async (gauge) => {
    const { packets } = await data()
    for (const direction of ['received', 'sent', 'crossed'] as const) gauge.set({ direction }, packets[direction])
  })
  metrics.gauge('bytes', 'Bytes of packets inside, that passed, likewise', ['direction'], async (gauge) => {
    const { bytes } = await data()
    for (const direction of ['received', 'sent', 'crossed'] as const) gauge.set({ direction }, bytes[direction])
  })
  metrics.gauge('websockets', 'Open WebSockets', [], async (gauge) => gauge.set((await data()).webSockets))
  metrics.gauge('feed_connected', '1 while the feed is connected', [], (gauge) => gauge.set(feed().state === 'connected' ? 1 : 0))
  metrics.gauge('feed_revision', 'Revision in force', [], (gauge) => gauge.set(feed().revision))
}
