/**
 * A TUN interface that knows a word of farewell: a host whose backbone ends says so to the others, inside the tunnel, and
 * they leave the tunnel at once instead of sending into it until they miss a keepalive. The word is an IPv6 packet without
 * anything behind its header (next header 59, RFC 8200, section 4.7): who doesn't know it ignores it.
 */
import { formatIpv6, ipv6FromBytes, parseIpv6 } from '../../lib/address.ts'
import type { Tun } from '../../lib/wireguard/tun.ts'

const HEADER_BYTES = 40
const NO_NEXT_HEADER = 59

export class FarewellTun implements Tun {
  readonly #tun: Tun
  readonly #onFarewell: (address: string) => void
  #send: ((packet: Uint8Array) => void) | null = null

  /** `onFarewell` gets an address of the host that leaves: its own, as the engine has seen to. */
  constructor(tun: Tun, onFarewell: (address: string) => void) {
    this.#tun = tun
    this.#onFarewell = onFarewell
  }

  get mtu(): number {
    return this.#tun.mtu
  }

  open(send: (packet: Uint8Array) => void): Promise<void> {
    this.#send = send
    return this.#tun.open(send)
  }

  write(packet: Uint8Array): boolean {
    if (packet.length !== HEADER_BYTES || packet[6] !== NO_NEXT_HEADER) return this.#tun.write(packet)
    this.#onFarewell(formatIpv6(ipv6FromBytes(packet.slice(8, 24))))
    return true
  }

  /** Addresses of this host and of those who are to know. */
  sayFarewell(from: string, to: readonly string[]): void {
    for (const address of to) this.#send?.(Uint8Array.from([0x60, 0, 0, 0, 0, 0, NO_NEXT_HEADER, 1, ...parseIpv6(from), ...parseIpv6(address)]))
  }

  close(): Promise<void> {
    this.#send = null
    return this.#tun.close()
  }
}
