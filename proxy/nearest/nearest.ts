/**
 * Who carries the next connection of a service: what is known of its nodes (nodes.ts), put in order (choose.ts), and the
 * node chosen last per service. `explain` looks at the same order and changes nothing.
 */
import type { NodeRow, ServiceRow } from '../../lib/feed/messages.ts'
import type { SessionClient } from '../../lib/hop/session-client.ts'
import type { AttemptOutcome } from '../connection.ts'
import { choose } from './choose.ts'
import type { ChooseSettings, Contender, Ranked } from './choose.ts'
import { isCertain } from './health.ts'
import type { Health } from './health.ts'
import type { Latency } from './latency.ts'
import type { Node } from './node.ts'
import { Suspicions } from './suspicions.ts'

type Placement = ServiceRow['placements'][number]

/** What the choice reads of a node; Node has it. */
export type KnownNode = Pick<Node, 'row' | 'proofs' | 'reachable' | 'load' | 'connections' | 'salt' | 'dialled'> & {
  readonly latency: Pick<Latency, 'smoothedMs'>
  readonly connect: Pick<Latency, 'smoothedMs'>
  readonly health: Pick<Health, 'healthy' | 'reason'>
  readonly session: Pick<SessionClient, 'unavailable'> | null
}

export interface Standing extends Contender {
  readonly known: KnownNode
  readonly role: Placement['role']
  /** Why it isn't in the first tier. */
  readonly reason: string | null
}

export interface NearestOptions {
  readonly settings: ChooseSettings
  /** Where this proxy is. */
  readonly host: string
  readonly region: string
  readonly nodes: { get(id: string): KnownNode | undefined }
  readonly placements: (service: string) => readonly Placement[]
}

/** Whether a node carries its share of a soft limit; `nodes` hold the service. */
export type HasItsShare = (node: string, nodes: number) => boolean

/** A node that answers, whatever it says, can be reached. */
const REACHED: ReadonlySet<AttemptOutcome> = new Set(['ok', 'unknown-session', 'rejected', 'unavailable', 'unknown-service', 'overloaded'])

export class Nearest {
  readonly #options: NearestOptions
  /** service -> node chosen last among well ones */
  readonly #present = new Map<string, string>()
  readonly #suspicions = new Suspicions()

  constructor(options: NearestOptions) {
    this.#options = options
  }

  /** Best first, computed as far as it is read. Remembers the first one. */
  *candidates(service: string, hasItsShare?: HasItsShare): Generator<{ readonly node: NodeRow }> {
    const standings = this.#standings(service, hasItsShare)
    // One address at its soft limit must not move the choice of the service's other addresses.
    let remember = standings.every(({ busy }) => busy !== true)
    for (const { contender, tier } of choose(standings, this.present(service), this.#options.settings)) {
      if (remember && tier === 'good') this.#present.set(service, contender.node)
      remember = false
      yield { node: contender.known.row }
    }
  }

  /** The same order, without remembering. */
  order(service: string, hasItsShare?: HasItsShare): Generator<Ranked<Standing>> {
    return choose(this.#standings(service, hasItsShare), this.present(service), this.#options.settings)
  }

  #standings(service: string, hasItsShare: HasItsShare = () => false): Standing[] {
    const placements = this.#options.placements(service)
    return placements.flatMap((placement) => this.#standing(service, placement, hasItsShare(placement.node, placements.length)) ?? [])
  }

  /** The node chosen last, while nothing clearly better appears. */
  present(service: string): string | null {
    return this.#present.get(service) ?? null
  }

  forget(service: string): void {
    this.#present.delete(service)
  }

  forgetUnless(isKnown: (service: string) => boolean): void {
    for (const service of this.#present.keys()) if (!isKnown(service)) this.#present.delete(service)
  }

  /** Passive health: a node that answered is reached, one that could not be asked is not. */
  dialled(id: string, service: string, outcome: AttemptOutcome): void {
    const node = this.#options.nodes.get(id)
    // Without a session nothing was dialled; the session itself is tried again and again.
    if (node === undefined || outcome === 'no-session') return
    const failure = REACHED.has(outcome) ? null : outcome
    if (failure === null) this.#suspicions.clear(id, service)
    else this.#suspicions.add(id, isCertain(failure, node.row.hop) ? null : service, node.proofs)
    node.dialled(failure)
  }

  #distance({ host, region }: NodeRow): number {
    if (host === this.#options.host) return 0
    return region === this.#options.region ? 1 : 2
  }

  #standing(service: string, { node, role }: Placement, busy: boolean): Standing | null {
    const known = this.#options.nodes.get(node)
    if (!known) return null
    const unavailable = known.session?.unavailable.get(service)
    const { latency, reachable, health, load } = known
    const latencyMs = latency.smoothedMs
    const draining = known.row.draining === true
    const suspect = this.#suspicions.has(node, service, known.proofs)
    const reasons = [
      unavailable ?? null,
      health.reason,
      draining ? 'an operator drains it' : null,
      reachable ? null : 'no session with it',
      latencyMs === null ? 'not measured yet' : null,
      suspect ? 'the last connection to it failed' : null,
      busy ? 'it carries its share of the soft limit' : null,
    ]
    return {
      node,
      role,
      known,
      latencyMs,
      load,
      session: reachable,
      distance: this.#distance(known.row),
      healthy: health.healthy,
      available: unavailable === undefined,
      draining,
      busy,
      suspect,
      reason: reasons.find((reason) => reason !== null) ?? null,
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
