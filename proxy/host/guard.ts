/**
 * Keeps the host's nftables table (ruleset.ts) in force: installed at start, its set of open ports kept true, its
 * counters read. The table stays when the program stops: the wall must not fall with it. One that somebody else has
 * removed (`nft flush ruleset`, as a reload of nftables.service does) is put back when the counters are read next.
 */
import { NearcastError } from '../../lib/errors.ts'
import type { RunCommand } from '../../lib/host-command.ts'
import { DROP_REASONS, ELSEWHERE, TABLE, counterName, portsChange, ruleset, takerChange } from './ruleset.ts'
import type { DropReason, Ingress, Taker } from './ruleset.ts'

export interface GuardOptions {
  readonly prefix: number
  readonly ingress: readonly Ingress[]
  readonly run: RunCommand
  /** Whether one listener takes everything (interception.ts). */
  readonly intercepts?: boolean
}

export interface Dropped {
  /** '*' for packets from interfaces that aren't named. */
  readonly interface: string
  readonly reason: DropReason | typeof ELSEWHERE
  readonly packets: number
}

export class Guard {
  readonly #options: GuardOptions
  /** What is asked for, and what is in force. */
  #wanted: readonly number[] = []
  #ports: string = ''
  #taker: Taker = { port: null }

  constructor(options: GuardOptions) {
    this.#options = options
  }

  /** @throws NearcastError host.denied, host.command-missing, host.failed */
  async install(): Promise<void> {
    const { run, ingress, prefix, intercepts } = this.#options
    const ports = this.#wanted
    const taker = this.#taker
    await run('nft', ['-f', '-'], intercepts === true ? ruleset(ingress, prefix, ports, taker) : ruleset(ingress, prefix, ports))
    this.#ports = ports.join()
    // Asked for meanwhile, and perhaps in force before this was.
    if (this.#wanted !== ports) await this.open(this.#wanted)
    if (this.#taker !== taker) await this.handTo(this.#taker.port)
  }

  /** What is sent to Flycast addresses goes to the listener on this port; null: it is reset. Only where it is intercepted. */
  async handTo(port: number | null): Promise<void> {
    this.#taker = { port }
    await this.#options.run('nft', ['-f', '-'], takerChange(this.#options.prefix, this.#taker))
  }

  /** Lets clients reach these ports of Flycast addresses, and no others. */
  async open(ports: readonly number[]): Promise<void> {
    const sorted = ports.toSorted((left, right) => left - right)
    const key = sorted.join()
    this.#wanted = sorted
    if (key === this.#ports) return
    await this.#options.run('nft', ['-f', '-'], portsChange(sorted))
    this.#ports = key
  }

  /** Packets dropped since `install`. @throws NearcastError host.* also when the table was gone; it is back then. */
  async dropped(): Promise<Dropped[]> {
    const listed = await this.#list()
    const packets = parseCounters(listed)
    const rows = this.#options.ingress.flatMap((each, index) =>
      DROP_REASONS.map((reason) => ({ interface: each.interface, reason, packets: packets.get(counterName(index, reason)) ?? 0 })),
    )
    return [...rows, { interface: '*', reason: ELSEWHERE, packets: packets.get(ELSEWHERE) ?? 0 }]
  }

  async #list(): Promise<string> {
    try {
      return await this.#options.run('nft', ['-j', 'list', 'counters', 'table', ...TABLE.split(' ')])
    } catch (error) {
      await this.install()
      throw error
    }
  }
}

function parseCounters(text: string): Map<string, number> {
  try {
    const { nftables } = JSON.parse(text) as { nftables: { counter?: { name: string; packets: number } }[] }
    return new Map(nftables.flatMap(({ counter }) => (counter ? [[counter.name, counter.packets]] : [])))
  } catch (cause) {
    throw new NearcastError('host.failed', 'nft listed its counters in a form that this program does not know; install nftables 1.0 or later.', { cause })
  }
}
