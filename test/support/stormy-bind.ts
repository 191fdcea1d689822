/** A bind that loses, doubles and delays what it sends, from a seed: weather between devices that run in real time. */
import type { Bind, Endpoint } from '../../lib/wireguard/bind.ts'
import type { Random } from './random.ts'
import type { Weather } from './wireguard-network.ts'

export class StormyBind implements Bind {
  /** Datagrams that were sent, and those of them that were lost. */
  sent = 0
  lost = 0
  readonly #bind: Bind
  readonly #weather: Weather
  readonly #random: Random
  #isClosed = false

  constructor(bind: Bind, weather: Weather, random: Random) {
    this.#bind = bind
    this.#weather = weather
    this.#random = random
  }

  get port(): number {
    return this.#bind.port
  }

  open(receive: (datagram: Uint8Array, from: Endpoint) => void): Promise<void> {
    return this.#bind.open(receive)
  }

  send(datagram: Uint8Array, to: Endpoint): void {
    const { loss, doubling, delayMs } = this.#weather
    this.sent++
    if (this.#chance(loss)) {
      this.lost++
      return
    }
    for (let copies = this.#chance(doubling) ? 2 : 1; copies > 0; copies--) {
      const late = (): void => {
        if (!this.#isClosed) this.#bind.send(Uint8Array.from(datagram), to)
      }
      setTimeout(late, this.#random.below(delayMs + 1))
    }
  }

  close(): Promise<void> {
    this.#isClosed = true
    return this.#bind.close()
  }

  #chance(probability: number): boolean {
    return this.#random.below(1_000_000) < probability * 1_000_000
  }
}
