/**
 * Gives each accepted connection its brain (connection.ts) and what the brain asks for: admission, candidates, headers, a
 * session. Counts what is open on which node, and hands the record of each end to those who want it. No sockets.
 */
import { asNearcastError } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import type { Brain } from '../lib/plane/plane.ts'
import type { ConnectionRecord } from './connection-record.ts'
import { Connection } from './connection.ts'
import type { SessionQuestion } from './connection.ts'
import type { Entrance } from './entrance.ts'
import { openingFor } from './headers.ts'
import type { SignedOpening } from './headers.ts'
import type { Nearest } from './nearest/nearest.ts'
import type { Node } from './nearest/node.ts'

export interface ReceptionOptions {
  /** Our identity, `proxy/<id>`. */
  readonly self: string
  readonly entrance: Entrance
  readonly nearest: Nearest
  readonly nodes: { get(id: string): Node | undefined }
  readonly dial: { readonly connectTimeoutMs: number; readonly deadlineMs: number }
  /** Milliseconds, monotonic. */
  readonly now: () => number
  readonly onDial: (node: string, outcome: string) => void
  readonly onEnd: (record: ConnectionRecord) => void
  readonly log: Logger
}

export class Reception {
  readonly #options: ReceptionOptions

  constructor(options: ReceptionOptions) {
    this.#options = options
  }

  brain(id: number): Brain {
    const { self, entrance, nearest, nodes, dial, now, onDial, log } = this.#options
    return new Connection({
      id,
      deadlineMs: dial.deadlineMs,
      connectTimeoutMs: ({ node }) => nodes.get(node.id)?.patienceMs(dial.connectTimeoutMs) ?? dial.connectTimeoutMs,
      now,
      route: (source, destination) => entrance.admit(id, source, destination),
      candidates: (route) => nearest.candidates(route.service),
      header: (candidate, route, source, destination) => {
        const node = nodes.get(candidate.node.id)
        if (!node) return null
        let opening: SignedOpening | null = null
        try {
          opening = openingFor(self, node, route, source, destination)
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
        nearest.dialled(node, outcome)
        const known = nodes.get(node)
        if (known && outcome === 'ok') known.connections++
      },
      ended: (record) => this.#ended(record),
    })
  }

  /** `true` when a session with the node is open (again). */
  async answer(id: number, question: unknown): Promise<boolean> {
    if (!isSessionQuestion(question)) return false
    const { entrance, nodes, dial } = this.#options
    const node = nodes.get(question.node)
    const session = node?.session
    if (!session) return false
    const refused = entrance.sessionOf(id)
    // Naming the refused session keeps many refused connections from reopening one after the other.
    if (question.reopen && refused) session.reopen(refused)
    return (await session.opened(node.patienceMs(dial.connectTimeoutMs))) !== null
  }

  #ended(record: ConnectionRecord): void {
    const { entrance, nodes, onEnd } = this.#options
    entrance.release(record.id)
    const node = record.node === null ? undefined : nodes.get(record.node)
    if (node && node.connections > 0) node.connections--
    onEnd(record)
  }
}

function isSessionQuestion(question: unknown): question is SessionQuestion {
  return typeof question === 'object' && question !== null && 'kind' in question && question.kind === 'session'
}
