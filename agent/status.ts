/**
 * What an agent answers to the router's question "status": its databases and backends, one row each. Ids and states, no
 * secret.
 */
import type { FeedReader } from '../lib/feed/reader.ts'
import { BackendWatch } from './backends/backend-watch.ts'
import type { Backends } from './backends/backends.ts'
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
    /** Its engine was ended because nobody used it. */
    readonly resting: boolean
    readonly writesRefused: boolean
    readonly linked: boolean | null
    readonly connections: number
  }[]
  readonly backends: readonly {
    readonly service: string
    /** null: available. */
    readonly reason: string | null
    readonly connections: number
  }[]
}

export function status(
  { id, region }: Pick<AgentConfig, 'id' | 'region'>,
  { ingress, tenants, backends }: { readonly ingress: Ingress; readonly tenants: Tenants; readonly backends: Backends },
  { state, revision }: Pick<FeedReader, 'state' | 'revision'>,
): AgentStatus {
  return {
    agent: id,
    region,
    feed: { state, revision },
    connections: ingress.openConnections,
    databases: [...tenants.supervisors].map(([service, { specification, reason, resting, writesRefused, linked }]) => ({
      service,
      role: specification.primary === null ? 'primary' : 'replica',
      reason,
      resting,
      writesRefused,
      linked,
      connections: ingress.perService.get(service) ?? 0,
    })),
    backends: [...backends.services].map(([service, watch]) => ({
      service,
      reason: watch instanceof BackendWatch ? watch.reason : watch.code,
      connections: ingress.perService.get(service) ?? 0,
    })),
  }
}
