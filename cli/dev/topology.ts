/**
 * The topology of a development cluster: which hosts stand in which region, how far the regions are apart, who has app
 * hosts where. Read from TOML, checked whole, and turned into plain facts (numbers, addresses, routes). Pure.
 */
import { z } from 'zod'
import { NearcastError } from '../../lib/errors.ts'
import { WANTED_PLANES } from '../../lib/plane/wanted.ts'
import type { WantedPlane } from '../../lib/plane/wanted.ts'

/** Short, because names of interfaces (15 characters at most) are made of them. */
const regionId = z.string().regex(/^[a-z][a-z0-9]{1,4}$/, 'is 2 to 5 lower-case letters and digits, a letter first')
const hostId = z.string().regex(/^[a-z][a-z0-9-]{0,9}$/, 'is 1 to 10 lower-case letters, digits and hyphens, a letter first')
const name = z.string().regex(/^[a-z][a-z0-9-]{0,8}$/, 'is 1 to 9 lower-case letters, digits and hyphens, a letter first')

export const topologySchema = z.strictObject({
  router: hostId,
  region: z.array(z.strictObject({ id: regionId, hosts: z.array(hostId).min(1).max(16) })).min(1).max(16),
  /** Hosts where WireGuard peers come in. */
  gateways: z.array(hostId).default([]),
  /** Whether what goes between hosts goes through the backbone (WireGuard). */
  backbone: z.boolean().default(false),
  link: z.array(z.strictObject({ between: z.tuple([regionId, regionId]), rttMs: z.number().min(0).max(10_000) })).default([]),
  org: z.array(z.strictObject({ name, beside: z.enum(['first', 'last']).default('first') })).max(16).default([]),
  /** For agents: engines that nobody uses rest after so long. */
  idleStopMinutes: z.number().min(0).optional(),
  plane: z.enum(WANTED_PLANES).optional(),
  /** Of each proxy, on the io_uring plane: many of them share this machine's processors. */
  dataThreads: z.int().min(0).max(64).default(1),
  database: z
    .array(z.strictObject({ org: name, name, region: regionId, replicas: z.array(regionId).default([]) }))
    .max(64)
    .default([]),
})

export interface Host {
  readonly id: string
  readonly region: string
  /** Underlay address, `fd0c:0:<region>::<host>`. */
  readonly address: string
  readonly agent: boolean
}

export interface Region {
  readonly id: string
  /** 1, 2, … in the file's order. */
  readonly number: number
  readonly hosts: readonly Host[]
}

export interface Link {
  /** `mad-ams`: the regions in the file's order. */
  readonly id: string
  readonly left: string
  readonly right: string
  readonly rttMs: number
}

/** A customer's machine: its own namespace, one hop beside a proxy's host. */
export interface AppHost {
  /** `acme-mad`, also the namespace's name. */
  readonly id: string
  readonly org: string
  readonly region: string
  /** The proxy's host beside it. */
  readonly host: string
  /** Name of the interface on the proxy's host that leads to it. */
  readonly ingress: string
}

export interface DemoDatabase {
  readonly org: string
  readonly name: string
  readonly region: string
  readonly replicas: readonly string[]
}

export interface Topology {
  readonly router: Host
  readonly regions: readonly Region[]
  readonly hosts: readonly Host[]
  readonly links: readonly Link[]
  readonly orgs: readonly string[]
  readonly appHosts: readonly AppHost[]
  readonly databases: readonly DemoDatabase[]
  readonly gateways: readonly Host[]
  readonly backbone: boolean
  /** 0: engines never rest. */
  readonly idleStopMinutes: number
  /** Of all proxies and agents. */
  readonly plane: WantedPlane
  readonly dataThreads: number
}

function invalid(message: string): NearcastError {
  return new NearcastError('topology.invalid', `The topology ${message}.`)
}

