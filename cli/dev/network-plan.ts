/**
 * The network of a development cluster as lists of `ip` and `sysctl` commands. Pure: network.ts runs them.
 *
 *   app host ──veth── host ──veth── region router ──link── region router ──veth── host ──veth── app host
 *
 * A host has one underlay address (/128) and reaches everything of the underlay through its region's router (fe80::1).
 * Hosts don't forward, so nothing passes from a customer's network to the underlay or back except through a proxy.
 * A link is two veth pairs whose far ends lie in the namespace `links`, joined by link-relay.ts, or one pair with netem.
 */
import type { AppHost, Host, Link, Topology } from './topology.ts'
import { nextRegions } from './topology.ts'

export type LinkKind = 'relay' | 'netem'

export const LINKS_NAMESPACE = 'links'
export const UNDERLAY = 'fd0c::/16'

/** Everything that happens inside one namespace: kernel settings first, then `ip -batch` lines. */
export interface NamespaceSetup {
  readonly namespace: string
  /** Files of /proc/sys/net and their values. */
  readonly settings: readonly (readonly [string, string])[]
  readonly commands: readonly string[]
}

export interface NetworkPlan {
  readonly namespaces: readonly string[]
  readonly setups: readonly NamespaceSetup[]
}

export function regionNamespace(region: string): string {
  return `region-${region}`
}

/** The end of a link in its region's router: `to-ams`. */
export function linkInterface(other: string): string {
  return `to-${other}`
}

/** The same end's peer in the namespace `links`: `mad-ams` is mad's end. */
export function relayInterface(own: string, other: string): string {
  return `${own}-${other}`
}

export function planNetwork(topology: Topology, kind: LinkKind): NetworkPlan {
  const commands = new Map<string, string[]>()
  const at = (namespace: string): string[] => {
    let list = commands.get(namespace)
    if (list === undefined) commands.set(namespace, (list = ['link set lo up']))
    return list
  }
  // Namespaces that own one end of a pair create it; the other end is born in the namespace it belongs to.
  for (const region of topology.regions) {
    at(regionNamespace(region.id))
    for (const host of region.hosts) joinHost(at, host)
  }
  for (const app of topology.appHosts) joinAppHost(at, app)
  for (const link of topology.links) joinRegions(at, topology, link, kind)
  routeRegions(at, topology)
  const routers = new Set(topology.regions.map(({ id }) => regionNamespace(id)))
  return {
    namespaces: [...commands.keys()],
    setups: [...commands].map(([namespace, list]) => ({
      namespace,
      settings: settings(namespace === LINKS_NAMESPACE, routers.has(namespace)),
      commands: list,
    })),
  }
}

/** Set before any interface exists, so that each is born with them. */
function settings(links: boolean, router: boolean): (readonly [string, string])[] {
  return [
    ['ipv6/conf/default/accept_ra', '0'],
    ['ipv6/conf/default/accept_dad', '0'],
    ['ipv6/conf/default/dad_transmits', '0'],
    // No address but those given here.
    ['ipv6/conf/default/addr_gen_mode', '1'],
    ['ipv6/conf/default/disable_ipv6', links ? '1' : '0'],
    ['ipv6/conf/all/forwarding', router ? '1' : '0'],
  ]
}

type At = (namespace: string) => string[]

function joinHost(at: At, host: Host): void {
  const router = at(regionNamespace(host.region))
  const inside = at(host.id)
  const port = `h-${host.id}`
  router.push(
    `link add ${port} type veth peer name eth0 netns ${host.id}`,
    `link set ${port} up`,
    `address add fe80::1/64 dev ${port} nodad`,
    `route add ${host.address}/128 dev ${port}`,
  )
  inside.push(
    'link set eth0 up',
    'address add fe80::2/64 dev eth0 nodad',
    `address add ${host.address}/128 dev eth0 nodad`,
    `route add ${UNDERLAY} via fe80::1 dev eth0 src ${host.address}`,
  )
}

function joinAppHost(at: At, app: AppHost): void {
  at(app.host).push(`link add ${app.ingress} type veth peer name eth0 netns ${app.id}`, `link set ${app.ingress} up`, `address add fe80::1/64 dev ${app.ingress} nodad`)
  // Its address in the customer's network is added when the registry has given the organization one (appAddressCommands).
  at(app.id).push('link set eth0 up', 'address add fe80::2/64 dev eth0 nodad', 'route add default via fe80::1 dev eth0')
}

function joinRegions(at: At, topology: Topology, link: Link, kind: LinkKind): void {
  const number = new Map(topology.regions.map((region) => [region.id, region.number]))
  const ends = [[link.left, link.right], [link.right, link.left]] as const
  const card = (own: string, other: string): string => hardwareAddress(number.get(own), number.get(other))
  if (kind === 'netem') {
    const [near, far] = [linkInterface(link.right), linkInterface(link.left)]
    at(regionNamespace(link.left)).push(
      `link add ${near} address ${card(link.left, link.right)} type veth peer name ${far} address ${card(link.right, link.left)} netns ${regionNamespace(link.right)}`,
    )
  }
  for (const [own, other] of ends) {
    const port = linkInterface(other)
    const list = at(regionNamespace(own))
    if (kind === 'relay') {
      list.push(`link add ${port} address ${card(own, other)} type veth peer name ${relayInterface(own, other)} netns ${LINKS_NAMESPACE}`)
      at(LINKS_NAMESPACE).push(`link set ${relayInterface(own, other)} up`)
    }
    // Neighbours are told, not discovered: the first packet has no extra round trip, and a cut line stays silent.
    list.push(
      `link set ${port} up`,
      `address add ${linkLocal(number.get(own))}/64 dev ${port} nodad`,
      `neighbor add ${linkLocal(number.get(other))} lladdr ${card(other, own)} dev ${port} nud permanent`,
    )
  }
}

/** Locally administered; one per end of a link. */
function hardwareAddress(own: number | undefined, other: number | undefined): string {
  return `02:00:00:00:${octet(own)}:${octet(other)}`
}

function octet(value: number | undefined): string {
  return (value ?? 0).toString(16).padStart(2, '0')
}

function linkLocal(region: number | undefined): string {
  return `fe80::a:${(region ?? 0).toString(16)}`
}

function routeRegions(at: At, topology: Topology): void {
  const number = new Map(topology.regions.map((region) => [region.id, region.number]))
  for (const [from, steps] of nextRegions(topology)) {
    for (const [to, step] of steps) {
      at(regionNamespace(from)).push(`route add fd0c:0:${(number.get(to) ?? 0).toString(16)}::/48 via ${linkLocal(number.get(step))} dev ${linkInterface(step)}`)
    }
  }
}

/** `address` is the app host's own address in its organization's network. */
export function appAddressCommands(address: string): string[] {
  return [`address add ${address}/128 dev eth0 nodad`, `route replace default via fe80::1 dev eth0 src ${address}`]
}
