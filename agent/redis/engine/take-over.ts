/**
 * Bringing an engine that an agent before this one started to what it would be had this one started it: whatever changed in
 * between is changed under its running process.
 */
import { AGENT_USER, REPLICATION_USER } from './acl.ts'
import { COPIES_NEVER, liveChanges } from './configuration.ts'
import type { EngineSettings } from './configuration.ts'
import type { EngineHealth } from './health.ts'

const OURS: ReadonlySet<string> = new Set(['default', AGENT_USER, REPLICATION_USER])

export interface TakenOver {
  /** The tenant's further users, as it has them. */
  readonly users: readonly { readonly name: string }[]
}

/** @returns in words why it has to be replaced, instead */
export async function takeOver(health: EngineHealth, settings: EngineSettings): Promise<TakenOver | string> {
  if (health.refused) return "it doesn't know this agent"
  const [replication, users] = (await health.ask([['INFO', 'replication'], ['ACL', 'USERS']])) ?? []
  if (replication?.kind !== 'text' || users?.kind !== 'list') return "it doesn't answer"
  if (settings.specification.primary !== null && /^role:master/m.test(replication.text)) return 'it was a primary, and has to copy now'
  if (!(await health.apply([...liveChanges(settings), COPIES_NEVER]))) return "it doesn't take its configuration"
  return { users: users.items.flatMap((item) => (item.kind === 'text' && !OURS.has(item.text) ? [{ name: item.text }] : [])) }
}
