/**
 * A host of the backbone changes its key without losing anybody, in three steps that acknowledgements drive:
 *   1. `offer`: every host accepts the next key beside the one in use.
 *   2. all have acknowledged that: the host is told to use the next one.
 *   3. the host has acknowledged that: the one before is dropped everywhere.
 *
 * As with the hop's keys (hop-rotation.ts) a host that is away holds up step 2: it may still be serving from its last table.
 */
import { NearcastError } from '../../../lib/errors.ts'
import type { Acknowledgements } from '../feed/acknowledgements.ts'
import { findBackboneHost } from '../objects/backbone.ts'
import type { BackboneRecord } from '../store/records.ts'
import type { Act, Store } from '../store/store.ts'

const ACT: Act = { who: 'router', what: 'backbone.rekey-advance' }

export class BackboneRekey {
  readonly #store: Store
  readonly #acknowledgements: Acknowledgements
  #running: boolean

  constructor(store: Store, acknowledgements: Acknowledgements) {
    this.#store = store
    this.#acknowledgements = acknowledgements
    this.#running = rekeying(store).length > 0
  }

  /** @throws NearcastError backbone.not-found, backbone.rekeying, wireguard.key-taken */
  offer(act: Act, id: string, publicKey: string): number {
    const { revision } = this.#store.write(act, (transaction) => {
      const host = findBackboneHost(transaction, id)
      this.check(host)
      const [current = ''] = host.keys
      if (transaction.list('backbone').some(({ keys }) => keys.includes(publicKey))) throw new NearcastError('wireguard.key-taken', `${id} offered a key that is in use.`)
      transaction.put('backbone', { ...host, keys: [current, publicKey], rekey: 'offered', keysRevision: transaction.nextRevision })
    })
    this.#running = true
    this.advance()
    return revision
  }

  /** @throws NearcastError backbone.rekeying */
  check({ id, rekey }: BackboneRecord): void {
    if (rekey !== undefined) throw new NearcastError('backbone.rekeying', `${id} changes its key already; "nearcast fleet backbone list" says whom it waits for.`, { side: 'client' })
  }

  /** Identities that a change of keys waits for; empty when there is none. */
  waitsFor({ id, rekey, keysRevision }: BackboneRecord): string[] {
    if (rekey === undefined) return []
    const concerned = rekey === 'taken' ? [`backbone/${id}`] : this.#store.list('dialers').flatMap((member) => (member.kind === 'backbone' ? [member.id] : []))
    return concerned.filter((identity) => this.#acknowledgements.inForce(identity) < keysRevision)
  }

  /** Called after every acknowledgement and every removal; does nothing while no key changes. */
  advance(): void {
    if (!this.#running) return
    const open = rekeying(this.#store)
    this.#running = open.length > 0
    const ready = open.filter((host) => this.waitsFor(host).length === 0)
    if (ready.length === 0) return
    this.#store.write(ACT, (transaction) => {
      for (const { rekey, ...host } of ready) {
        const keysRevision = transaction.nextRevision
        if (rekey === 'offered') transaction.put('backbone', { ...host, keys: host.keys.toReversed(), rekey: 'taken', keysRevision })
        else transaction.put('backbone', { ...host, keys: host.keys.slice(0, 1), keysRevision })
      }
    })
  }
}

function rekeying(store: Store): BackboneRecord[] {
  return store.list('backbone').filter(({ rekey }) => rekey !== undefined)
}
