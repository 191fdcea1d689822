/**
 * A TUN interface of the system that moves many segments of a TCP stream as one packet (tcp-segments.ts), read and written in
 * the thread that has the device. Needs what `KernelTun` needs, and io_uring to wait for it.
 */
import { PinnedMemory } from '../kernel/memory.ts'
import { ReadableWatch } from '../kernel/readable-watch.ts'
import { readTun, TunDevice } from '../kernel/tun-device.ts'
import { systemCalls } from '../kernel/ffi.ts'
import { DEFAULT_MTU } from './constants.ts'
import { split, TcpRow, VIRTIO_HEADER_BYTES } from './tcp-segments.ts'
import type { Tun } from './tun.ts'

const BUFFER_BYTES = 17 * 4096
/** Each may be a row of forty; then what came from the network has its turn. */
const READS_PER_TURN = 16

export class OffloadTun implements Tun {
  readonly mtu: number
  readonly #device: TunDevice
  readonly #calls = systemCalls()
  readonly #incoming = PinnedMemory.take(BUFFER_BYTES)
  readonly #outgoing = PinnedMemory.take(BUFFER_BYTES)
  readonly #row = new TcpRow(this.#outgoing.bytes)
  #watch: ReadableWatch | null = null
  #isScheduled = false
  #isClosed = false

  /** Made at once, in the network namespace of the calling thread. `name`: `wg0`, or `wg%d` for the next free one. @throws NearcastError wireguard.tun-unavailable, kernel.* */
  constructor(name: string, mtu = DEFAULT_MTU) {
    this.mtu = mtu
    this.#device = new TunDevice(name, mtu, true)
  }

  get name(): string {
    return this.#device.name
  }

  /** @throws NearcastError kernel.* */
  // oxlint-disable-next-line require-await -- a throw is to become a rejection
  async open(send: (packet: Uint8Array) => void): Promise<void> {
    this.#watch = new ReadableWatch([{ fd: this.#device.fd, read: () => this.#read(send) }])
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
    if (this.#isClosed) return Promise.resolve()
    this.#isClosed = true
    this.#watch?.close()
    this.#device.close()
    this.#incoming.release()
    this.#outgoing.release()
    return Promise.resolve()
  }

  #read(send: (packet: Uint8Array) => void): boolean {
    const { bytes } = this.#incoming
    for (let count = 0; count < READS_PER_TURN; count++) {
      const length = readTun(this.#device.fd, bytes)
      // Nothing, or an interface that is gone: then nothing will ever come.
      if (length <= VIRTIO_HEADER_BYTES) return count > 0
      split(bytes.subarray(0, length), send)
      if (this.#isClosed) return false
    }
    return true
  }

  readonly #flushScheduled = (): void => {
    this.#isScheduled = false
    this.#flush()
  }

  #flush(): void {
    if (this.#row.isEmpty || this.#isClosed) return
    const length = this.#row.finish()
    this.#calls.write(this.#device.fd, this.#outgoing.bytes, length)
  }
}
