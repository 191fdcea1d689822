/** Datagrams inside a process: binds of one `MemoryNetwork` reach each other, each datagram in a turn of its own. */
import type { Bind, Endpoint } from './bind.ts'

export class MemoryNetwork {
  readonly #binds = new Map<string, (datagram: Uint8Array, from: Endpoint) => void>()

  attach(at: Endpoint, receive: (datagram: Uint8Array, from: Endpoint) => void): void {
    this.#binds.set(nameOf(at), receive)
  }

  detach(at: Endpoint): void {
    this.#binds.delete(nameOf(at))
  }

  carry(datagram: Uint8Array, from: Endpoint, to: Endpoint): void {
    setImmediate(() => this.#binds.get(nameOf(to))?.(datagram, from))
  }
}

function nameOf({ host, port }: Endpoint): string {
  return `${host} ${port}`
}

export class MemoryBind implements Bind {
  readonly #network: MemoryNetwork
  readonly #at: Endpoint

  constructor(network: MemoryNetwork, at: Endpoint) {
    this.#network = network
    this.#at = at
  }

  get port(): number {
    return this.#at.port
  }

  open(receive: (datagram: Uint8Array, from: Endpoint) => void): Promise<void> {
    this.#network.attach(this.#at, receive)
    return Promise.resolve()
  }

  send(datagram: Uint8Array, to: Endpoint): void {
    this.#network.carry(datagram, this.#at, to)
  }

  close(): Promise<void> {
    this.#network.detach(this.#at)
    return Promise.resolve()
  }
}
