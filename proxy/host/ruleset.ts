/**
 * The nftables rules of a proxy's host, as text. Pure. What they keep (SECURITY.md, "Where a source can be believed"):
 *
 *   client -> host   only from the interface's own /48 (IPv6 has no reverse-path filter) and from no WireGuard peer, only to Flycast addresses,
 *                    there only TCP to ports of the proxy; ping to the own network's. A foreign Flycast address may be
 *                    dialled: the proxy's one rule refuses, counts and names it. Closed ports, networks that aren't
 *                    here and foreign addresses look alike: a reset. Other sockets of the host can't be reached.
 *   gateway -> host  the same for WireGuard peers of every network, and for nobody else: which peer may use which source, and
 *                    that a packet stays in its network, is the gateway's own promise (router/gateway/inner-packets.ts).
 *   host -> client   only replies from Flycast addresses: nobody dials into a customer's network.
 *   through the host nothing: it is no router for clients.
 *   elsewhere -> host  no Flycast address: their clients come in by the interfaces that are named here.
 *
 * With interception (interception.ts) no address is local: what has passed the above and is sent to a Flycast address goes
 * to the proxy's one listener, or is reset while there is none; it never meets another socket of the host.
 *
 * Neighbour discovery passes, so that fe80::1 can be the clients' next hop. Everything is stateless: no connection
 * tracking to fill up. One table of our own, replaced as a whole; nobody else's rules are touched.
 */
import { networkPrefix } from '../../lib/address.ts'
import type { NetworkId } from '../../lib/address.ts'

export const TABLE = 'inet nearcast'
/** On packets that are this host's though their address isn't. */
export const MARK = '0x6e63'

export interface Ingress {
  readonly interface: string
  readonly network: NetworkId | typeof GATEWAY
}

/** The interface of a gateway beside this proxy (router/gateway): clients of every network come in by it. */
export const GATEWAY = 'gateway'

/** Why a packet was dropped (`closed`: answered with a reset), counted per interface. */
export const DROP_REASONS = ['ipv4', 'link', 'spoofed', 'outside', 'foreign', 'protocol', 'closed', 'forwarded', 'reach'] as const
export type DropReason = (typeof DROP_REASONS)[number]

/** Packets to Flycast addresses from interfaces that aren't named; it belongs to no interface. */
export const ELSEWHERE = 'elsewhere'

/** Counters can't be named after interfaces (their names may hold characters that nft doesn't take): by index. */
export function counterName(index: number, reason: DropReason): string {
  return `i${index}_${reason}`
}

/** The port of the listener that takes everything; null: there is none at present. */
export interface Taker {
  readonly port: number | null
}

/** Without `taker` the addresses are local. */
export function ruleset(ingress: readonly Ingress[], prefix: number, ports: readonly number[], taker?: Taker): string {
  const verdicts = (key: 'iifname' | 'oifname', chain: string): string =>
    ingress.length === 0 ? '' : `    ${key} vmap { ${ingress.map((each, index) => `"${each.interface}" : goto ${chain}_${index}`).join(', ')} }`
  const counters = ingress.flatMap((_, index) => DROP_REASONS.map((reason) => `  counter ${counterName(index, reason)} { }`))
  return `add table ${TABLE}
delete table ${TABLE}
table ${TABLE} {
  counter ${ELSEWHERE} { }
${counters.join('\n')}
  set ports {
    type inet_service
${ports.length === 0 ? '' : `    elements = { ${ports.join(', ')} }`}
  }
${ingress.map((each, index) => chains(each, index, prefix, taker !== undefined)).join('\n')}
  chain prerouting {
    type filter hook prerouting priority raw; policy accept;
${verdicts('iifname', 'in')}
    iifname "lo" accept
    ${flycast(prefix, 'daddr', '==')} counter name ${ELSEWHERE} drop
  }
${taker ? `  chain intercept {
    type filter hook prerouting priority mangle; policy accept;
${intercepting(prefix, taker)}
  }
` : ''}  chain forward {
    type filter hook forward priority filter; policy accept;
${verdicts('iifname', 'through')}
${verdicts('oifname', 'reach')}
  }
  chain output {
    type filter hook output priority filter; policy accept;
${verdicts('oifname', 'out')}
  }
}
`
}

