/** The screen of `nearcast top`: proxies, nodes as the proxies see them, databases by connections. Pure. */
import { z } from 'zod'
import { colours } from './colours.ts'
import { milliseconds, table } from './output.ts'

/** The width of tables: a screen has so many rows, so lines are cut at its edge, not broken. */
const WHOLE = Number.POSITIVE_INFINITY

export const liveObject = z.looseObject({
  revision: z.number(),
  proxies: z.array(
    z.looseObject({
      proxy: z.string(),
      region: z.string(),
      feed: z.looseObject({ state: z.string(), revision: z.number() }),
      addresses: z.number(),
      connections: z.number(),
      nodes: z.array(z.looseObject({ node: z.string(), region: z.string(), healthy: z.boolean(), latencyMs: z.number().nullable(), connections: z.number() })),
    }),
  ),
  agents: z.array(
    z.looseObject({
      agent: z.string(),
      region: z.string(),
      connections: z.number(),
      databases: z.array(z.looseObject({ service: z.string(), role: z.string(), reason: z.string().nullable(), connections: z.number() })),
    }),
  ),
  services: z.array(z.looseObject({ id: z.string(), org: z.string(), name: z.string() })),
  missing: z.array(z.looseObject({ identity: z.string(), reason: z.string() })),
})
export type Live = z.infer<typeof liveObject>

/** `rows`: the height of the screen; the busiest tenants fill what is left of it. */
export function topScreen(live: Live, rows: number): string[] {
  const connections = live.proxies.reduce((sum, proxy) => sum + proxy.connections, 0)
  const head = `revision ${live.revision}   ${count(live.proxies.length, 'proxy', 'proxies')}   ${count(live.agents.length, 'agent', 'agents')}   ${count(connections, 'connection', 'connections')}`
  const fixed = [head, '', proxies(live), '', latencies(live), ...live.missing.map(({ identity, reason }) => colours.yellow(`${identity}: ${reason}`)), '']
    .flatMap((part) => part.split('\n'))
  // The head of the table and one line to spare.
  return [...fixed, ...tenants(live, Math.max(3, rows - fixed.length - 2)).split('\n')]
}

function proxies({ proxies: all, revision }: Live): string {
  const behind = (own: number): string => (own >= revision ? String(own) : colours.yellow(`${own} (${revision - own} behind)`))
  return table(['proxy', 'region', 'connections', 'addresses', 'feed', 'revision'], all.map((each) => [each.proxy, each.region, each.connections, each.addresses, each.feed.state === 'connected' ? 'connected' : colours.yellow(each.feed.state), behind(each.feed.revision)]), WHOLE)
}

/** A row for each node, a column for each proxy: smoothed latency, and connections carried. */
function latencies({ proxies: all }: Live): string {
  const nodes = new Map(all.flatMap(({ nodes: seen }) => seen.map(({ node, region }) => [node, region] as const)))
  const cell = (proxy: Live['proxies'][number], id: string): string => {
    const seen = proxy.nodes.find(({ node }) => node === id)
    if (seen === undefined) return '-'
    const text = `${milliseconds(seen.latencyMs)} · ${seen.connections}`
    return seen.healthy ? text : colours.red(`${text} unhealthy`)
  }
  return table(['node', 'region', ...all.map(({ proxy }) => `from ${proxy}`)], [...nodes].toSorted(([left], [right]) => (left < right ? -1 : 1)).map(([id, region]) => [id, region, ...all.map((proxy) => cell(proxy, id))]), WHOLE)
}

function tenants({ agents, services }: Live, most: number): string {
  const names = new Map(services.map(({ id, org, name }) => [id, `${org}/${name}`]))
  const rows = agents
    .flatMap(({ agent, databases }) => databases.map((database) => ({ agent, ...database })))
    .toSorted((left, right) => right.connections - left.connections)
  const shown = rows.slice(0, rows.length > most ? most - 1 : most)
  const more = rows.length - shown.length
  const text = table(['database', 'node', 'role', 'connections', 'state'], shown.map((each) => [names.get(each.service) ?? each.service, each.agent, each.role, each.connections, each.reason === null ? 'available' : colours.yellow(each.reason)]), WHOLE)
  return more > 0 ? `${text}\n${colours.dim(`and ${more} more`)}` : text
}

function count(value: number, one: string, many: string): string {
  return `${value} ${value === 1 ? one : many}`
}
