/** A TUN interface behind the rules of inner-packets.ts; counts what passes and what doesn't. */
import type { Tun } from '../../lib/wireguard/tun.ts'
import type { Crossing } from './crossing.ts'
import type { InnerDrop } from './inner-packets.ts'
import { INNER_DROPS, judgeInbound, judgeOutbound } from './inner-packets.ts'
import type { Neighbours } from './neighbours.ts'

/** Where packets go that aren't for the host. */
export interface Elsewhere {
  readonly neighbours: Pick<Neighbours, 'has' | 'isWord' | 'hear'>
  readonly crossing: Crossing
}

export class GuardedTun implements Tun {
  readonly drops = new Map<InnerDrop, number>(INNER_DROPS.map((reason) => [reason, 0]))
  /** From peers to the host, from the host to peers, and from peer to peer; bytes of the packets inside. */
  readonly bytes = { received: 0, sent: 0, crossed: 0 }
  readonly packets = { received: 0, sent: 0, crossed: 0 }
  readonly #tun: Tun
  readonly #prefix: number
  readonly #elsewhere: () => Elsewhere
  #send: ((packet: Uint8Array) => void) | null = null

  /** `elsewhere`: asked with the first packet, for it is made on top of this. */
  constructor(tun: Tun, prefix: number, elsewhere: () => Elsewhere) {
    this.#tun = tun
    this.#prefix = prefix
    this.#elsewhere = elsewhere
  }

  get mtu(): number {
    return this.#tun.mtu
  }

  open(send: (packet: Uint8Array) => void): Promise<void> {
    this.#send = send
    return this.#tun.open((packet) => {
      const drop = judgeOutbound(packet, this.#prefix)
      if (drop !== null) {
        this.#count(drop)
        return
      }
      this.packets.sent++
      this.bytes.sent += packet.length
      send(packet)
    })
  }

  /** A packet of our own, into the device. */
  send(packet: Uint8Array): void {
    this.#send?.(packet)
  }

  write(packet: Uint8Array, from = ''): boolean {
    const { neighbours, crossing } = this.#elsewhere()
    const isNeighbour = neighbours.has(from)
    if (isNeighbour && neighbours.isWord(packet, from)) return neighbours.hear(packet, from) || this.#count('strayed')
    const verdict = judgeInbound(packet, this.#prefix)
    if (verdict.to === null) return this.#count(verdict.drop)
    const { length } = packet
    if (verdict.to === 'flycast') {
      if (isNeighbour) return this.#count('strayed')
      this.packets.received++
      this.bytes.received += length
      return this.#tun.write(packet)
    }
    const drop = crossing.take(packet, isNeighbour ? 'gateway' : 'peer', verdict.network)
    if (drop !== null) return this.#count(drop)
    this.packets.crossed++
    this.bytes.crossed += length
    return true
  }

  close(): Promise<void> {
    this.#send = null
    return this.#tun.close()
  }

  /** @returns false, for whoever lost it */
  #count(reason: InnerDrop): false {
    this.drops.set(reason, (this.drops.get(reason) ?? 0) + 1)
    return false
  }
}
