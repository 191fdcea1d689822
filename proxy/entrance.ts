/**
 * Who may come in: the routes' decision first, then the limits on open connections in all and per source network. Keeps
 * the list of what is open, and with it whom to cut when an address is revoked. No sockets, no clock of its own.
 */
import type { Ipv6, NetworkId } from '../lib/address.ts'
import type { SocketAddress } from '../lib/plane/plane.ts'
import type { Admission } from './connection-record.ts'
import type { Decision, Route } from './routes.ts'

export interface EntranceOptions {
  readonly decide: (source: Ipv6, destination: Ipv6, port: number) => Decision
  readonly maxConnections: number
  readonly perNetworkConnections: number
}

interface OpenConnection {
  /** Source and destination network: admitted ones have the same. */
  readonly network: NetworkId
  readonly address: string
  readonly service: string
  readonly generation: number
  /** The hop session that its last header counted in. */
  session: Uint8Array | null
}

export class Entrance {
  readonly #options: EntranceOptions
  readonly #open = new Map<number, OpenConnection>()
  readonly #byAddress = new Map<string, Set<number>>()
  readonly #perNetwork = new Map<NetworkId, number>()
  #draining = false

  constructor(options: EntranceOptions) {
    this.#options = options
  }

  /** `id` stays open until `release`. */
  admit(id: number, source: SocketAddress, destination: SocketAddress): Admission {
    const decision = this.#options.decide(source.ip, destination.ip, destination.port)
    if (!decision.allowed) return decision
    const { network, address, service, generation } = decision.route
    const refusal = this.#refusal(network)
    if (refusal !== null) return { allowed: false, reason: refusal, sourceNetwork: network, network }
    this.#open.set(id, { network, address, service, generation, session: null })
    this.#perNetwork.set(network, (this.#perNetwork.get(network) ?? 0) + 1)
    const siblings = this.#byAddress.get(address)
    if (siblings) siblings.add(id)
    else this.#byAddress.set(address, new Set([id]))
    return { allowed: true, ...decision.route }
  }

  /** Idempotent; connections that were never admitted are nothing here. */
  release(id: number): void {
    const connection = this.#open.get(id)
    if (!connection) return
    this.#open.delete(id)
    const { network, address } = connection
    const left = (this.#perNetwork.get(network) ?? 1) - 1
    if (left === 0) this.#perNetwork.delete(network)
    else this.#perNetwork.set(network, left)
    const siblings = this.#byAddress.get(address)
    siblings?.delete(id)
    if (siblings?.size === 0) this.#byAddress.delete(address)
  }

  /** Remembers which session a header was signed for, so that a refused one is reopened once and not per connection. */
  signed(id: number, session: Uint8Array | null): void {
    const connection = this.#open.get(id)
    if (connection) connection.session = session
  }

  sessionOf(id: number): Uint8Array | undefined {
    return this.#open.get(id)?.session ?? undefined
  }

  /** Open connections to an address that were admitted by another route than the present one. */
  stale(address: string, route: Pick<Route, 'service' | 'generation'> | null): number[] {
    return [...(this.#byAddress.get(address) ?? [])].filter((id) => {
      const connection = this.#open.get(id)
      return connection?.service !== route?.service || connection?.generation !== route?.generation
    })
  }

  /** Addresses with open connections. */
  addresses(): string[] {
    return [...this.#byAddress.keys()]
  }

  /** From here on nobody new is admitted. */
  drain(): void {
    this.#draining = true
  }

  get open(): number {
    return this.#open.size
  }

  #refusal(network: NetworkId): 'limit' | 'draining' | null {
    if (this.#draining) return 'draining'
    const { maxConnections, perNetworkConnections } = this.#options
    return this.#open.size >= maxConnections || (this.#perNetwork.get(network) ?? 0) >= perNetworkConnections ? 'limit' : null
  }
}
