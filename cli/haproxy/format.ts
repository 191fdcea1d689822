/**
 * Services of an organization as an HAProxy configuration, for leaving. HAProxy can't sign headers, so an agent isn't
 * reached by it: servers behind agents are named in comments, to be filled in with their own addresses. Pure.
 */
import { z } from 'zod'

export const exportedService = z.looseObject({
  name: z.string(),
  kind: z.string(),
  port: z.number(),
  nodes: z.array(z.string()),
  backend: z.string().optional(),
})
export const exportedAddress = z.looseObject({ address: z.string(), network: z.number(), service: z.string(), port: z.number().nullable() })
export const exportedNode = z.looseObject({ id: z.string(), hop: z.string(), endpoint: z.string(), host: z.string() })
export const exportedNetwork = z.looseObject({ id: z.number(), prefix: z.string() })

export interface Exported {
  readonly org: string
  readonly services: readonly z.infer<typeof exportedService>[]
  readonly addresses: readonly z.infer<typeof exportedAddress>[]
  readonly nodes: readonly z.infer<typeof exportedNode>[]
  readonly networks: readonly z.infer<typeof exportedNetwork>[]
}

const HEAD = `global
    maxconn 20000

defaults
    mode tcp
    option tcplog
    timeout connect 5s
    timeout client 24h
    timeout server 24h
    # HAProxy doesn't measure latency: the first server that is up is taken. Order them by hand.
    balance first
`

export function formatHaproxy(exported: Exported): string {
  const { org, services, addresses } = exported
  const listens = services.flatMap((service) => addresses.filter((address) => address.service === service.name).map((address, index) => listen(exported, service, address, index)))
  return [`# Written by "nearcast export haproxy" for ${org}. Check it with: haproxy -c -f <file>`, HEAD, ...listens].join('\n')
}

function listen({ networks, nodes }: Exported, service: Exported['services'][number], address: Exported['addresses'][number], index: number): string {
  const prefix = networks.find(({ id }) => id === address.network)?.prefix
  const servers = service.nodes.flatMap((id) => nodes.find((node) => node.id === id) ?? [])
  return [
    `listen ${service.name}${index === 0 ? '' : `-${index + 1}`}`,
    `    bind [${address.address}]:${service.port} transparent`,
    ...(prefix === undefined
      ? ['    # The network is not one of this organization: write who may connect.', '    tcp-request connection reject']
      : [`    # Only from its own network. The kernel must guarantee sources: HAProxy can't.`, `    tcp-request connection reject unless { src ${prefix} }`]),
    ...servers.map((node) => server(service, node)),
    '',
  ].join('\n')
}

function server(service: Exported['services'][number], { id, hop, endpoint, host }: Exported['nodes'][number]): string {
  if (hop === 'v1') return `    server ${id} ${endpoint} check send-proxy`
  if (hop === 'v2') return `    server ${id} ${endpoint} check send-proxy-v2`
  const where = service.kind === 'redis' ? 'its redis-server on a port' : `its backend ${service.backend ?? ''}`.trimEnd()
  return `    # ${id} is an agent, which takes signed headers only. Open ${where} to this host, then:\n    # server ${id} <address of ${host}>:<port> check`
}
