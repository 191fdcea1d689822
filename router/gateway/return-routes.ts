/**
 * The ways back: packets to WireGuard peers leave by the gateway's interface. One route per network that has peers, over
 * all of its peers (`fdaa:0:1:ffff:ffff::/80`): which of them are here is the device's business, and it changes with every
 * first handshake. The kernel removes them with the interface.
 */
import { peersPrefix } from '../../lib/address.ts'
import type { NetworkId } from '../../lib/address.ts'
import type { RunCommand } from '../../lib/host-command.ts'

export class ReturnRoutes {
  readonly #interface: string
  readonly #prefix: number
  readonly #run: RunCommand
  readonly #present = new Set<NetworkId>()
  #queue: Promise<void> = Promise.resolve()

  constructor(name: string, prefix: number, run: RunCommand) {
    this.#interface = name
    this.#prefix = prefix
    this.#run = run
  }

  /** Resolves when exactly these are there; calls take their turns. @throws NearcastError host.denied, host.command-missing, host.failed */
  replace(networks: ReadonlySet<NetworkId>): Promise<void> {
    const step = this.#queue.then(() => this.#replace(networks))
    this.#queue = step.catch(() => undefined)
    return step
  }

  async #replace(networks: ReadonlySet<NetworkId>): Promise<void> {
    const gone = [...this.#present].filter((network) => !networks.has(network))
    const added = [...networks].filter((network) => !this.#present.has(network))
    if (gone.length + added.length === 0) return
    const line = (verb: 'replace' | 'del', network: NetworkId): string => `route ${verb} ${peersPrefix(network, this.#prefix)} dev ${this.#interface}\n`
    await this.#run('ip', ['-6', '-batch', '-'], [...gone.map((network) => line('del', network)), ...added.map((network) => line('replace', network))].join(''))
    for (const network of gone) this.#present.delete(network)
    for (const network of added) this.#present.add(network)
  }
}
