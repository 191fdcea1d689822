/**
 * "Why does this connection go where it goes?" The router only finds out which proxy and which addresses are meant; the
 * proxy answers from the tables that its data path reads.
 */
import { formatIpv6, isIpv6Text, networkOf, parseIpv6 } from '../../lib/address.ts'
import { NearcastError } from '../../lib/errors.ts'
import { addressesUnder, findReceivedGrant } from './objects/grants.ts'
import { findOrg } from './objects/orgs.ts'
import { addressesOf, findService } from './objects/services.ts'
import type { Registry } from './registry.ts'
import type { AddressRecord } from './store/records.ts'

const ANSWER_MS = 3000

export interface Question {
  readonly from: string
  readonly to: string
  readonly proxy?: string | undefined
  readonly region?: string | undefined
}

/**
 * `from`: an address, or org/region. `to`: an address, name.flycast or a service's name. `proxy`, `region`: whom to ask;
 * without them (and without a region in `from`) the first connected proxy.
 */
export async function explain(registry: Registry, { from, to, proxy: id, region }: Question): Promise<unknown> {
  const origin = findOrigin(registry, from)
  const destination = findDestination(registry, to, origin)
  const proxy = chooseProxy(registry, id, origin.region ?? region)
  return registry.feed.ask(proxy, 'explain', { source: origin.source, network: origin.network, destination }, ANSWER_MS)
}

interface Origin {
  readonly source: string | null
  readonly network: number | null
  readonly org: string | null
  readonly region: string | undefined
}

function findOrigin(registry: Registry, from: string): Origin {
  if (isIpv6Text(from)) {
    const source = parseIpv6(from)
    const network = networkOf(source, registry.prefix)
    const org = network === null ? null : (registry.store.get('networks', String(network))?.org ?? null)
    return { source: formatIpv6(source), network, org, region: undefined }
  }
  const [name = '', region] = from.split('/')
  const org = findOrg(registry.store, name)
  return { source: null, network: org.defaultNetwork, org: org.id, region }
}

function findDestination(registry: Registry, to: string, origin: Origin): string {
  if (isIpv6Text(to)) return formatIpv6(parseIpv6(to))
  const name = to.replace(/\.flycast\.?$/, '')
  if (origin.org === null) {
    throw new NearcastError('service.not-found', `A name means something only inside an organization; give an address, or from as org/region.`, { side: 'client' })
  }
  const addresses = name.includes('/') ? granted(registry, origin.org, name) : addressesOf(registry.store, findService(registry.store, origin.org, name).id)
  const address = addresses.find((candidate) => candidate.network === origin.network) ?? addresses[0]
  if (address === undefined) throw new NearcastError('address.not-found', `${name} has no address; add one.`, { side: 'client' })
  return address.address
}

/** `owner/service`, as a grant gives it. */
function granted({ store }: Registry, org: string, reference: string): AddressRecord[] {
  return addressesUnder(store, findReceivedGrant(store, findOrg(store, org), reference, null).id)
}

function chooseProxy(registry: Registry, id: string | undefined, region: string | undefined): string {
  const connected = registry.feed.connected('proxy')
  const fitting = connected.filter(
    (identity) => (id === undefined || identity === `proxy/${id}`) && (region === undefined || registry.store.get('dialers', identity)?.region === region),
  )
  const proxy = fitting[0]
  if (proxy !== undefined) return proxy
  const wanted = [id && `proxy ${id}`, region && `region ${region}`].filter(Boolean).join(', ') || 'any region'
  throw new NearcastError('explain.no-proxy', `No proxy is connected for ${wanted}; "nearcast status" (GET /v1/status) lists them.`, { side: 'client', retryable: true })
}
