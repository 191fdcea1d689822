/** One log line per ended connection: who, where, why, how long, how many bytes. Denials name both networks, and are limited. */
import { formatIpv6, networkPrefix } from '../lib/address.ts'
import type { NetworkId } from '../lib/address.ts'
import type { Logger } from '../lib/log.ts'
import type { SocketAddress } from '../lib/plane/plane.ts'
import type { ConnectionRecord, Denial } from './connection-record.ts'
import { Denials } from './denials.ts'
import type { ClientTlsRecord } from './tls/client-tls.ts'

export interface JournalOptions {
  readonly log: Logger
  readonly prefix: number
  readonly now: () => number
  readonly regionOf: (node: string) => string | null
}

export class Journal {
  readonly #options: JournalOptions
  readonly #denials = new Denials()

  constructor(options: JournalOptions) {
    this.#options = options
  }

  ended(record: ConnectionRecord): void {
    if (record.denial) this.#denied(record, record.denial)
    else this.#carried(record)
  }

  /** What the rule would have refused; the connection is carried. */
  shadowed(id: number, source: SocketAddress, destination: SocketAddress, denial: Denial): void {
    this.#refusal({ id, source, destination }, denial, 'shadowed')
  }

  #denied(record: ConnectionRecord, denial: Denial): void {
    this.#refusal(record, denial, 'denied')
  }

  #refusal({ id, source, destination }: Pick<ConnectionRecord, 'id' | 'source' | 'destination'>, { reason, sourceNetwork, network }: Denial, outcome: 'denied' | 'shadowed'): void {
    const { log, now, prefix } = this.#options
    const suppressed = this.#denials.admit(sourceNetwork ?? 0, now())
    if (suppressed === null) return
    const why = `${nameNetwork(sourceNetwork, prefix)} to ${nameNetwork(network, prefix)}: ${reason}`
    log.warn({ id, outcome, reason, sourceNetwork, network, source: text(source), destination: text(destination), suppressed, why }, outcome)
  }

  #carried(record: ConnectionRecord): void {
    const { log, regionOf } = this.#options
    const { id, route, node, attempts, bytesUp, bytesDown, outcome, endedBy, how } = record
    const level = outcome === 'carried' || outcome === 'client-gone' || outcome === 'tls-failed' || outcome === 'cut' ? 'info' : 'warn'
    if (!log.isLevelEnabled(level)) return
    const line = {
      id,
      outcome,
      source: text(record.source),
      destination: text(record.destination),
      network: route?.network,
      org: route?.org,
      service: route?.service,
      node,
      region: node === null ? null : regionOf(node),
      bytesUp,
      bytesDown,
      durationMs: round(record.durationMs),
      connectMs: record.connectMs === null ? null : round(record.connectMs),
      endedBy,
      how,
      ...(record.tls && tlsFields(record.tls)),
      // The usual single try that succeeded is said by `node` already.
      ...(attempts.some((attempt) => attempt.outcome !== 'ok') && {
        attempts: attempts.map((attempt) => `${attempt.node} ${attempt.outcome} ${round(attempt.ms)} ms`),
      }),
    }
    log[level](line, 'connection')
  }
}

function tlsFields(tls: ClientTlsRecord): object {
  if (tls.mode === 'plain') return { tls: tls.mode }
  if (tls.mode === 'passthrough') return { tls: tls.mode, serverName: tls.serverName }
  if (tls.mode === 'failed') return { tls: tls.mode, tlsFailure: tls.reason, serverName: tls.serverName }
  const { serverName, protocol, cipher, clientCertificate } = tls.session
  return { tls: tls.mode, serverName, protocol, cipher, ...(clientCertificate && { clientName: clientCertificate.commonName }) }
}

export function nameNetwork(network: NetworkId | null, prefix: number): string {
  return network === null ? 'no network' : `network ${network} (${networkPrefix(network, prefix)})`
}

function text(address: SocketAddress | null): string | null {
  return address === null ? null : `[${formatIpv6(address.ip)}]:${address.port}`
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100
}
