/**
 * The plane on io_uring, on the thread that makes it: plain TCP and Unix sockets are the kernel's rings', TLS is Node's
 * (an accepted or dialled TLS side, and a client that goes on as TLS), in one connection with ring sides where both meet.
 *
 * Passes the same contract as the portable plane (test/contract). Needs Linux 6.0; better since 6.1 and 6.6.
 */
import { Connections } from '../connections.ts'
import type { Listener, Plane, Rate, RateWaits } from '../plane.ts'
import type { PlaneOptions } from '../portable.ts'
import { acceptOnNode } from '../portable-accept.ts'
import { acceptOnRing, RingListener } from './accept.ts'
import type { RingListenOptions } from './accept.ts'
import { dialOn } from './dial.ts'
import { Hosted } from './hosted.ts'
import { RingLoop } from './ring-loop.ts'
import type { RingLoopOptions } from './ring-loop.ts'

/** For the kernel to close what is cut. */
const ABANDON_MS = 500

/** For metrics and tests: what the plane holds of the ring at present. */
export interface RingUse {
  /** Endpoints, dials and listeners. */
  readonly users: number
  /** Buffers with bytes that wait to be sent. */
  readonly buffers: number
  /** Of buffers that have been in use. */
  readonly bufferBytes: number
  /** Completions for somebody who had gone. */
  readonly stale: number
}

export class UringPlane implements Plane {
  readonly name = 'uring'
  readonly #loop: RingLoop
  readonly #hosted: Hosted
  readonly #connections: Connections
  readonly #listeners = new Set<Listener>()
  readonly #onRing = new WeakMap<Listener, RingListener>()
  #destroying: Promise<void> | undefined

  /** @throws NearcastError kernel.call-failed, kernel.unsupported: ask the probe before. */
  constructor({ onDefect = () => undefined, ...options }: PlaneOptions & RingLoopOptions = {}) {
    this.#loop = new RingLoop(options)
    this.#hosted = new Hosted(this.#loop)
    this.#connections = new Connections({ dial: dialOn(this.#loop), onDefect, onEmpty: () => this.#hold() })
    this.#hold()
  }

  get openConnections(): number {
    return this.#connections.size
  }

  get use(): RingUse {
    const { users, buffers, stale } = this.#loop
    return { users, buffers: buffers.taken, bufferBytes: buffers.bytes, stale }
  }

  async listen(options: RingListenOptions): Promise<Listener> {
    const { target } = options
    const tls = 'tls' in target && target.tls !== undefined
    const accepting = tls ? await acceptOnNode(options, this.#connections) : await acceptOnRing(this.#loop, options, this.#connections)
    const listener: Listener = {
      port: accepting.port,
      rejected: accepting.rejected,
      close: async () => {
        this.#listeners.delete(listener)
        await accepting.close()
        this.#hold()
      },
    }
    if (accepting instanceof RingListener) this.#onRing.set(listener, accepting)
    this.#listeners.add(listener)
    this.#hold()
    if (this.#destroying) await listener.close()
    return listener
  }

  /** The ring keeps the process alive like any socket would. */
  #hold(): void {
    this.#hosted.hold(this.#listeners.size > 0 || this.#connections.size > 0)
  }

  cut(id: number): boolean {
    return this.#connections.cut(id)
  }

  setRate(name: string, rate: Rate | null): void {
    this.#connections.setRate(name, rate)
  }

  rateWaits(name: string): RateWaits | null {
    return this.#connections.rateWaits(name)
  }

  /**
   * After a defect, when the thread is about to end: cuts what is open, now, and ends the ring. Listening sockets stay open
   * under their numbers. @returns for each of `listeners` the connections that came meanwhile, as descriptors, untouched.
   */
  abandon(listeners: readonly Listener[]): readonly (readonly number[])[] {
    this.#destroying ??= Promise.resolve()
    this.#hosted.end()
    const accepted = listeners.map((listener) => this.#onRing.get(listener)?.abandon() ?? [])
    this.#connections.cutAll()
    this.#loop.drain(ABANDON_MS)
    this.#loop.end()
    return accepted
  }

  destroy(): Promise<void> {
    this.#destroying ??= this.#destroy()
    return this.#destroying
  }

  async #destroy(): Promise<void> {
    this.#hosted.hold(true)
    await Promise.all([...this.#listeners].map((listener) => listener.close()))
    await this.#connections.end()
    this.#hosted.hold(true)
    // Abandoned dials end by themselves.
    await this.#loop.idle()
    this.#hosted.end()
    this.#loop.end()
  }
}
