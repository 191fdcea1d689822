/**
 * Packets from a machine to another one of its network, both of them WireGuard peers: to the session that the other one has
 * here, or to the gateway where it is. The device has shown already that the source is the sender's own, or, for a packet of
 * another gateway, that its peer is there; here the rest: where it goes, whether it fits, and a word to the sender when not.
 * What came from a gateway goes to no other one, so nothing goes in circles.
 */
import { ipv6FromBytes } from '../../lib/address.ts'
import type { NetworkId } from '../../lib/address.ts'
import { icmpError } from './icmp-error.ts'
import type { IcmpProblem } from './icmp-error.ts'
import type { InnerDrop } from './inner-packets.ts'
import { limitSegments } from './tcp-mss.ts'

/** From a machine, or from another gateway. */
export type Sender = 'peer' | 'gateway'

export interface CrossingOptions {
  /** Whose the address is that stands there in a packet: a public key, or null. */
  readonly ownerAt: (packet: Uint8Array, offset: number) => string | null
  readonly isGateway: (publicKey: string) => boolean
  readonly isReached: (gateway: string) => boolean
  /** Of packets to another gateway. */
  readonly mtu: number
  readonly send: (packet: Uint8Array) => void
  /** Monotonic. */
  readonly nowMs: () => number
}

const DESTINATION = 24
const HOP_LIMIT = 7
/** To the machines of one network (RFC 4443, section 2.4 f). */
const ERRORS_PER_SECOND = 100

export class Crossing {
  readonly #options: CrossingOptions
  readonly #errors = new Map<NetworkId, number>()
  #errorsSinceMs = 0

  constructor(options: CrossingOptions) {
    this.#options = options
  }

  /** Both addresses are peers' of this network. `packet` is changed. @returns why it goes nowhere, or null */
  take(packet: Uint8Array, sender: Sender, network: NetworkId): InnerDrop | null {
    const { ownerAt, isGateway, isReached, mtu, send } = this.#options
    const owner = ownerAt(packet, DESTINATION)
    const isElsewhere = owner !== null && isGateway(owner)
    if (owner === null || (sender === 'gateway' && isElsewhere)) return this.#refuse('absent', { kind: 'unreachable' }, packet, sender, network)
    if (isElsewhere && !isReached(owner)) return this.#refuse('away', { kind: 'unreachable' }, packet, sender, network)
    if (isElsewhere && packet.length > mtu) return this.#refuse('too-big', { kind: 'too-big', mtu }, packet, sender, network)
    const hops = packet[HOP_LIMIT] ?? 0
    if (hops <= 1) return this.#refuse('hops', { kind: 'hops' }, packet, sender, network)
    packet[HOP_LIMIT] = hops - 1
    // What it says of itself to either side, here and on the way back.
    if (isElsewhere || sender === 'gateway') limitSegments(packet, mtu)
    send(packet)
    return null
  }

  #refuse(drop: InnerDrop, problem: IcmpProblem, packet: Uint8Array, sender: Sender, network: NetworkId): InnerDrop {
    // A machine elsewhere has its own gateway to tell it, once that knows.
    if (sender === 'gateway' || !this.#mayTell(network)) return drop
    // The subnet's own address, the first of the sender's /120: it believes what comes from its network.
    const router = ipv6FromBytes(packet.subarray(8, 24))
    router[15] = 0
    const error = icmpError(problem, packet, router)
    if (error !== null) this.#options.send(error)
    return drop
  }

  #mayTell(network: NetworkId): boolean {
    const now = this.#options.nowMs()
    if (now - this.#errorsSinceMs >= 1000) {
      this.#errors.clear()
      this.#errorsSinceMs = now
    }
    const count = (this.#errors.get(network) ?? 0) + 1
    this.#errors.set(network, count)
    return count <= ERRORS_PER_SECOND
  }
}