/** @throws NearcastError topology.invalid */
export function planTopology(file: z.infer<typeof topologySchema>): Topology {
  const regions = file.region.map(({ id, hosts }, index): Region => ({
    id,
    number: index + 1,
    hosts: hosts.map((host, at) => ({ id: host, region: id, address: `fd0c:0:${(index + 1).toString(16)}::${(at + 1).toString(16)}`, agent: at === 0 })),
  }))
  const hosts = regions.flatMap((region) => region.hosts)
  unique([...regions.map(({ id }) => id), ...hosts.map(({ id }) => id)], 'uses the name "%" twice among regions and hosts')
  unique(file.org.map((org) => org.name), 'names the organization "%" twice')
  const known = new Set(regions.map(({ id }) => id))
  const links = file.link.map(({ between: [left, right], rttMs }): Link => {
    for (const region of [left, right]) if (!known.has(region)) throw invalid(`links the region "${region}", which it doesn't list`)
    if (left === right) throw invalid(`links "${left}" with itself`)
    return { id: `${left}-${right}`, left, right, rttMs }
  })
  unique(file.gateways, 'names the gateway "%" twice')
  unique(links.map(({ left, right }) => [left, right].toSorted().join('-')), 'lists the link "%" twice')
  const router = hosts.find(({ id }) => id === file.router)
  if (router === undefined) throw invalid(`has its router on "${file.router}", which is none of its hosts`)
  for (const database of file.database) checkDatabase(database, known, file.org.map((org) => org.name))
  const topology: Topology = {
    router,
    regions,
    hosts,
    links,
    orgs: file.org.map((org) => org.name),
    appHosts: file.org.flatMap((org) => regions.map((region) => appHost(org.name, region, org.beside))),
    databases: file.database,
    backbone: file.backbone,
    gateways: file.gateways.map((id) => hosts.find((host) => host.id === id) ?? missing(id)),
    idleStopMinutes: file.idleStopMinutes ?? 0,
    plane: file.plane ?? 'auto',
    dataThreads: file.dataThreads,
  }
  const next = nextRegions(topology)
  for (const from of known) {
    for (const to of known) if (from !== to && next.get(from)?.get(to) === undefined) throw invalid(`has no path from "${from}" to "${to}"; add a link`)
  }
  return topology
}

function missing(gateway: string): never {
  throw invalid(`has a gateway on "${gateway}", which is none of its hosts`)
}

function appHost(org: string, region: Region, beside: 'first' | 'last'): AppHost {
  const host = beside === 'first' ? region.hosts[0] : region.hosts.at(-1)
  if (host === undefined) throw invalid(`has no host in "${region.id}"`)
  return { id: `${org}-${region.id}`, org, region: region.id, host: host.id, ingress: `in-${org}` }
}

function checkDatabase(database: DemoDatabase, regions: ReadonlySet<string>, orgs: readonly string[]): void {
  const label = `database "${database.org}/${database.name}"`
  if (!orgs.includes(database.org)) throw invalid(`gives the ${label} to an organization that it doesn't list`)
  const wanted = [database.region, ...database.replicas]
  for (const region of wanted) if (!regions.has(region)) throw invalid(`puts the ${label} into "${region}", which it doesn't list`)
  unique(wanted, `puts the ${label} into "%" twice`)
}

function unique(values: readonly string[], message: string): void {
  const twice = values.find((value, index) => values.indexOf(value) !== index)
  if (twice !== undefined) throw invalid(message.replace('%', twice))
}

/** For each region and destination, the neighbour that the shortest path (by round-trip time) goes through. */
export function nextRegions(topology: Pick<Topology, 'regions' | 'links'>): Map<string, Map<string, string>> {
  const ids = topology.regions.map(({ id }) => id)
  const next = new Map(ids.map((id) => [id, new Map<string, string>()]))
  const time = new Map<string, number>(ids.map((id) => [`${id} ${id}`, 0]))
  for (const { left, right, rttMs } of topology.links) {
    for (const [from, to] of [[left, right], [right, left]] as const) {
      time.set(`${from} ${to}`, rttMs)
      next.get(from)?.set(to, to)
    }
  }
  const between = (from: string, to: string): number => time.get(`${from} ${to}`) ?? Number.POSITIVE_INFINITY
  for (const via of ids) {
    for (const from of ids) {
      for (const to of ids) {
        const detour = between(from, via) + between(via, to)
        const step = next.get(from)?.get(via)
        if (detour < between(from, to) && step !== undefined) {
          time.set(`${from} ${to}`, detour)
          next.get(from)?.set(to, step)
        }
      }
    }
  }
  return next
}
