/**
 * Gives each accepted connection its brain (connection.ts) and what the brain asks for: admission, candidates, headers, a
 * session. Counts what is open on which node, and hands the record of each end to those who want it. No sockets.
 */
import { asNearcastError } from '../lib/errors.ts'
import type { SessionClient } from '../lib/hop/session-client.ts'
import type { Logger } from '../lib/log.ts'
import type { Brain } from '../lib/plane/plane.ts'
import type { ConnectionRecord } from './connection-record.ts'
import { Connection } from './connection.ts'
import type { ConnectionOptions, SessionQuestion, TurnQuestion } from './connection.ts'
import type { Entrance } from './entrance.ts'
import { openingFor } from './headers.ts'
import type { SignedOpening } from './headers.ts'
import { namesOf } from './limits/admissions.ts'
import type { Turnstile } from './limits/turnstile.ts'
import type { KnownNode, Nearest } from './nearest/nearest.ts'
import type { Node } from './nearest/node.ts'
import { Cancellations } from './postgres/cancellations.ts'
import { PostgresConnection } from './postgres/postgres-connection.ts'
import type { CancelQuestion } from './postgres/postgres-connection.ts'
import type { Revocations } from './revocations.ts'
import type { TlsEdge } from './tls/client-tls.ts'

/** What connections need of a node beside what the choice reads; Node has it. */
export type ReceivedNode = KnownNode &
  Pick<Node, 'target' | 'patienceMs'> & {
    connections: number
    readonly session: Pick<SessionClient, 'session' | 'worker' | 'unavailable' | 'nextCounter' | 'reopen' | 'opened'> | null
  }

export interface ReceptionOptions {
  /** Our identity, `proxy/<id>`. */
  readonly self: string
  readonly entrance: Entrance
  readonly turnstile: Pick<Turnstile, 'turn' | 'admissions'>
  readonly revocations: Pick<Revocations, 'judge'>
  readonly nearest: Nearest
  readonly nodes: { get(id: string): ReceivedNode | undefined }
  readonly dial: { readonly connectTimeoutMs: number; readonly deadlineMs: number }
  readonly tls: TlsEdge
  /** Milliseconds, monotonic. */
  readonly now: () => number
  readonly onDial: (node: string, outcome: string) => void
  readonly onEnd: (record: ConnectionRecord) => void
  readonly log: Logger
}

/** The same as PostgreSQL's own patience would be too long for a port that anybody can hold open. */
const STARTUP_TIMEOUT_MS = 10_000

export class Reception {
  readonly #options: ReceptionOptions

  readonly #cancellations: Cancellations

  constructor(options: ReceptionOptions) {
    this.#options = options
    const { self, entrance, nearest, nodes, dial, log } = options
    this.#cancellations = new Cancellations({
      carrying: (service) => entrance.of('service', service).flatMap((id) => entrance.connection(id)?.node ?? []),
      holding: (service) => [...nearest.order(service)].map(({ contender }) => contender.node),
      opening: (id, { route, source, destination }) => {
        const node = nodes.get(id)
        return node ? openingFor(self, node, route, source, destination, null) : null
      },
      session: (id, refused) => this.#session(id, refused),
      timeoutMs: (id) => nodes.get(id)?.patienceMs(dial.connectTimeoutMs) ?? dial.connectTimeoutMs,
      log,
    })
  }

  brain(id: number): Brain {
    const { self, entrance, nearest, nodes, dial, now, onDial, log, turnstile } = this.#options
    const session = (admitted: ConnectionOptions['route']): Connection => new Connection({
      id,
      deadlineMs: dial.deadlineMs,
      connectTimeoutMs: ({ node }) => nodes.get(node.id)?.patienceMs(dial.connectTimeoutMs) ?? dial.connectTimeoutMs,
      now,
      route: admitted,
      candidates: (route) => nearest.candidates(route.service, (node, holders) => turnstile.admissions.hasItsShare(route, node, holders)),
      rates: namesOf,
      tls: this.#options.tls,
      header: (candidate, route, source, destination, tls) => {
        const node = nodes.get(candidate.node.id)
        if (!node) return null
        let opening: SignedOpening | null = null
        try {
          opening = openingFor(self, node, route, source, destination, tls)
        } catch (error) {
          // A row that can't stand in a header: this node is skipped, the next one may do.
          log.error({ node: node.row.id, service: route.service, code: asNearcastError(error).code }, asNearcastError(error).message)
        }
        entrance.signed(id, opening?.session ?? null)
        return opening
      },
      dialResult: (node, service, outcome, ms) => {
        log.debug({ id, node, service, outcome, ms }, 'dial')
        onDial(node, outcome)
        nearest.dialled(node, service, outcome)
        const known = nodes.get(node)
        if (known && outcome === 'ok') known.connections++
        if (outcome === 'ok') this.#served(id, node)
      },
      ended: (record) => this.#ended(record),
    })
    return new PostgresConnection({
      id,
      admit: (source, destination) => entrance.admit(id, source, destination),
      session,
      startupTimeoutMs: STARTUP_TIMEOUT_MS,
      ended: (record) => this.#ended(record),
    })
  }

  /** `true` when a session with the node is open (again), or the connection's turn has come, or a node was told to cancel. */
  async answer(id: number, question: unknown): Promise<boolean> {
    if (isTurnQuestion(question)) return this.#options.turnstile.turn(id)
    if (isCancelQuestion(question)) return (await this.#cancellations.send(question)) > 0
    if (!isSessionQuestion(question)) return false
    return this.#session(question.node, question.reopen ? (this.#options.entrance.sessionOf(id) ?? null) : null)
  }

  /** Naming the refused session keeps many refused connections from reopening one after the other. */
  async #session(id: string, refused: Uint8Array | null): Promise<boolean> {
    const node = this.#options.nodes.get(id)
    const session = node?.session
    if (!session) return false
    if (refused) session.reopen(refused)
    return (await session.opened(node.patienceMs(this.#options.dial.connectTimeoutMs))) !== null
  }

  #served(id: number, node: string): void {
    const { entrance, turnstile, revocations } = this.#options
    entrance.served(id, node)
    turnstile.admissions.placed(id, node)
    revocations.judge(id)
  }

  #ended(record: ConnectionRecord): void {
    const { entrance, nodes, onEnd } = this.#options
    entrance.release(record.id)
    const node = record.node === null ? undefined : nodes.get(record.node)
    if (node && node.connections > 0) node.connections--
    onEnd(record)
  }
}

function isCancelQuestion(question: unknown): question is CancelQuestion {
  return typeof question === 'object' && question !== null && 'kind' in question && question.kind === 'cancel'
}

function isTurnQuestion(question: unknown): question is TurnQuestion {
  return typeof question === 'object' && question !== null && 'kind' in question && question.kind === 'turn'
}

function isSessionQuestion(question: unknown): question is SessionQuestion {
  return typeof question === 'object' && question !== null && 'kind' in question && question.kind === 'session'
}
