/**
 * Runs scenarios in interleaved rounds: in each round every program is measured once, each round begins with another one, so
 * that what the machine does meanwhile hits all alike. The first round warms up and isn't counted.
 */
import type { Peer, RunningPeer } from './peers/peer.ts'
import type { Row, Scenario } from './scenario.ts'
import { median, ratioOfMedians, verdict } from './statistics.ts'
import type { Verdict } from './statistics.ts'
import type { World } from './world.ts'

const FIRST_PORT = 7000
/** Between two programs: some need a port more. */
const PORT_STEP = 6
const FRESH_OFFSET = 3
const DIRECT = 'direct'

export interface Result {
  readonly name: string
  readonly unit: string
  /** Medians. */
  readonly ours: number
  readonly peers: Readonly<Record<string, number>>
  readonly ratio: number | null
  readonly interval: readonly [number, number] | null
  readonly goal: number | null
  readonly met: Verdict | null
  /** What ours was divided by: programs, or a limit in the row's unit. */
  readonly against: readonly string[] | number
  readonly rounds: number
}

export interface RunnerOptions {
  readonly world: World
  /** All that can take part, ours among them. */
  readonly peers: readonly Peer[]
  readonly rounds: number
  readonly quick: boolean
  readonly progress: (text: string) => void
}

type Values = Map<string, Record<string, number>[]>

export class Runner {
  readonly #options: RunnerOptions
  readonly #running = new Map<string, RunningPeer>()

  constructor(options: RunnerOptions) {
    this.#options = options
  }

  portOf(id: string): number {
    return FIRST_PORT + PORT_STEP * this.#options.peers.findIndex((peer) => peer.id === id)
  }

  async run(scenario: Scenario): Promise<Result[]> {
    const { world, quick, progress } = this.#options
    await scenario.prepare?.(world)
    const ids = [scenario.subject, ...scenario.peers].filter((id) => this.#options.peers.some((peer) => peer.id === id))
    for (const id of ids) await this.#start(id)
    const rounds = Math.min(this.#options.rounds, scenario.maxRounds ?? this.#options.rounds)
    const participants = scenario.baseline ? [DIRECT, ...ids] : ids
    const values: Values = new Map(participants.map((id) => [id, []]))
    for (let round = 0; round <= rounds; round++) {
      progress(`${scenario.id}: ${round === 0 ? 'warming up' : `round ${round} of ${rounds}`}`)
      for (let turn = 0; turn < participants.length; turn++) {
        const id = participants[(round + turn) % participants.length] ?? ''
        const peer = this.#running.get(id) ?? null
        const measured = await scenario.measure({ world, quick, peer, fresh: () => this.#launch(id, this.portOf(id) + FRESH_OFFSET) })
        if (round > 0) values.get(id)?.push({ ...measured })
      }
    }
    return scenario.rows.map((row) => summarize(scenario, row, values, rounds))
  }

  async close(): Promise<void> {
    for (const peer of this.#running.values()) await peer.stop()
    this.#running.clear()
  }

  async #start(id: string): Promise<void> {
    if (!this.#running.has(id)) this.#running.set(id, await this.#launch(id, this.portOf(id)))
  }

  #launch(id: string, port: number): Promise<RunningPeer> {
    const peer = this.#options.peers.find((each) => each.id === id)
    if (!peer) throw new Error(`there is no program ${id}`)
    return peer.start(this.#options.world, port)
  }
}

function summarize(scenario: Scenario, { id, name, unit, goal, against = [] }: Row, values: Values, rounds: number): Result {
  const measured = (peer: string): number[] => (values.get(peer) ?? []).map((round) => round[id] ?? Number.NaN)
  // The median: a difference of two noisy rounds would be noise.
  const baseline = scenario.baseline?.includes(id) ? median(measured(DIRECT)) : 0
  const column = (peer: string): number[] => measured(peer).map((value) => value - baseline)
  const ours = column(scenario.subject)
  const peers = Object.fromEntries([...values.keys()].filter((peer) => peer !== scenario.subject && peer !== DIRECT).map((peer) => [peer, median(column(peer))]))
  const rivals = goal?.against ?? against
  const columns = typeof rivals === 'number' ? [ours.map(() => rivals)] : rivals.filter((peer) => values.has(peer)).map(column)
  const compared = columns.length === 0 ? null : ratioOfMedians(ours, columns)
  return {
    name,
    unit,
    ours: median(ours),
    peers,
    ratio: compared?.ratio ?? null,
    interval: compared?.interval ?? null,
    goal: goal?.atMost ?? null,
    met: goal && compared ? verdict(compared.interval, goal.atMost) : null,
    against: rivals,
    rounds,
  }
}
