/**
 * THE decision about a connection: the one rule of isolation (lib/isolation.ts), asked of a table of addresses in force. A
 * known address on another port is refused like an unknown one. Pure.
 */
import type { Ipv6, NetworkId } from '../lib/address.ts'
import { mayConnect } from '../lib/isolation.ts'
import type { DenyReason, Verdict } from '../lib/isolation.ts'
import type { Route } from './routes.ts'

/** What the rule said. */
type Refusal = Extract<Verdict, { readonly allowed: false }>

export type Decision =
  /** `shadowed`: the rule says no, but the service is in shadow mode. */
  | { readonly allowed: true; readonly route: Route; readonly shadowed?: Refusal }
  | { readonly allowed: false; readonly reason: DenyReason; readonly sourceNetwork: NetworkId | null; readonly network: NetworkId | null }

/** `find`: the route of a known address, whatever its port. */
export function decide(find: (destination: Ipv6) => Route | null, source: Ipv6, destination: Ipv6, port: number, prefix: number): Decision {
  let route: Route | null = null
  const known = (address: Ipv6): boolean => {
    route = find(address)
    return route?.port === port
  }
  const verdict = mayConnect(source, destination, known, prefix)
  if (!verdict.allowed) return shadowed(verdict, find, destination, port) ?? verdict
  if (route === null) throw new Error('the isolation rule allowed an address without asking for it')
  return { allowed: true, route }
}

/** An address that exists is carried all the same while its service is in shadow mode. */
function shadowed(verdict: Refusal, find: (destination: Ipv6) => Route | null, destination: Ipv6, port: number): Decision | null {
  if (verdict.reason !== 'foreign-network' && verdict.reason !== 'outside-plan') return null
  const route = find(destination)
  if (route?.port !== port || route.shadow !== true) return null
  return { allowed: true, route, shadowed: verdict }
}
