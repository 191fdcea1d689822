/**
 * What the proxy decides and reports about one connection: admission, tries and the final record.
 *
 * Words only. Log, metrics and events are made from the record by those who subscribe; the state machine that fills it
 * is proxy/connection.ts. Nothing in it is secret.
 */
import type { NetworkId } from '../lib/address.ts'
import type { AddressTls, ServiceRow } from '../lib/feed/messages.ts'
import type { DenyReason } from '../lib/isolation.ts'
import type { CarryResult, DialFailure, SocketAddress } from '../lib/plane/plane.ts'
import type { ClientTlsRecord } from './tls/client-tls.ts'

/** Where a connection that passed isolation belongs. */
export interface Route {
  readonly network: NetworkId
  readonly org: string
  readonly service: string
  /** The service's name in its org. */
  readonly name?: string
  /** RFC 5952 text of the Flycast address, and its generation. */
  readonly address: string
  readonly generation: number
  /** Absent: the client's bytes are carried as they are. */
  readonly tls?: AddressTls
}

export interface Denial {
  readonly reason: DenyReason | 'limit' | 'draining'
  readonly sourceNetwork: NetworkId | null
  readonly network: NetworkId | null
}

/** `waits`: a limit is reached, and it is asked for its turn first. */
export type Admission =
  | ({ readonly allowed: true; readonly waits?: boolean; readonly kind?: ServiceRow['kind']; readonly shadowed?: Denial } & Route)
  | ({ readonly allowed: false } & Denial)

/** How one try at one node went. `ok` means that it took the connection. */
export type AttemptOutcome = 'ok' | DialFailure | 'no-session' | 'unknown-session' | 'rejected' | 'unavailable' | 'unknown-service' | 'overloaded' | 'protocol'

export interface Attempt {
  readonly node: string
  readonly ms: number
  readonly outcome: AttemptOutcome
}

export type ConnectionOutcome =
  /** Carried, and ended by one side's FIN or RST. */
  | 'carried'
  | 'denied'
  /** There was nobody to dial. */
  | 'no-candidate'
  /** Nobody took it until the deadline. */
  | 'unanswered'
  /** The last candidate was still silent at the deadline. */
  | 'deadline'
  | 'client-gone'
  /** Of kind postgres: it said nothing. */
  | 'client-silent'
  /** Of kind postgres: a CancelRequest, brought to the nodes that may serve the query (proxy/postgres/). */
  | 'cancel-request'
  /** The client's TLS failed, or was refused: `tls` says how. */
  | 'tls-failed'
  | 'cut'

export interface ConnectionRecord {
  readonly id: number
  readonly source: SocketAddress | null
  readonly destination: SocketAddress | null
  readonly denial: Denial | null
  readonly route: Route | null
  /** null: the address has no TLS policy, or the client was gone before it showed. */
  readonly tls: ClientTlsRecord | null
  /** The node that took it. */
  readonly node: string | null
  readonly attempts: readonly Attempt[]
  readonly bytesUp: number
  readonly bytesDown: number
  readonly durationMs: number
  /** From accepted until a node took it; null when none did. */
  readonly connectMs: number | null
  readonly outcome: ConnectionOutcome
  readonly endedBy: CarryResult['endedBy']
  readonly how: CarryResult['how']
}
