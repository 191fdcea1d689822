/**
 * Nodes that have just failed a connection: until they answer the next probe, or another connection, new ones go elsewhere
 * first, so that a node which has vanished costs each service one attempt and not one after the other. A verdict for all
 * (health.ts) needs more evidence. Pure.
 *
 * A failure that may be one tenant's (an agent that doesn't answer in time may be waiting for an engine) counts for that
 * service alone: nobody can move the connections of others.
 */
interface Suspicion {
  /** How often the node had answered probes. */
  readonly proofs: number
  readonly services: Set<string>
  all: boolean
}

export class Suspicions {
  readonly #byNode = new Map<string, Suspicion>()

  /** `service` null: whoever goes there. */
  add(node: string, service: string | null, proofs: number): void {
    let suspicion = this.#byNode.get(node)
    if (suspicion?.proofs !== proofs) {
      suspicion = { proofs, services: new Set(), all: false }
      this.#byNode.set(node, suspicion)
    }
    if (service === null) suspicion.all = true
    else suspicion.services.add(service)
  }

  /** A connection of this service got through. */
  clear(node: string, service: string): void {
    const suspicion = this.#byNode.get(node)
    if (suspicion === undefined) return
    suspicion.all = false
    suspicion.services.delete(service)
    if (suspicion.services.size === 0) this.#byNode.delete(node)
  }

  has(node: string, service: string, proofs: number): boolean {
    const suspicion = this.#byNode.get(node)
    if (suspicion === undefined) return false
    if (suspicion.proofs === proofs) return suspicion.all || suspicion.services.has(service)
    this.#byNode.delete(node)
    return false
  }
}
