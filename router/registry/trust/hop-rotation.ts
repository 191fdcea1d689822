/**
 * Rotating the hop's keys without refusing one connection, as three steps that acknowledgements drive:
 *   1. `rotate`: every agent accepts a new epoch beside the old one. Dialers still sign with the old.
 *   2. as each agent has acknowledged that, dialers are told to sign with its new key.
 *   3. when every agent is at step 2 and every dialer has acknowledged, the old epoch is dropped everywhere.
 *
 * Keys don't expire by time (fail static). A program that is away holds up step 2 (its own) or step 3 (everybody's old
 * key): it may still be serving from its last table, and cutting it would be an outage made by us. Whoever must not come
 * back is revoked (DELETE /v1/proxies/{id}, /v1/nodes/{id}), which drops its keys at once and lets the rotation end.
 */
import type { Acknowledgements } from '../feed/acknowledgements.ts'
import type { NodeRecord } from '../store/records.ts'
import type { Act, Store, StoreReader, StoreTransaction } from '../store/store.ts'

const ACT: Act = { who: 'router', what: 'hop-keys.advance' }

export class HopRotation {
  readonly #store: Store
  readonly #acknowledgements: Acknowledgements
  #running: boolean

  constructor(store: Store, acknowledgements: Acknowledgements) {
    this.#store = store
    this.#acknowledgements = acknowledgements
    this.#running = rotating(store).length > 0
  }

  get running(): boolean {
    return this.#running
  }

  rotate(act: Act): { epoch: number; revision: number } {
    const { result, revision } = this.#store.write(act, (transaction) => {
      const epoch = transaction.next('hop-epoch')
      for (const node of agents(transaction)) {
        transaction.put('nodes', { ...node, epochs: [epoch, node.signing], keysRevision: transaction.nextRevision })
      }
      showDialersAgain(transaction)
      return epoch
    })
    this.#running = true
    this.advance()
    return { epoch: result, revision }
  }

  /** Called after every acknowledgement and every revocation; does nothing while no rotation runs. */
  advance(): void {
    if (!this.#running) return
    const open = rotating(this.#store)
    const ready = open.filter((node) => node.signing !== node.epochs[0] && this.#has(`agent/${node.id}`, node.keysRevision))
    if (ready.length > 0) {
      this.#store.write(ACT, (transaction) => {
        for (const node of ready) {
          transaction.put('nodes', { ...node, signing: node.epochs[0] ?? node.signing, keysRevision: transaction.nextRevision })
        }
      })
    } else if (open.every((node) => node.signing === node.epochs[0] && this.#dialersHave(node))) {
      if (open.length > 0) this.#store.write(ACT, (transaction) => finish(transaction, open))
      this.#running = false
    }
  }

  #dialersHave(node: NodeRecord): boolean {
    const dialers = this.#store.list('dialers').filter((dialer) => dialer.kind === 'proxy' || dialer.peers.includes(node.id))
    return dialers.every((dialer) => this.#has(dialer.id, node.keysRevision))
  }

  #has(identity: string, revision: number): boolean {
    return this.#acknowledgements.inForce(identity) >= revision
  }
}

function finish(transaction: StoreTransaction, nodes: readonly NodeRecord[]): void {
  for (const node of nodes) transaction.put('nodes', { ...node, epochs: [node.signing], keysRevision: transaction.nextRevision })
  showDialersAgain(transaction)
}

/** A dialer's row holds keys that depend on the reading agent's epochs: those changed, so all rows are sent again. */
function showDialersAgain(transaction: StoreTransaction): void {
  for (const dialer of transaction.list('dialers')) transaction.put('dialers', { ...dialer, rotation: transaction.nextRevision })
}

function agents(store: StoreReader): NodeRecord[] {
  return store.list('nodes').filter((node) => node.hop === 'signed-v2' && !node.revoked)
}

function rotating(store: StoreReader): NodeRecord[] {
  return agents(store).filter((node) => node.epochs.length > 1)
}
