/**
 * Who gets in: everything an opening header must fulfil before a database hears of it. Decided from the feed's table and
 * the open sessions; no sockets, time injected.
 *
 * The order matters: the transport's identity first, then the signature, then replay (which uses the counter up), and
 * only then anything that would tell a stranger what exists here.
 */
import { formatIpv6 } from '../../lib/address.ts'
import type { Ipv6 } from '../../lib/address.ts'
import type { Departure } from '../../lib/departures.ts'
import type { ErrorCode } from '../../lib/errors.ts'
import type { ServiceRow } from '../../lib/feed/messages.ts'
import type { FeedTable } from '../../lib/feed/table.ts'
import type { HopConnection, ConnectionOpening, LocalOpening } from '../../lib/hop/header.ts'
import { verifyConnection } from '../../lib/hop/header.ts'
import { verifyingKeys } from '../../lib/hop/keys.ts'
import { STATUS } from '../../lib/hop/protocol.ts'
import type { HopSessions } from '../../lib/hop/sessions.ts'
import { liveForMs } from '../../lib/live-policy.ts'
import type { Peer } from '../../lib/plane/plane.ts'
import { SourceList, sourceText } from '../../lib/source-list.ts'
import type { Gate, Refusal, RefusalReason } from '../connection.ts'

export type AdmissionTable = Pick<FeedTable, 'services' | 'addresses' | 'dialers' | 'nodes'>

export interface AdmissionOptions {
  /** This data node's id. */
  readonly agent: string
  /** The one in force. */
  readonly table: () => AdmissionTable
  readonly sessions: HopSessions
  /** Uids that may use the Unix socket. */
  readonly uids: ReadonlySet<number>
  readonly nowMs: () => number
  /** True when no further connection is carried. */
  readonly full: () => boolean
  /** Open connections of a database's clients. */
  readonly clients: (service: string) => number
  /** Its plan allows no more of them. */
  readonly clientsFull: (service: string) => void
}

type Judged = Pick<HopConnection, 'dialer' | 'purpose' | 'service' | 'generation' | 'source' | 'destination'>

/** The address leads elsewhere now, or nowhere, or not for this client. */
const REVOKED: ReadonlySet<RefusalReason> = new Set<RefusalReason>(['unknown-address', 'other-generation', 'other-service', 'source-not-allowed'])

/** Redis's own words. */
const CLIENTS_FULL = Buffer.from('-ERR max number of clients reached\r\n')

export class Admission implements Gate {
  readonly #options: AdmissionOptions
  /** As long as the row is in force. */
  readonly #sources = new WeakMap<ServiceRow, SourceList>()

  constructor(options: AdmissionOptions) {
    this.#options = options
  }

  admitLocal(opening: LocalOpening, peer: Peer): Refusal | null {
    return this.#admitDialer(opening.dialer, opening.agent, peer)
  }

  admitConnection(opening: ConnectionOpening, peer: Peer): Refusal | null {
    const { connection } = opening
    const { sessions, table, nowMs, full } = this.#options
    const stranger = this.#admitDialer(connection.dialer, connection.agent, peer)
    if (stranger !== null) return stranger
    const keys = table().dialers.get(connection.dialer)?.keys ?? []
    if (!verifyConnection(opening, verifyingKeys(keys))) return refused('bad-signature')
    const verdict = sessions.check(connection, nowMs())
    if (verdict === 'unknown-session') return { status: STATUS.unknownSession, reason: 'unknown-session' }
    if (verdict === 'replayed') return refused('replayed')
    if (full()) return { status: STATUS.overloaded, reason: 'overloaded' }
    return this.allows(connection) ?? this.#countedClient(connection)
  }

