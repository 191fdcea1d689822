/**
 * A TUN interface of the system as the seam `Tun`. Needs Linux, `/dev/net/tun` and CAP_NET_ADMIN in the user namespace
 * that owns the network: as an ordinary user, in a namespace of one's own. Addresses and routes are whoever's who calls.
 */
import { closeSync, writeSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { check, systemCalls } from '../kernel/ffi.ts'
import { TunDevice } from '../kernel/tun-device.ts'
import { DEFAULT_MTU } from './constants.ts'
import type { Tun } from './tun.ts'
import type { TunReaderData } from './tun-reader.ts'
import { TunRing } from './tun-ring.ts'

const EFD_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000

export class KernelTun implements Tun {
  readonly mtu: number
  readonly #device: TunDevice
  readonly #ring: TunRing
  #reader: { readonly worker: Worker; readonly stopFd: number } | null = null

  /** Made at once, in the network namespace of the calling thread. `name`: `wg0`, or `wg%d` for the next free one. @throws NearcastError wireguard.tun-unavailable, kernel.* */
  constructor(name: string, mtu = DEFAULT_MTU) {
    this.mtu = mtu
    this.#device = new TunDevice(name, mtu)
    this.#ring = TunRing.make(mtu)
  }

  get name(): string {
    return this.#device.name
  }

  open(send: (packet: Uint8Array) => void): Promise<void> {
    const stopFd = check(systemCalls().eventfd(0, EFD_NONBLOCK_CLOEXEC), 'eventfd')
    const data: TunReaderData = { fd: this.#device.fd, stopFd, memory: this.#ring.memory, maxPacketBytes: this.mtu }
    const worker = new Worker(new URL(`./tun-reader${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url), { workerData: data })
    const take = (): void => {
      // Datagrams that came meanwhile have their turn in between.
      if (this.#ring.take(send)) setImmediate(take)
    }
    worker.on('message', take)
    this.#reader = { worker, stopFd }
    return new Promise((resolve, reject) => {
      worker.once('online', resolve)
      worker.once('error', reject)
    })
  }

  write(packet: Uint8Array): boolean {
    return this.#device.write(packet)
  }

  async close(): Promise<void> {
    const reader = this.#reader
    this.#reader = null
    if (reader !== null) {
      const ended = new Promise((resolve) => reader.worker.once('exit', resolve))
      this.#ring.stop()
      writeSync(reader.stopFd, new Uint8Array(new BigUint64Array([1n]).buffer))
      // Both descriptors are in use until the thread has ended.
      await ended
      closeSync(reader.stopFd)
    }
    this.#device.close()
  }
}
