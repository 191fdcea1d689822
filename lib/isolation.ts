/**
 * The one rule of isolation: who may connect to what. Pure; everything that lets a byte pass asks it first.
 *
 * Default deny. A connection is allowed only when its destination is a Flycast address that exists and its source
 * is a machine of that address's network. Flycast addresses never are sources: they are local to a proxy's host, where any
 * program may bind to one (IPV6_FREEBIND), and that host's programs are no customer's. To the client unknown, foreign and revoked look alike (a reset); the verdict
 * exists for counters, logs and `explain`.
 */
import type { Ipv6, NetworkId } from './address.ts'
import { isFlycast, isMachine, networkOf } from './address.ts'

export type Verdict =
  | { readonly allowed: true; readonly network: NetworkId }
  | { readonly allowed: false; readonly reason: DenyReason; readonly sourceNetwork: NetworkId | null; readonly network: NetworkId | null }

export type DenyReason = 'not-flycast' | 'outside-plan' | 'foreign-network' | 'unknown-address'

/** `known` answers whether the destination is an address in force (minted, not revoked). */
export function mayConnect(source: Ipv6, destination: Ipv6, known: (destination: Ipv6) => boolean, prefix?: number): Verdict {
  const sourceNetwork = networkOf(source, prefix)
  const network = networkOf(destination, prefix)
  const deny = (reason: DenyReason): Verdict => ({ allowed: false, reason, sourceNetwork, network })
  if (network === null || !isFlycast(destination, prefix)) return deny('not-flycast')
  if (sourceNetwork === null || !isMachine(source, prefix)) return deny('outside-plan')
  if (sourceNetwork !== network) return deny('foreign-network')
  if (!known(destination)) return deny('unknown-address')
  return { allowed: true, network }
}
