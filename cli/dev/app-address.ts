/** The address of an app host in its organization's network: one host part per region. Pure. */
import { formatIpv6, machineAddress, networkOf, parseIpv6 } from '../../lib/address.ts'
import { NearcastError } from '../../lib/errors.ts'
import type { AppHost, Topology } from './topology.ts'

/** Host parts 0 and 1 are reserved. */
const FIRST_HOST_PART = 2

/** `prefix`: the network's, like `fdaa:0:1::/48`. */
export function appHostAddress(topology: Topology, app: AppHost, prefix: string): string {
  const network = networkOf(parseIpv6(prefix.split('/')[0] ?? ''))
  if (network === null) throw new NearcastError('dev.failed', `The registry gave ${app.org} the network ${prefix}, which is outside the address plan.`)
  const region = topology.regions.find(({ id }) => id === app.region)?.number ?? 0
  return formatIpv6(machineAddress(network, FIRST_HOST_PART + region - 1, 1))
}
