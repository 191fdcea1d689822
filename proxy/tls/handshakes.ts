/**
 * How many clients may be between their first TLS byte and the end of their handshake: in all, and per source network, so
 * that one tenant's half handshakes cost the others nothing. Asked before anything is held for a client. Pure.
 */
import type { NetworkId } from '../../lib/address.ts'

export interface HandshakeLimits {
  readonly total: number
  readonly perNetwork: number
}

export class Handshakes {
  readonly #limits: HandshakeLimits
  readonly #perNetwork = new Map<NetworkId, number>()
  #open = 0

  constructor(limits: HandshakeLimits) {
    this.#limits = limits
  }

  get open(): number {
    return this.#open
  }

  /** @returns false: too many. Else `end` must follow, once. */
  begin(network: NetworkId): boolean {
    const ofNetwork = this.#perNetwork.get(network) ?? 0
    if (this.#open >= this.#limits.total || ofNetwork >= this.#limits.perNetwork) return false
    this.#open++
    this.#perNetwork.set(network, ofNetwork + 1)
    return true
  }

  end(network: NetworkId): void {
    const left = (this.#perNetwork.get(network) ?? 0) - 1
    if (left < 0) return
    this.#open--
    if (left === 0) this.#perNetwork.delete(network)
    else this.#perNetwork.set(network, left)
  }
}
