/**
 * All connections of a plane: their ids, their rates, and the probes for peers that nothing is read from at present.
 */
import { Connection } from './connection.ts'
import type { Dial } from './dialling.ts'
import type { Endpoint } from './endpoint.ts'
import type { ListenOptions, Peer, Rate, RateWaits, SocketAddress } from './plane.ts'
import { SecureServers } from './portable-secure.ts'
import { Rates } from './rates.ts'

/** A reset by a peer that isn't read at present is noticed within this. */
const PROBE_INTERVAL_MS = 500

export interface ConnectionsOptions {
  readonly dial: Dial
  readonly onDefect: (id: number, error: unknown) => void
  /** The last one has gone. */
  readonly onEmpty?: () => void
}

/** Where an accepted connection comes from and goes to; null on Unix sockets. */
export interface Arrival {
  readonly source: SocketAddress | null
  readonly destination: SocketAddress | null
  readonly peer: Peer
}

export class Connections {
  readonly #options: ConnectionsOptions
  readonly #open = new Map<number, Connection>()
  readonly #secureServers = new SecureServers()
  readonly #rates = new Rates()
  readonly #probing: NodeJS.Timeout
  #lastId = 0
  #emptied: (() => void) | undefined

  constructor(options: ConnectionsOptions) {
    this.#options = options
    this.#probing = setInterval(() => {
      for (const connection of this.#open.values()) connection.probe()
    }, PROBE_INTERVAL_MS).unref()
  }

  get size(): number {
    return this.#open.size
  }

  /** `closed` is called when it has ended and its descriptors are closed. */
  enter({ brain, answer }: ListenOptions, client: Endpoint, arrival: Arrival, closed?: () => void): void {
    const id = ++this.#lastId
    const { dial, onDefect, onEmpty } = this.#options
    const connection = new Connection(client, brain(id), {
      answer: answer && ((question) => answer(id, question)),
      dial,
      secureServers: this.#secureServers,
      defect: (error) => onDefect(id, error),
      rates: this.#rates,
      closed: () => {
        this.#open.delete(id)
        closed?.()
        if (this.#open.size > 0) return
        onEmpty?.()
        this.#emptied?.()
      },
    })
    this.#open.set(id, connection)
    connection.start({ type: 'accepted', ...arrival })
  }

  cut(id: number): boolean {
    const connection = this.#open.get(id)
    connection?.cut()
    return connection !== undefined
  }

  cutAll(): void {
    for (const connection of this.#open.values()) connection.cut()
  }

  setRate(name: string, rate: Rate | null): void {
    if (!this.#rates.set(name, rate)) return
    for (const connection of this.#open.values()) connection.rateChanged(name)
  }

  rateWaits(name: string): RateWaits | null {
    return this.#rates.waits(name)
  }

  /** Cuts all; resolves when they have gone. Nothing enters any more. */
  async end(): Promise<void> {
    clearInterval(this.#probing)
    if (this.#open.size === 0) return
    const gone = new Promise<void>((resolve) => {
      this.#emptied = resolve
    })
    for (const connection of this.#open.values()) connection.cut()
    await gone
  }
}
