/** Data nodes: foreign ones are added by an operator; agents add themselves by joining (members.ts). */
import { NearcastError } from '../../../lib/errors.ts'
import type { NodeRecord } from '../store/records.ts'
import type { StoreReader, StoreTransaction } from '../store/store.ts'
import type { Clock } from './clock.ts'

export interface ForeignNode {
  readonly id: string
  readonly region: string
  readonly host: string
  readonly hop: 'v1' | 'v2'
  readonly endpoint: string
}

/** @throws NearcastError name.taken */
export function addForeignNode(transaction: StoreTransaction, node: ForeignNode, clock: Clock): NodeRecord {
  if (transaction.get('nodes', node.id) !== null) throw new NearcastError('name.taken', `There is a node "${node.id}" already.`, { side: 'client' })
  const record: NodeRecord = { ...node, epochs: [], signing: 0, keysRevision: 0, peers: [], revoked: false, draining: false, createdAt: clock().toISOString() }
  transaction.put('nodes', record)
  return record
}

/**
 * A foreign node goes when nothing is placed on it. An agent is revoked at once: its identity counts no more, and its
 * node is invisible; while databases are placed on it the record stays, so that the agent can join again with its data.
 * @throws NearcastError node.not-found, node.in-use
 */
export function removeNode(transaction: StoreTransaction, id: string): void {
  const node = findNode(transaction, id)
  const used = transaction.linkedTo('services', 'nodes', id).length
  if (node.hop !== 'signed-v2') {
    if (used > 0) throw new NearcastError('node.in-use', `${used} services are placed on ${id}; remove them first.`, { side: 'client' })
    transaction.remove('nodes', id)
    return
  }
  transaction.remove('dialers', `agent/${id}`)
  if (used > 0) transaction.put('nodes', { ...node, revoked: true })
  else transaction.remove('nodes', id)
}

/** Draining or not. @throws NearcastError node.not-found */
export function setDraining(transaction: StoreTransaction, id: string, draining: boolean): void {
  const node = findNode(transaction, id)
  if (node.draining !== draining) transaction.put('nodes', { ...node, draining })
}

export function findNode(store: StoreReader, id: string): NodeRecord {
  const node = store.get('nodes', id)
  if (node === null) throw new NearcastError('node.not-found', `There is no node "${id.slice(0, 64)}".`, { side: 'client' })
  return node
}
