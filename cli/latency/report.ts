/**
 * A latency report as a value: from every proxy to every node (the proxies' own probes), and ways to databases, measured
 * from where their clients are (`through`) and beside their engines (`direct`). Milliseconds. Also one line of a history.
 */
import { z } from 'zod'

/** `samples` are left out in a history. */
const measured = z.object({ count: z.number(), p50: z.number(), p90: z.number(), p99: z.number(), samples: z.array(z.number()).optional() })
export type Measured = z.infer<typeof measured>

export const fleetLatencies = z.object({
  at: z.string(),
  proxies: z.array(
    z.object({
      proxy: z.string(),
      region: z.string(),
      nodes: z.array(z.object({ node: z.string(), region: z.string(), healthy: z.boolean(), connect: measured.nullable(), rtt: measured.nullable() })),
    }),
  ),
  missing: z.array(z.object({ identity: z.string(), reason: z.string() })),
})

const way = z.object({
  org: z.string(),
  database: z.string(),
  kind: z.enum(['through', 'direct']),
  /** Where it was measured: the client's region, or the node's. */
  region: z.string(),
  connect: measured.nullable(),
  firstByte: measured.nullable(),
  get: measured.nullable(),
  set: measured.nullable(),
  errors: z.array(z.string()),
})
export type Way = z.infer<typeof way>

export const latencyReport = fleetLatencies.extend({ ways: z.array(way) })
export type LatencyReport = z.infer<typeof latencyReport>

export const MEASURES = ['connect', 'firstByte', 'get', 'set'] as const
export const TITLES: Readonly<Record<(typeof MEASURES)[number], string>> = { connect: 'connect', firstByte: 'first byte', get: 'GET', set: 'SET' }

/** The way beside the engine that a way through Nearcast is compared with: in the same region, else any. */
export function directTwin(ways: readonly Way[], { org, database, region }: Way): Way | undefined {
  const twins = ways.filter((each) => each.kind === 'direct' && each.org === org && each.database === database)
  return twins.find((each) => each.region === region) ?? twins[0]
}

function short(value: Measured | null): Measured | null {
  return value && { count: value.count, p50: value.p50, p90: value.p90, p99: value.p99 }
}

/** Without single samples: what a history keeps. */
export function withoutSamples(report: LatencyReport): LatencyReport {
  return {
    ...report,
    proxies: report.proxies.map((proxy) => ({ ...proxy, nodes: proxy.nodes.map((node) => ({ ...node, connect: short(node.connect), rtt: short(node.rtt) })) })),
    ways: report.ways.map((each) => ({ ...each, connect: short(each.connect), firstByte: short(each.firstByte), get: short(each.get), set: short(each.set) })),
  }
}
