/** Several ways in as one Bind: an answer leaves by the one that the question came in by. */
import type { Bind, Endpoint } from '../../lib/wireguard/bind.ts'

interface JoinedEndpoint extends Endpoint {
  readonly via: Bind
  /** As that bind knows it. */
  readonly there: Endpoint
}

export class JoinedBind implements Bind {
  readonly #binds: readonly Bind[]
  readonly #first: Bind | null

  /** `first`: one of them, by which we speak first. */
  constructor(binds: readonly Bind[], first: Bind | null = null) {
    this.#binds = binds
    this.#first = first
  }

  /** Of the first. */
  get port(): number {
    return this.#binds[0]?.port ?? 0
  }

  async open(receive: (datagram: Uint8Array, from: Endpoint) => void): Promise<void> {
    try {
      for (const via of this.#binds) {
        await via.open((datagram, there) => {
          const from: JoinedEndpoint = { host: there.host, port: there.port, via, there }
          receive(datagram, from)
        })
      }
    } catch (error) {
      await this.close()
      throw error
    }
  }

  send(datagram: Uint8Array, to: Endpoint): void {
    // To peers a gateway never speaks first: their end points are such that `open` has made.
    if (isJoined(to)) to.via.send(datagram, to.there)
    else this.#first?.send(datagram, to)
  }

  room(bytes: number, to: Endpoint): Uint8Array | null {
    return (isJoined(to) ? to.via.room?.(bytes, to.there) : this.#first?.room?.(bytes, to)) ?? null
  }

  async close(): Promise<void> {
    await Promise.all(this.#binds.map((bind) => bind.close()))
  }
}

function isJoined(endpoint: Endpoint): endpoint is JoinedEndpoint {
  return 'via' in endpoint
}
