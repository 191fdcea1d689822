/**
 * How a placement stands in the table: a number for its node, which control and data threads have agreed upon, and its
 * role. Pure.
 */
import type { ServiceRow } from '../../lib/feed/messages.ts'

type Placement = ServiceRow['placements'][number]

const ROLES: readonly Placement['role'][] = ['primary', 'replica', 'peer']
const ROLE_BITS = 2

export function candidateOf(node: number, role: Placement['role']): number {
  return (node << ROLE_BITS) | ROLES.indexOf(role)
}

/** @returns null for a node whose name nobody has said. */
export function placementOf(candidate: number, names: ReadonlyMap<number, string>): Placement | null {
  const node = names.get(candidate >>> ROLE_BITS)
  const role = ROLES[candidate & ((1 << ROLE_BITS) - 1)]
  return node === undefined || role === undefined ? null : { node, role }
}
