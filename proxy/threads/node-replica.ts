/**
 * A node as a data thread sees it: its row, where to dial it, and what the control thread knows of it (probes, session,
 * load), which is sent here whenever it changes. Headers are numbered here, each thread for itself (lib/hop/sessions.ts).
 */
import { asNearcastError } from '../../lib/errors.ts'
import type { NodeRow } from '../../lib/feed/messages.ts'
import { dialTarget } from '../../lib/hop/target.ts'
import type { Logger } from '../../lib/log.ts'
import type { DialTarget, HopTls } from '../../lib/plane/plane.ts'
import { DIAL_ROUND_TRIPS, samePlace } from '../nearest/node.ts'
import type { ReceivedNode } from '../reception.ts'
import type { NodeState } from './messages.ts'

export interface NodeReplicaOptions {
  readonly host: string
  readonly tls: HopTls
  /** Of our headers: which thread, and the next number. */
  readonly worker: number
  readonly nextCounter: () => bigint
  readonly reopen: (node: string, refused: Uint8Array) => void
  readonly opened: (node: string, timeoutMs: number) => Promise<Uint8Array | null>
  readonly dialled: (node: string, failure: string | null) => void
  /** Well or not: has changed. */
  readonly onHealth: (node: string) => void
  readonly log: Logger
}

const UNKNOWN: Omit<NodeState, 'id' | 'salt'> = {
  healthy: true,
  reason: null,
  latencyMs: null,
  connectMs: null,
  reachable: false,
  proofs: 0,
  session: null,
  unavailable: new Map(),
  load: 0,
  elsewhere: 0,
}

export class NodeReplica implements ReceivedNode {
  readonly #options: NodeReplicaOptions
  #row: NodeRow
  #target: DialTarget | null
  #state: Omit<NodeState, 'id'>
  #carried = 0
  #failing = false
  /** Refused, and not yet replaced by what the control thread says. */
  #refused: Uint8Array | null = null
  readonly session: ReceivedNode['session']

  constructor(row: NodeRow, options: NodeReplicaOptions) {
    this.#options = options
    this.#row = row
    this.#state = { ...UNKNOWN, salt: 0 }
    this.#target = this.#targetOf(row)
    this.session = row.hop === 'signed-v2' ? this.#session(row.id) : null
  }

  #targetOf(row: NodeRow): DialTarget | null {
    const { host, tls, log } = this.#options
    try {
      return dialTarget(row, host, tls)
    } catch (error) {
      const { code, message } = asNearcastError(error)
      log.error({ node: row.id, code }, message)
      return null
    }
  }

  #session(node: string): NonNullable<ReceivedNode['session']> {
    const { worker, nextCounter, reopen, opened } = this.#options
    const current = (): Uint8Array | null => this.#state.session
    const unavailable = (): ReadonlyMap<string, string> => this.#state.unavailable
    return {
      worker,
      nextCounter,
      get session() {
        return current()
      },
      get unavailable() {
        return unavailable()
      },
      reopen: (refused) => {
        const session = this.#state.session
        if (!session || (refused && !sameBytes(refused, session))) return
        this.#refused = session
        this.#state = { ...this.#state, session: null }
        reopen(node, session)
      },
      opened: async (timeoutMs) => {
        if (this.#state.session) return this.#state.session
        const session = await opened(node, timeoutMs)
        if (session) this.#state = { ...this.#state, session }
        return session
      },
    }
  }

  update(row: NodeRow): void {
    this.#row = row
  }

  /** What the control thread knows now. */
  learn(state: NodeState): void {
    const changed = state.healthy !== this.#state.healthy
    const stale = this.#refused !== null && state.session !== null && sameBytes(state.session, this.#refused)
    if (state.session !== null && !stale) this.#refused = null
    this.#state = stale ? { ...state, session: null } : state
    if (changed) this.#options.onHealth(this.#row.id)
  }

  get row(): NodeRow {
    return this.#row
  }

  get target(): DialTarget | null {
    return this.#target
  }

  get health(): ReceivedNode['health'] {
    return this.#state
  }

  get latency(): ReceivedNode['latency'] {
    return { smoothedMs: this.#state.latencyMs }
  }

  get connect(): ReceivedNode['connect'] {
    return { smoothedMs: this.#state.connectMs }
  }

  get reachable(): boolean {
    return this.#target !== null && this.#state.reachable
  }

  get proofs(): number {
    return this.#state.proofs
  }

  get load(): number {
    return Math.max(this.connections, this.#state.load)
  }

  get salt(): number {
    return this.#state.salt
  }

  /** Of this thread alone. */
  get carried(): number {
    return this.#carried
  }

  /** Of all threads. */
  get connections(): number {
    return this.#state.elsewhere + this.#carried
  }

  set connections(connections: number) {
    this.#carried = Math.max(0, connections - this.#state.elsewhere)
  }

  patienceMs(baseMs: number): number {
    return Math.round(baseMs + DIAL_ROUND_TRIPS * (this.#state.latencyMs ?? 0))
  }

  /** The control thread is told of failures, and of the first success behind one. */
  dialled(failure: string | null): void {
    if (failure === null && !this.#failing) return
    this.#failing = failure !== null
    this.#options.dialled(this.#row.id, failure)
  }
}

/** All of them: rows come with the tables, states from the control thread, in any order. */
export class NodeReplicas {
  readonly #options: NodeReplicaOptions
  readonly #nodes = new Map<string, NodeReplica>()
  readonly #states = new Map<string, NodeState>()

  constructor(options: NodeReplicaOptions) {
    this.#options = options
  }

  get(id: string): NodeReplica | undefined {
    return this.#nodes.get(id)
  }

  replace(rows: ReadonlyMap<string, NodeRow>): void {
    for (const id of this.#nodes.keys()) if (!rows.has(id)) this.put(id, null)
    for (const [id, row] of rows) this.put(id, row)
  }

  put(id: string, row: NodeRow | null): void {
    const present = this.#nodes.get(id)
    if (row === null) {
      this.#nodes.delete(id)
      this.#states.delete(id)
      return
    }
    if (present && samePlace(present.row, row)) return present.update(row)
    const node = new NodeReplica(row, this.#options)
    node.connections = present?.carried ?? 0
    this.#nodes.set(id, node)
    const state = this.#states.get(id)
    if (state) node.learn(state)
  }

  learn(states: readonly NodeState[]): void {
    for (const state of states) {
      this.#states.set(state.id, state)
      this.#nodes.get(state.id)?.learn(state)
    }
  }

  /** node -> what this thread carries to it */
  carried(): Map<string, number> {
    return new Map(Array.from(this.#nodes, ([id, { carried }]) => [id, carried]))
  }
}

function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0
}
