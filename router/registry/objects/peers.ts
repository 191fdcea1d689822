/**
 * Which agents may dial which: those that hold a database in common (replication). Written into the rows of both, so that
 * what a program may see is read from one row alone.
 */
import type { StoreTransaction } from '../store/store.ts'

export function refreshPeers(transaction: StoreTransaction, nodes: readonly string[]): void {
  for (const id of new Set(nodes)) {
    const node = transaction.get('nodes', id)
    if (node === null || node.hop !== 'signed-v2') continue
    const redis = transaction.linkedTo('services', 'nodes', id).filter((service) => service.kind === 'redis')
    const together = redis.flatMap((service) => service.placements.map((placement) => placement.node))
    const peers = [...new Set(together)].filter((other) => other !== id).toSorted()
    if (peers.join() !== node.peers.join()) transaction.put('nodes', { ...node, peers })
    const dialer = transaction.get('dialers', `agent/${id}`)
    if (dialer !== null && peers.join() !== dialer.peers.join()) transaction.put('dialers', { ...dialer, peers })
  }
}
