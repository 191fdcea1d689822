/**
 * A TUN interface of the system as the seam `Tun`: many segments of a TCP stream come and go as one packet (tcp-segments.ts).
 * Needs Linux, `/dev/net/tun` and CAP_NET_ADMIN in the user namespace that owns the network: as an ordinary user, in a namespace
 * of one's own. Addresses and routes are whoever's who calls.
 */
import type { Socket } from 'node:net'
import { TunDevice } from '../kernel/tun-device.ts'
import { watchDescriptor } from '../kernel/watched-descriptor.ts'
import { DEFAULT_MTU } from './constants.ts'
import { split, TcpRow, VIRTIO_HEADER_BYTES } from './tcp-segments.ts'
import type { Tun } from './tun.ts'

/** The largest packet with its header, and more. */
const BUFFER_BYTES = 17 * 4096
/** Each may be a row of forty; then what came from the network has its turn. */
const READS_PER_TURN = 16

export class KernelTun implements Tun {
  readonly mtu: number
  readonly #device: TunDevice
  readonly #incoming = new Uint8Array(BUFFER_BYTES)
  readonly #outgoing = new Uint8Array(BUFFER_BYTES)
  readonly #row = new TcpRow(this.#outgoing)
  #watch: Socket | null = null
  #isScheduled = false
  #isClosed = false

  /** Made at once, in the network namespace of the calling thread. `name`: `wg0`, or `wg%d` for the next free one. @throws NearcastError wireguard.tun-unavailable, kernel.* */
  constructor(name: string, mtu = DEFAULT_MTU) {
    this.mtu = mtu
    this.#device = new TunDevice(name, mtu)
  }

  get name(): string {
    return this.#device.name
  }

  /** @throws NearcastError kernel.* */
  // oxlint-disable-next-line require-await -- a throw is to become a rejection
  async open(send: (packet: Uint8Array) => void): Promise<void> {
    this.#watch = watchDescriptor(this.#device.duplicate(), (bytes) => this.#take(bytes, send), this.#incoming).resume()
  }

  /** What follows in the same turn of the loop may join it. */
  write(packet: Uint8Array): boolean {
    if (this.#isClosed || packet.length === 0) return false
    if (!this.#row.add(packet)) {
      this.#flush()
      this.#row.add(packet)
    }
    if (!this.#isScheduled) {
      this.#isScheduled = true
      queueMicrotask(this.#flushScheduled)
    }
    return true
  }

  close(): Promise<void> {
    this.#isClosed = true
    this.#watch?.destroy()
    this.#device.close()
    return Promise.resolve()
  }

  /** The first has been read already. */
  #take(bytes: number, send: (packet: Uint8Array) => void): void {
    let length = bytes
    for (let count = 1; length > VIRTIO_HEADER_BYTES && !this.#isClosed; count++) {
      split(this.#incoming.subarray(0, length), send)
      if (this.#isClosed || count === READS_PER_TURN) return
      length = this.#device.read(this.#incoming)
    }
  }

  readonly #flushScheduled = (): void => {
    this.#isScheduled = false
    this.#flush()
  }

  #flush(): void {
    if (this.#row.isEmpty || this.#isClosed) return
    this.#device.write(this.#outgoing, this.#row.finish())
  }
}
