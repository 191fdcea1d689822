/**
 * Keys of the hop: one per (dialer, agent, epoch), derived from a master secret and never stored. Pure.
 *
 * A key belongs to the epoch max(the dialer's, one of the agent's). The dialer's epoch rises with each join of that
 * program, the agent's with its joins and with each rotation; all come from one counter that only rises. So a program
 * that was revoked or joined again can't use what an earlier one knew, and both ends name a key alike.
 */
import { createHmac } from 'node:crypto'
import type { HopKeys } from '../../../lib/feed/messages.ts'
import type { DialerRecord, NodeRecord } from '../store/records.ts'

type Dialer = Pick<DialerRecord, 'id' | 'epoch'>
type Agent = Pick<NodeRecord, 'id' | 'epochs' | 'signing'>

export class HopKeyring {
  readonly #master: Uint8Array

  constructor(master: Uint8Array) {
    this.#master = master
  }

  /** What the agent accepts from this dialer, newest first. */
  accepted(dialer: Dialer, agent: Agent): HopKeys {
    const epochs = new Set(agent.epochs.map((epoch) => Math.max(epoch, dialer.epoch)))
    return [...epochs].toSorted((left, right) => right - left).map((epoch) => this.#key(dialer.id, agent.id, epoch))
  }

  /** The one key that this dialer signs with: an agent that hasn't acknowledged a newer one keeps being dialled with the old. */
  signing(dialer: Dialer, agent: Agent): HopKeys {
    return agent.epochs.length === 0 ? [] : [this.#key(dialer.id, agent.id, Math.max(agent.signing, dialer.epoch))]
  }

  #key(dialer: string, agent: string, epoch: number): HopKeys[number] {
    const key = createHmac('sha256', this.#master).update(JSON.stringify(['nearcast hop key', dialer, agent, epoch])).digest('hex')
    return { epoch, key }
  }
}
