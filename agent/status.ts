/**
 * What an agent answers to the router's question "status": its databases, one row each. Ids and states, no secret.
 */
import type { FeedReader } from '../lib/feed/reader.ts'
import type { AgentConfig } from './config.ts'
import type { Ingress } from './ingress.ts'
import type { Tenants } from './tenants/tenants.ts'

export interface AgentStatus {
  readonly agent: string
  readonly region: string
  readonly feed: { readonly state: string; readonly revision: number }
  readonly connections: number
  readonly databases: readonly {
    readonly service: string
    readonly role: 'primary' | 'replica'
    /** null: available. */
    readonly reason: string | null
    readonly writesRefused: boolean
    readonly linked: boolean | null
    readonly connections: number
  }[]
}

export function status(
  { id, region }: Pick<AgentConfig, 'id' | 'region'>,
  { ingress, tenants }: { readonly ingress: Ingress; readonly tenants: Tenants },
  { state, revision }: Pick<FeedReader, 'state' | 'revision'>,
): AgentStatus {
  return {
    agent: id,
    region,
    feed: { state, revision },
    connections: ingress.openConnections,
    databases: [...tenants.supervisors].map(([service, { specification, reason, writesRefused, linked }]) => ({
      service,
      role: specification.primary === null ? 'primary' : 'replica',
      reason,
      writesRefused,
      linked,
      connections: ingress.perService.get(service) ?? 0,
    })),
  }
}
