/**
 * Instead of a listener per port (listeners.ts): one that the packet filter hands all connections to (host/interception.ts),
 * so that a service has any port, and as many ports as there are cost nothing. It is open while some service has a port.
 * What arrives for anything but a Flycast address in force is reset by the connection's own decision (routes.ts).
 */
import { asNearcastError } from '../lib/errors.ts'
import type { NearcastError } from '../lib/errors.ts'
import type { Listener } from '../lib/plane/plane.ts'
import type { ListenersOptions } from './listeners.ts'

export interface OneListenerOptions extends Omit<ListenersOptions, 'host'> {
  /** The packet filter's side. @throws NearcastError host.* */
  readonly handTo: (port: number | null) => Promise<void>
}

export class OneListener {
  readonly #options: OneListenerOptions
  #listener: Listener | null = null
  #wanted: readonly number[] = []
  #rejectedByClosed = 0

  constructor(options: OneListenerOptions) {
    this.#options = options
  }

  /** Ports that clients reach. */
  ports(): number[] {
    return this.#listener === null ? [] : [...this.#wanted]
  }

  get rejected(): number {
    return this.#rejectedByClosed + (this.#listener?.rejected.limit ?? 0)
  }

  /** @returns why each port can't be reached */
  async open(wanted: readonly number[]): Promise<Map<number, NearcastError>> {
    try {
      if (this.#listener === null && wanted.length > 0) await this.#listen()
      this.#wanted = [...new Set([...this.#wanted, ...wanted])]
      return new Map()
    } catch (cause) {
      const error = asNearcastError(cause)
      this.#options.log.error({ code: error.code }, error.message)
      return new Map(wanted.map((port) => [port, error]))
    }
  }

  /** Open connections live on. */
  async closeExcept(wanted: readonly number[]): Promise<void> {
    this.#wanted = this.#wanted.filter((port) => wanted.includes(port))
    const listener = this.#listener
    if (this.#wanted.length > 0 || listener === null) return
    this.#listener = null
    this.#rejectedByClosed += listener.rejected.limit
    await listener.close()
    this.#options.log.info({ port: listener.port }, 'listener closed')
  }

  async #listen(): Promise<void> {
    const { plane, accept, handTo, log } = this.#options
    const listener = await plane.listen({ ...accept, target: { kind: 'tcp', host: '::', port: 0, transparent: true } })
    try {
      await handTo(listener.port)
    } catch (error) {
      await listener.close()
      throw error
    }
    this.#listener = listener
    log.info({ port: listener.port }, 'listening for all ports')
  }
}