/** Replaces what the set holds, at once. */
export function portsChange(ports: readonly number[]): string {
  const add = ports.length === 0 ? '' : `add element ${TABLE} ports { ${ports.join(', ')} }\n`
  return `flush set ${TABLE} ports\n${add}`
}

/** Another listener, or none. */
export function takerChange(prefix: number, taker: Taker): string {
  const rules = intercepting(prefix, taker).split('\n')
  return `flush chain ${TABLE} intercept\n${rules.map((rule) => `add rule ${TABLE} intercept ${rule.trim()}\n`).join('')}`
}

/** `tproxy` takes a packet to the socket of its connection, or else to the listener; without either the rule ends there. */
function intercepting(prefix: number, { port }: Taker): string {
  const to = flycast(prefix, 'daddr', '==')
  const take = port === null ? [] : [`    ${to} meta l4proto tcp tproxy ip6 to :${port} meta mark set ${MARK} accept`]
  return [...take, `    ${to} meta l4proto tcp reject with tcp reset`, `    ${to} icmpv6 type { echo-request, destination-unreachable, packet-too-big, time-exceeded, parameter-problem } meta mark set ${MARK} accept`].join('\n')
}

type Field = 'saddr' | 'daddr'
type Operator = '==' | '!='

/** Of any network: only the first 16 bits and the host part are compared. */
function hostPart(prefix: number, host: string): (field: Field, operator: Operator) => string {
  return (field, operator) => `ip6 ${field} & ffff:0:0:ffff:ffff:: ${operator} ${prefix.toString(16)}:0:0:${host}::`
}

function flycast(prefix: number, field: Field, operator: Operator): string {
  return hostPart(prefix, '0:1')(field, operator)
}

function chains(ingress: Ingress, index: number, prefix: number, intercepted: boolean): string {
  const drop = (reason: DropReason): string => `counter name ${counterName(index, reason)} drop`
  const isPeer = hostPart(prefix, 'ffff:ffff')
  const toFlycast = `    ${flycast(prefix, 'daddr', '!=')} ${drop('outside')}
    meta l4proto tcp goto tcp_${index}`
  const pings = '    icmpv6 type { echo-request, destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept'
  const reply = (clients: string): string => `    ${clients} ${flycast(prefix, 'saddr', '==')} tcp flags & (syn | ack) != syn accept
    ${clients} ${flycast(prefix, 'saddr', '==')} icmpv6 type echo-reply accept
    ${drop('reach')}`
  return `${ingress.network === GATEWAY ? ofGateway() : ofNetwork(networkPrefix(ingress.network, prefix))}
  chain tcp_${index} {
    tcp dport @ports${intercepted ? '' : ' fib daddr type local'} accept
    counter name ${counterName(index, 'closed')} reject with tcp reset
  }
  chain through_${index} {
    ${drop('forwarded')}
  }
  chain reach_${index} {
    ${drop('reach')}
  }`

  function ofNetwork(network: string): string {
    return `  chain in_${index} {
    meta nfproto != ipv6 ${drop('ipv4')}
    icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 ip6 saddr { ::, fe80::/10, ${network} } ip6 daddr { fe80::/10, ff02::/16 } accept
    ip6 saddr fe80::/10 ${drop('link')}
    ip6 daddr { fe80::/10, ff00::/8 } ${drop('link')}
    ip6 saddr != ${network} ${drop('spoofed')}
    ${flycast(prefix, 'saddr', '==')} ${drop('spoofed')}
    ${isPeer('saddr', '==')} ${drop('spoofed')}
${toFlycast}
    ip6 daddr != ${network} ${drop('foreign')}
${pings}
    ${drop('protocol')}
  }
  chain out_${index} {
    icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept
    icmpv6 type mld2-listener-report ip6 daddr ff02::16 accept
${reply(`ip6 daddr ${network}`)}
  }`
  }

  function ofGateway(): string {
    return `  chain in_${index} {
    meta nfproto != ipv6 ${drop('ipv4')}
    ${isPeer('saddr', '!=')} ${drop('spoofed')}
${toFlycast}
${pings}
    ${drop('protocol')}
  }
  chain out_${index} {
${reply(isPeer('daddr', '=='))}
  }`
  }
}
