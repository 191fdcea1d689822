/** An interface without a system behind it: `inject` is what its programs send, `packets` what they get. */
import { DEFAULT_MTU } from './constants.ts'
import type { Tun } from './tun.ts'

export class MemoryTun implements Tun {
  readonly mtu: number
  readonly #receive: (packet: Uint8Array) => void
  #send: ((packet: Uint8Array) => void) | null = null

  /** `receive` gets a copy of each packet. */
  constructor(receive: (packet: Uint8Array) => void, mtu = DEFAULT_MTU) {
    this.#receive = receive
    this.mtu = mtu
  }

  open(send: (packet: Uint8Array) => void): Promise<void> {
    this.#send = send
    return Promise.resolve()
  }

  inject(packet: Uint8Array): void {
    this.#send?.(packet)
  }

  write(packet: Uint8Array): boolean {
    if (this.#send === null) return false
    this.#receive(Uint8Array.from(packet))
    return true
  }

  close(): Promise<void> {
    this.#send = null
    return Promise.resolve()
  }
}
