/**
 * TLS at the edge, put together: files, certificates, ticket keys, limits. What connections and metrics see of it, and the
 * clock and signals that move it. One per process.
 */
import type { Logger } from '../../lib/log.ts'
import type { ProxyConfig } from '../config.ts'
import { CertificateFiles } from './certificate-files.ts'
import { Certificates } from './certificates.ts'
import type { Certificate, CertificateText } from './certificates.ts'
import type { TlsEdge } from './client-tls.ts'
import { Handshakes } from './handshakes.ts'
import { Termination } from './termination.ts'

/** What other threads need to be the same TLS server. */
export interface SharedTls {
  readonly certificates: readonly CertificateText[]
  readonly ticketKeys: Uint8Array
}

export interface OpenTlsEdge extends TlsEdge {
  readonly shared: SharedTls
  state(): { readonly handshakes: number; readonly certificates: readonly Certificate[]; readonly reloads: { readonly succeeded: number; readonly failed: number } }
  /** Why there are no certificates although some are configured. With an older set in force it isn't a reason to stay away. */
  faults(): string[]
  close(): void
}

const HOUR_MS = 3_600_000

/** From here on the files are watched, and SIGHUP reads them again. */
export function openTlsEdge(config: ProxyConfig['tls'], log: Logger, now: () => number, onShared: (shared: SharedTls) => void = () => undefined): OpenTlsEdge {
  const termination = new Termination()
  const shared = (): SharedTls => ({
    certificates: termination.certificates.map(({ file, certificate, key }) => ({ file, certificate, key })),
    ticketKeys: termination.ticketKeys,
  })
  const handshakes = new Handshakes({ total: config.maxHandshakes, perNetwork: config.perNetworkHandshakes })
  const { certificates, directory, handshakeTimeoutMs, firstByteMs } = config
  const changed = (set: Certificates): void => {
    termination.use(set)
    onShared(shared())
  }
  const files = new CertificateFiles({ certificates, ...(directory !== undefined && { directory }), log, changed })
  files.start()
  const reload = (): void => files.reload()
  process.on('SIGHUP', reload)
  const rotating = setInterval(() => {
    termination.rotateTicketKeys()
    onShared(shared())
  }, config.ticketKeyHours * HOUR_MS).unref()
  return {
    get shared() {
      return shared()
    },
    handshakes,
    server: (tls, serverName, service) => termination.server(tls, serverName, service),
    handshakeTimeoutMs,
    firstByteMs,
    now,
    state: () => ({ handshakes: handshakes.open, certificates: termination.certificates, reloads: files.reloads }),
    faults: () => (files.fault && termination.certificates.length === 0 ? [`${files.fault.code}: ${files.fault.message}`] : []),
    close: () => {
      process.off('SIGHUP', reload)
      clearInterval(rotating)
      files.close()
    },
  }
}

/** The same server on another thread, which is told what it shares. Half handshakes in all are divided among the threads. */
export class TlsEdgeReplica implements TlsEdge {
  readonly handshakes: Handshakes
  readonly handshakeTimeoutMs: number
  readonly firstByteMs: number
  readonly now: () => number
  readonly #termination = new Termination()

  constructor(config: ProxyConfig['tls'], threads: number, now: () => number, shared: SharedTls) {
    this.handshakes = new Handshakes({ total: Math.ceil(config.maxHandshakes / threads), perNetwork: config.perNetworkHandshakes })
    this.handshakeTimeoutMs = config.handshakeTimeoutMs
    this.firstByteMs = config.firstByteMs
    this.now = now
    this.use(shared)
  }

  readonly server: TlsEdge['server'] = (tls, serverName, service) => this.#termination.server(tls, serverName, service)

  use({ certificates, ticketKeys }: SharedTls): void {
    this.#termination.use(new Certificates(certificates))
    this.#termination.rotateTicketKeys(ticketKeys)
  }
}
