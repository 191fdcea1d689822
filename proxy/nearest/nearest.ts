/**
 * Who carries the next connection of a service: what is known of its nodes (nodes.ts), put in order (choose.ts), and the
 * node chosen last per service. `explain` looks at the same order and changes nothing.
 */
import type { NodeRow, ServiceRow } from '../../lib/feed/messages.ts'
import type { AttemptOutcome } from '../connection.ts'
import { choose } from './choose.ts'
import type { ChooseSettings, Contender, Ranked } from './choose.ts'
import type { Node } from './node.ts'

type Placement = ServiceRow['placements'][number]

/** What the choice reads of a node; Node has it. */
export type KnownNode = Pick<Node, 'row' | 'latency' | 'connect' | 'reachable' | 'health' | 'load' | 'connections' | 'salt' | 'session' | 'dialled'>

export interface Standing extends Contender {
  readonly known: KnownNode
  readonly role: Placement['role']
  /** Why it isn't in the first tier. */
  readonly reason: string | null
}

export interface NearestOptions {
  readonly settings: ChooseSettings
  readonly nodes: { get(id: string): KnownNode | undefined }
  readonly placements: (service: string) => readonly Placement[]
}

/** A node that answers, whatever it says, can be reached. */
const REACHED: ReadonlySet<AttemptOutcome> = new Set(['ok', 'unknown-session', 'rejected', 'unavailable', 'unknown-service', 'overloaded'])

export class Nearest {
  readonly #options: NearestOptions
  /** service -> node chosen last among well ones */
  readonly #present = new Map<string, string>()

  constructor(options: NearestOptions) {
    this.#options = options
  }

  /** Best first, computed as far as it is read. Remembers the first one. */
  *candidates(service: string): Generator<{ readonly node: NodeRow }> {
    let first = true
    for (const { contender, tier } of this.order(service)) {
      if (first && tier === 'good') this.#present.set(service, contender.node)
      first = false
      yield { node: contender.known.row }
    }
  }

  /** The same order, without remembering. */
  order(service: string): Generator<Ranked<Standing>> {
    const standings = this.#options.placements(service).flatMap((placement) => this.#standing(service, placement) ?? [])
    return choose(standings, this.present(service), this.#options.settings)
  }

  /** The node chosen last, while nothing clearly better appears. */
  present(service: string): string | null {
    return this.#present.get(service) ?? null
  }

  forget(service: string): void {
    this.#present.delete(service)
  }

  forgetExcept(services: ReadonlyMap<string, unknown>): void {
    for (const service of this.#present.keys()) if (!services.has(service)) this.#present.delete(service)
  }

  /** Passive health: a node that answered is reached, one that could not be asked is not. */
  dialled(id: string, outcome: AttemptOutcome): void {
    // Without a session nothing was dialled; the session itself is tried again and again.
    if (outcome === 'no-session') return
    this.#options.nodes.get(id)?.dialled(REACHED.has(outcome) ? null : outcome)
  }

  #standing(service: string, { node, role }: Placement): Standing | null {
    const known = this.#options.nodes.get(node)
    if (!known) return null
    const unavailable = known.session?.unavailable.get(service)
    const { latency, reachable, health, load } = known
    const latencyMs = latency.smoothedMs
    return {
      node,
      role,
      known,
      latencyMs,
      load,
      session: reachable,
      healthy: health.healthy,
      available: unavailable === undefined,
      reason: unavailable ?? health.reason ?? (reachable ? null : 'no session with it') ?? (latencyMs === null ? 'not measured yet' : null),
      tie: tieOf(known.salt, service),
    }
  }
}

/** FNV-1a: random by the node's salt, and another order for each service, so that equals share them. */
function tieOf(salt: number, service: string): number {
  let hash = (0x811c_9dc5 ^ salt) >>> 0
  for (let index = 0; index < service.length; index++) hash = Math.imul(hash ^ service.charCodeAt(index), 0x0100_0193) >>> 0
  return hash
}
