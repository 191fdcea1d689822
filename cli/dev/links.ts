/**
 * Steering the lines between regions while the cluster runs: round-trip time, cut, restored. With netem by `tc` at both
 * ends, else by a line to the link relay.
 */
import { NearcastError } from '../../lib/errors.ts'
import type { LinkKind } from './network-plan.ts'
import { LINKS_NAMESPACE, linkInterface, regionNamespace } from './network-plan.ts'
import { enter } from './network-script.ts'
import type { ProgramSpec } from './kept-program.ts'
import type { Link, Topology } from './topology.ts'
import type { World } from './world.ts'

export const RELAY_ID = 'links/relay'

export type LinkChange = { readonly rttMs: number } | 'drop' | 'restore'

export interface LinkStatus {
  readonly id: string
  readonly rttMs: number
  readonly dropping: boolean
}

export class Links {
  readonly kind: LinkKind
  readonly #world: World
  readonly #links: Map<string, { readonly link: Link; rttMs: number; dropping: boolean }>

  constructor(world: World, topology: Topology, kind: LinkKind) {
    this.#world = world
    this.kind = kind
    this.#links = new Map(topology.links.map((link) => [link.id, { link, rttMs: link.rttMs, dropping: false }]))
  }

  get status(): LinkStatus[] {
    return [...this.#links.values()].map(({ link, rttMs, dropping }) => ({ id: link.id, rttMs, dropping }))
  }

  /** @returns the program to keep, or null when the kernel does it. */
  async start(relay: (links: readonly string[]) => ProgramSpec): Promise<void> {
    if (this.#links.size === 0) return
    if (this.kind === 'relay') {
      await this.#world.call('keep', { program: relay(this.status.map(({ id, rttMs }) => `${id}=${rttMs}`)) })
      return
    }
    for (const id of this.#links.keys()) await this.#netem(id, 'add')
  }

  /** `id` in either order. @throws NearcastError dev.unknown-target */
  async change(id: string, change: LinkChange): Promise<LinkStatus> {
    const key = this.#links.has(id) ? id : id.split('-').toReversed().join('-')
    const entry = this.#links.get(key)
    if (entry === undefined) throw new NearcastError('dev.unknown-target', `There is no link "${id}"; there are ${[...this.#links.keys()].join(', ')}.`)
    if (typeof change === 'object') entry.rttMs = change.rttMs
    else entry.dropping = change === 'drop'
    if (this.kind === 'netem') await this.#netem(key, 'change')
    else await this.#world.call('tell', { id: RELAY_ID, line: typeof change === 'object' ? `rtt ${key} ${change.rttMs}` : `${change} ${key}` })
    return { id: key, rttMs: entry.rttMs, dropping: entry.dropping }
  }

  async #netem(id: string, verb: 'add' | 'change'): Promise<void> {
    const entry = this.#links.get(id)
    if (entry === undefined) return
    const { left, right } = entry.link
    const line = (own: string, other: string): string =>
      `${enter(regionNamespace(own))} tc qdisc ${verb} dev ${linkInterface(other)} root netem delay ${entry.rttMs / 2}ms loss ${entry.dropping ? 100 : 0}% limit 100000\n`
    await this.#world.call('script', { text: line(left, right) + line(right, left) })
  }
}

export function relaySpec(base: Omit<ProgramSpec, 'id' | 'namespace' | 'command'>, node: string, file: string, links: readonly string[]): ProgramSpec {
  return { ...base, id: RELAY_ID, namespace: LINKS_NAMESPACE, command: [node, file, ...links] }
}