  #countedClient({ purpose, service }: Judged): Refusal | null {
    const { table, clients, clientsFull } = this.#options
    const most = table().services.get(service)?.redis?.limits?.maxClients
    if (purpose !== 'client' || most === undefined || clients(service) < most) return null
    clientsFull(service)
    return { status: STATUS.ok, reason: 'max-clients', farewell: CLIENTS_FULL }
  }

  /**
   * Why a live connection has to go, after a change of the table. A revoked address and a drained node leave it to the
   * policy of the service; everything else cuts at once.
   */
  departures(connection: Judged): Departure[] {
    const { agent, table } = this.#options
    const refusal = this.allows(connection)
    const live = table().services.get(connection.service)?.live
    if (refusal !== null) return [{ cause: refusal.reason, afterMs: REVOKED.has(refusal.reason) ? liveForMs(live, 'revoked') : 0 }]
    // A proxy that has lost the router doesn't know of it; replicas go on following.
    const drains = connection.purpose === 'client' && table().nodes.get(agent)?.draining === true
    return drains ? [{ cause: 'draining', afterMs: liveForMs(live, 'node') }] : []
  }

  /** The part that the table decides. */
  allows(connection: Judged): Refusal | null {
    const { agent, table } = this.#options
    const dialer = table().dialers.get(connection.dialer)
    if (dialer === undefined) return refused('unknown-dialer')
    const service = table().services.get(connection.service)
    const role = service?.placements.find(({ node }) => node === agent)?.role
    if (service === undefined || role === undefined) return { status: STATUS.unknownService, reason: 'unknown-service' }
    if (connection.purpose === 'replication') {
      if (role !== 'primary') return refused('no-primary')
      const replica = service.placements.some(({ node, role: theirs }) => `agent/${node}` === connection.dialer && theirs === 'replica')
      return replica ? null : refused('no-replica')
    }
    // Clients come through proxies: an agent could name any client of any tenant.
    if (dialer.kind !== 'proxy') return refused('no-proxy')
    const address = table().addresses.get(formatIpv6(connection.destination.ip))
    if (address === undefined) return refused('unknown-address')
    if (address.generation !== connection.generation) return refused('other-generation')
    if (address.service !== service.id) return refused('other-service')
    return this.#allowsSource(service, connection.source.ip) ? null : sourceRefused(connection.source.ip)
  }

  #allowsSource(service: ServiceRow, source: Ipv6): boolean {
    const allowed = service.redis?.allowedSources
    if (allowed === undefined) return true
    const sources = this.#sources.get(service) ?? new SourceList(allowed)
    this.#sources.set(service, sources)
    return sources.holds(source)
  }

  #admitDialer(dialer: string, agent: string, peer: Peer): Refusal | null {
    const { table, uids } = this.#options
    if (peer.kind === 'anonymous') return refused('anonymous')
    if (peer.kind === 'certificate' && peer.identity !== `nearcast://${dialer}`) return refused('other-identity')
    if (peer.kind === 'process' && !uids.has(peer.uid)) return refused('other-identity')
    if (agent !== this.#options.agent) return refused('other-agent')
    const reason = whyNotDialer(table(), dialer, peer.kind === 'certificate' ? peer.serial : null)
    return reason === null ? null : refused(reason)
  }
}

/** Who joins again has another certificate; from then on the earlier one, which somebody else may hold, counts no more. */
export function whyNotDialer({ dialers }: Pick<AdmissionTable, 'dialers'>, dialer: string, certificate: string | null): 'unknown-dialer' | 'other-certificate' | null {
  const row = dialers.get(dialer)
  if (row === undefined) return 'unknown-dialer'
  return certificate === null || row.serial === undefined || row.serial === certificate ? null : 'other-certificate'
}

/** As Redis itself refuses a client of the wrong place (DENIED, of its protected mode): its users learn why. */
function sourceRefused(source: Ipv6): Refusal {
  const code: ErrorCode = 'redis.source-not-allowed'
  const sentence = `-DENIED ${code}: ${sourceText(source)} is not on the allow-list of this database; its owner can add it.\r\n`
  return { status: STATUS.ok, reason: 'source-not-allowed', farewell: Buffer.from(sentence) }
}

function refused(reason: RefusalReason): Refusal {
  return { status: STATUS.refused, reason }
}
