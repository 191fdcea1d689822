/**
 * What a dial to a node begins with, by the node's hop: a signed v2 header (lib/hop), or plain v2 or v1 towards foreign
 * nodes that read PROXY headers themselves. Source and destination are the client's own: the DESTINATION is the tenant.
 */
import { encodeConnection } from '../lib/hop/header.ts'
import { signingKey } from '../lib/hop/keys.ts'
import type { SocketAddress } from '../lib/plane/plane.ts'
import { encodeV1, encodeV2 } from '../lib/proxy-protocol/encode.ts'
import type { ProxyAddresses } from '../lib/proxy-protocol/header.ts'
import type { Route } from './connection-record.ts'
import type { Opening } from './connection.ts'
import type { Node } from './nearest/node.ts'

/** The data thread that numbers the headers; the portable plane has one. */
const WORKER = 0

/** What is read of a node; Node has it. */
export type DialledNode = Pick<Node, 'row' | 'target'> & {
  readonly session: { readonly session: Uint8Array | null; nextCounter(): bigint } | null
}

export interface SignedOpening extends Opening {
  /** The session that the header counts in; null for foreign nodes. */
  readonly session: Uint8Array | null
}

/**
 * `self`: our identity. null while the node can't be dialled: no session with it, no key, an endpoint that is no address.
 * @throws NearcastError hop.protocol, proxy-header.invalid when route or node can't stand in a header.
 */
export function openingFor(self: string, node: DialledNode, route: Route, source: SocketAddress, destination: SocketAddress): SignedOpening | null {
  const { row, target } = node
  if (target === null) return null
  const addresses: ProxyAddresses = { family: 'ipv6', transport: 'stream', source, destination }
  if (row.hop === 'v1') return { target, bytes: encodeV1(addresses), expectsStatus: false, session: null }
  if (row.hop === 'v2') return { target, bytes: encodeV2({ command: 'proxy', addresses }), expectsStatus: false, session: null }
  const session = node.session?.session ?? null
  const key = signingKey(row.keys)
  if (!node.session || session === null || key === null) return null
  const connection = {
    purpose: 'client' as const,
    dialer: self,
    agent: row.id,
    service: route.service,
    generation: route.generation,
    epoch: key.epoch,
    session,
    worker: WORKER,
    counter: node.session.nextCounter(),
    source,
    destination,
  }
  return { target, bytes: encodeConnection(connection, key.key), expectsStatus: true, session }
}
