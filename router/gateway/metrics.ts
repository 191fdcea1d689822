/** The gateway's metrics. */
import type { Metrics } from '../../lib/metrics.ts'
import type { Device } from '../../lib/wireguard/device.ts'
import type { GuardedTun } from './guarded-tun.ts'
import type { GatewayPeers } from './peers.ts'

export interface GatewayState {
  readonly path: 'fast' | 'portable'
  readonly device: Pick<Device, 'drops'>
  readonly tun: Pick<GuardedTun, 'drops' | 'bytes' | 'packets'>
  readonly peers: Pick<GatewayPeers, 'known' | 'installed' | 'refused'>
  readonly webSockets: () => number
  readonly feed: () => { readonly state: string; readonly revision: number }
}

export function gatewayMetrics(metrics: Metrics, { path, device, tun, peers, webSockets, feed }: GatewayState): void {
  metrics.gauge('path', '1 for how packets come and go', ['path'], (gauge) => gauge.set({ path }, 1))
  metrics.gauge('peers', 'WireGuard peers: that the feed names, and that are in the device', ['state'], (gauge) => {
    gauge.set({ state: 'known' }, peers.known)
    gauge.set({ state: 'installed' }, peers.installed)
  })
  metrics.gauge('peers_refused', 'Handshakes of peers for which there was no room', [], (gauge) => gauge.set(peers.refused))
  metrics.gauge('dropped', 'Datagrams and packets that were thrown away', ['where', 'reason'], (gauge) => {
    for (const [reason, count] of device.drops) gauge.set({ where: 'wireguard', reason }, count)
    for (const [reason, count] of tun.drops) gauge.set({ where: 'inner', reason }, count)
  })
  metrics.gauge('packets', 'Packets inside, that passed', ['direction'], (gauge) => {
    for (const direction of ['received', 'sent'] as const) gauge.set({ direction }, tun.packets[direction])
  })
  metrics.gauge('bytes', 'Bytes of packets inside, that passed', ['direction'], (gauge) => {
    for (const direction of ['received', 'sent'] as const) gauge.set({ direction }, tun.bytes[direction])
  })
  metrics.gauge('websockets', 'Open WebSockets', [], (gauge) => gauge.set(webSockets()))
  metrics.gauge('feed_connected', '1 while the feed is connected', [], (gauge) => gauge.set(feed().state === 'connected' ? 1 : 0))
  metrics.gauge('feed_revision', 'Revision in force', [], (gauge) => gauge.set(feed().revision))
}
