/** What a proxy says of itself when the router asks `status`: nodes as it sees them, what is open, what is in force. */
import type { Distribution } from '../lib/distribution.ts'
import type { Listeners } from './listeners.ts'
import type { Nodes } from './nearest/nodes.ts'
import type { SampleWindow } from './nearest/sample-window.ts'
import type { Routes } from './routes.ts'

export interface StatusSources {
  readonly proxy: string
  readonly region: string
  readonly state: string
  readonly revision: number
  readonly nodes: Nodes
  /** Open now. */
  readonly connections: number
  readonly routes: Routes
  readonly listeners: Pick<Listeners, 'ports'>
  /** Whether to give the single samples, too. */
  readonly samples: boolean
}

export interface Measured extends Distribution {
  /** Only when they were asked for; the oldest first. */
  readonly samples?: readonly number[]
}

export interface NodeStatus {
  readonly node: string
  readonly region: string
  readonly hop: string
  readonly healthy: boolean
  readonly reason?: string
  /** Of the hop's session; false for signed nodes that can't be dialled at the moment. */
  readonly reachable: boolean
  readonly latencyMs: number | null
  readonly connectMs: number | null
  /** What its probes measured lately; null before the first. */
  readonly connect: Measured | null
  readonly rtt: Measured | null
  readonly connections: number
  readonly load: number
  /** Services that its agent says don't answer there. */
  readonly unavailable: number
}

export interface StatusReport {
  readonly proxy: string
  readonly region: string
  readonly feed: { readonly state: string; readonly revision: number }
  readonly addresses: number
  readonly ports: readonly number[]
  readonly connections: number
  readonly nodes: readonly NodeStatus[]
}

export function status({ proxy, region, state, revision, nodes, connections: open, routes, listeners, samples }: StatusSources): StatusReport {
  return {
    proxy,
    region,
    feed: { state, revision },
    addresses: routes.size,
    ports: listeners.ports(),
    connections: open,
    nodes: Array.from(nodes.all(), ({ row, health, reachable, latency, connect, measured, connections, load, session }) => ({
      node: row.id,
      region: row.region,
      hop: row.hop,
      healthy: health.healthy,
      ...(health.reason !== null && { reason: health.reason }),
      reachable,
      latencyMs: latency.smoothedMs,
      connectMs: connect.smoothedMs,
      connect: measuredBy(measured.connect, samples),
      rtt: measuredBy(measured.rtt, samples),
      connections,
      load,
      unavailable: session?.unavailable.size ?? 0,
    })),
  }
}

function measuredBy(window: SampleWindow, samples: boolean): Measured | null {
  const found = window.distribution
  return found && { ...found, ...(samples && { samples: window.samples.map((ms) => Math.round(ms * 1000) / 1000) }) }
}
