/**
 * The plane on Node's own sockets (net, tls): runs everywhere, and is the reference for every other one.
 *
 * Costs about half more CPU a request than a plane that talks to the kernel itself (DECISIONS.md).
 */
import { Connections } from './connections.ts'
import type { ListenOptions, Listener, Plane, Rate, RateWaits } from './plane.ts'
import { acceptOnNode } from './portable-accept.ts'
import { dial } from './portable-dial.ts'

export interface PlaneOptions {
  /** Called with what a brain threw; its connection is reset. */
  readonly onDefect?: (id: number, error: unknown) => void
}

export class PortablePlane implements Plane {
  readonly name = 'portable'
  readonly #connections: Connections
  readonly #listeners = new Set<Listener>()
  #destroying: Promise<void> | undefined

  constructor({ onDefect = () => undefined }: PlaneOptions = {}) {
    this.#connections = new Connections({ dial, onDefect })
  }

  get openConnections(): number {
    return this.#connections.size
  }

  async listen(options: ListenOptions): Promise<Listener> {
    const accepted = await acceptOnNode(options, this.#connections)
    const listener: Listener = {
      ...accepted,
      close: () => {
        this.#listeners.delete(listener)
        return accepted.close()
      },
    }
    this.#listeners.add(listener)
    if (this.#destroying) await listener.close()
    return listener
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

  destroy(): Promise<void> {
    this.#destroying ??= this.#destroy()
    return this.#destroying
  }

  async #destroy(): Promise<void> {
    await Promise.all([...this.#listeners].map((listener) => listener.close()))
    await this.#connections.end()
  }
}
