/**
 * This agent as a dialer: one session with the agent of every node that holds a primary of ours, and the signed headers
 * for the bridges' connections. Owns the sessions; `sync` opens and closes them as the feed says.
 */
import { isDeepStrictEqual } from 'node:util'
import { ipv6FromBytes } from '../../lib/address.ts'
import { asNearcastError } from '../../lib/errors.ts'
import type { NodeRow } from '../../lib/feed/messages.ts'
import type { FeedTable } from '../../lib/feed/table.ts'
import { encodeConnection } from '../../lib/hop/header.ts'
import { signingKey } from '../../lib/hop/keys.ts'
import { SessionClient } from '../../lib/hop/session-client.ts'
import { dialTarget } from '../../lib/hop/target.ts'
import type { Logger } from '../../lib/log.ts'
import type { HopTls } from '../../lib/plane/plane.ts'
import type { PrimaryDial } from './engine/bridge.ts'

export interface PrimaryLinksOptions {
  /** `agent/<id>` */
  readonly self: string
  readonly host: string
  readonly tls: HopTls
  readonly log: Logger
  /** The one in force. */
  readonly table: () => Pick<FeedTable, 'nodes'>
  /** How long a bridge's connection waits for a session. */
  readonly sessionTimeoutMs: number
}

interface Link {
  readonly node: NodeRow
  readonly client: SessionClient
}

const NOWHERE = { ip: ipv6FromBytes(new Uint8Array(16)), port: 0 }

export class PrimaryLinks {
  readonly #options: PrimaryLinksOptions
  readonly #links = new Map<string, Link>()

  constructor(options: PrimaryLinksOptions) {
    this.#options = options
  }

  /** `wanted`: the nodes that hold primaries of our replicas. */
  sync(wanted: ReadonlySet<string>): void {
    const { table, self, host, tls, log } = this.#options
    for (const [id, { node, client }] of this.#links) {
      if (wanted.has(id) && sameWay(node, table().nodes.get(id))) continue
      client.close()
      this.#links.delete(id)
    }
    for (const id of wanted) {
      const node = table().nodes.get(id)
      if (node === undefined || this.#links.has(id)) continue
      this.#links.set(id, { node, client: new SessionClient({ self, node, host, tls, log }) })
    }
  }

  /** null when the node is unknown, has no key for us, or no session could be opened in time. */
  async dial(nodeId: string, service: string): Promise<PrimaryDial | null> {
    const { table, self, host, tls, log, sessionTimeoutMs } = this.#options
    const link = this.#links.get(nodeId)
    const session = (await link?.client.opened(sessionTimeoutMs)) ?? null
    const node = table().nodes.get(nodeId)
    const key = signingKey(node?.keys ?? [])
    if (link === undefined || node === undefined || session === null || key === null) return null
    try {
      const header = encodeConnection(
        {
          purpose: 'replication',
          dialer: self,
          agent: nodeId,
          service,
          generation: 0,
          epoch: key.epoch,
          session,
          worker: 0,
          counter: link.client.nextCounter(),
          source: NOWHERE,
          destination: NOWHERE,
        },
        key.key,
      )
      return { target: dialTarget(node, host, tls), header, session }
    } catch (error) {
      const { code, message } = asNearcastError(error)
      log.warn({ node: nodeId, service, code }, message)
      return null
    }
  }

  /** A primary's agent no longer knows `session`: whoever holds it opens another. */
  unknownSession(session: Uint8Array): void {
    for (const { client } of this.#links.values()) client.reopen(session)
  }

  close(): void {
    this.sync(new Set())
  }
}

/** Keys may rotate under an open session; where and how it is dialled may not. */
function sameWay(left: NodeRow, right: NodeRow | undefined): boolean {
  return right !== undefined && isDeepStrictEqual({ ...left, keys: [] }, { ...right, keys: [] })
}
