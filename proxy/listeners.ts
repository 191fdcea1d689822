/**
 * One `[::]:port` listener (IPv6 only) per port that some service has, opened and closed as the routes change. What
 * arrives there for anything but a Flycast address is reset by the connection's own decision (routes.ts).
 */
import { NearcastError, asNearcastError } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import type { ListenOptions, Listener, Plane } from '../lib/plane/plane.ts'

/** More ports than this are refused: each is a socket that every network can reach. */
export const MAX_PORTS = 64

export interface ListenersOptions {
  readonly plane: Pick<Plane, 'listen'>
  /** What a listener does with a connection. */
  readonly accept: Pick<ListenOptions, 'brain' | 'answer' | 'maxConnections'>
  readonly log: Logger
  /** Default '::'. */
  readonly host?: string
}

export class Listeners {
  readonly #options: ListenersOptions
  readonly #open = new Map<number, Listener>()
  #rejectedByClosed = 0

  constructor(options: ListenersOptions) {
    this.#options = options
  }

  /** Ports that are listened on. */
  ports(): number[] {
    return [...this.#open.keys()]
  }

  /** Reset before anybody looked at them, because the plane held too many. */
  get rejected(): number {
    let sum = this.#rejectedByClosed
    for (const listener of this.#open.values()) sum += listener.rejected.limit
    return sum
  }

  /** Opens what is missing. @returns why each port that isn't open is not. */
  async open(wanted: readonly number[]): Promise<Map<number, NearcastError>> {
    const failed = new Map<number, NearcastError>()
    for (const port of wanted) {
      if (this.#open.has(port)) continue
      const error = await this.#listen(port)
      if (error === null) continue
      failed.set(port, error)
      this.#options.log.error({ port, code: error.code }, error.message)
    }
    return failed
  }

  /** Closes what is open and not wanted. Open connections live on. */
  async closeExcept(wanted: readonly number[]): Promise<void> {
    const kept = new Set(wanted)
    const closing = [...this.#open].filter(([port]) => !kept.has(port))
    for (const [port, listener] of closing) {
      this.#open.delete(port)
      this.#rejectedByClosed += listener.rejected.limit
      await listener.close()
      this.#options.log.info({ port }, 'listener closed')
    }
  }

  async #listen(port: number): Promise<NearcastError | null> {
    if (this.#open.size >= MAX_PORTS) {
      return new NearcastError('listen.failed', `Port ${port} would be one more than the ${MAX_PORTS} that a proxy listens on; use fewer ports.`)
    }
    const { plane, accept, log, host = '::' } = this.#options
    try {
      this.#open.set(port, await plane.listen({ ...accept, target: { kind: 'tcp', host, port } }))
      log.info({ port }, 'listening')
      return null
    } catch (error) {
      return asNearcastError(error)
    }
  }
}
