/** A TUN interface behind the rules of inner-packets.ts; counts what passes and what doesn't. */
import type { Tun } from '../../lib/wireguard/tun.ts'
import type { InnerDrop } from './inner-packets.ts'
import { INNER_DROPS, judgeInbound, judgeOutbound } from './inner-packets.ts'

export class GuardedTun implements Tun {
  readonly drops = new Map<InnerDrop, number>(INNER_DROPS.map((reason) => [reason, 0]))
  /** From peers, and to them; bytes of the packets inside. */
  readonly bytes = { received: 0, sent: 0 }
  readonly packets = { received: 0, sent: 0 }
  readonly #tun: Tun
  readonly #prefix: number

  constructor(tun: Tun, prefix: number) {
    this.#tun = tun
    this.#prefix = prefix
  }

  get mtu(): number {
    return this.#tun.mtu
  }

  open(send: (packet: Uint8Array) => void): Promise<void> {
    return this.#tun.open((packet) => {
      const drop = judgeOutbound(packet, this.#prefix)
      if (drop !== null) return this.#count(drop)
      this.packets.sent++
      this.bytes.sent += packet.length
      send(packet)
    })
  }

  write(packet: Uint8Array): boolean {
    const drop = judgeInbound(packet, this.#prefix)
    if (drop !== null) {
      this.#count(drop)
      return false
    }
    this.packets.received++
    this.bytes.received += packet.length
    return this.#tun.write(packet)
  }

  close(): Promise<void> {
    return this.#tun.close()
  }

  #count(reason: InnerDrop): void {
    this.drops.set(reason, (this.drops.get(reason) ?? 0) + 1)
  }
}
