/** Which programs there are, and how far each has come: /v1/status, /v1/proxies and /v1/regions. */
import type { z } from 'zod'
import type { Registry } from '../registry.ts'
import type { DialerRecord } from '../store/records.ts'
import type { programAnswer, regionAnswer, statusAnswer } from './answers.ts'

export function statusDocument(registry: Registry): z.infer<typeof statusAnswer> {
  const { store, rotation } = registry
  return {
    router: registry.id,
    revision: store.revision,
    keyRotation: rotation.running ? 'running' : 'none',
    programs: store.list('dialers').map((member) => programDocument(registry, member)),
  }
}

/** In the order of their names. */
export function regionsDocument(registry: Registry): z.infer<typeof regionAnswer>[] {
  const regions = new Map<string, { nodes: number; connected: number }>()
  for (const { id, region, hop, revoked } of registry.store.list('nodes')) {
    if (hop !== 'signed-v2' || revoked) continue
    const { nodes, connected } = regions.get(region) ?? { nodes: 0, connected: 0 }
    regions.set(region, { nodes: nodes + 1, connected: connected + (registry.feed.isConnected(`agent/${id}`) ? 1 : 0) })
  }
  return [...regions].map(([id, counts]) => ({ id, ...counts })).toSorted((left, right) => (left.id < right.id ? -1 : 1))
}

export function proxiesDocument(registry: Registry): z.infer<typeof programAnswer>[] {
  return registry.store
    .list('dialers')
    .filter((member) => member.kind === 'proxy')
    .map((member) => programDocument(registry, member))
}

function programDocument(registry: Registry, member: DialerRecord): z.infer<typeof programAnswer> {
  const { kind, region, host, createdAt } = member
  const base = { kind, id: member.id.slice(kind.length + 1), identity: member.id, region, host, joinedAt: createdAt }
  const reader = registry.feed.status(member.id)
  if (reader === null) return { ...base, connected: false, revision: registry.feed.acknowledgements.inForce(member.id), lag: null }
  return {
    ...base,
    connected: true,
    program: reader.program,
    connectedAt: reader.connectedAt,
    revision: reader.acked,
    /** Revisions sent and not acknowledged. */
    lag: Math.max(0, reader.sent - reader.acked),
    unavailable: reader.unavailable,
  }
}
