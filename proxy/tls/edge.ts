/**
 * TLS at the edge, put together: files, certificates, ticket keys, limits. What connections and metrics see of it, and the
 * clock and signals that move it. One per process.
 */
import type { Logger } from '../../lib/log.ts'
import type { ProxyConfig } from '../config.ts'
import { CertificateFiles } from './certificate-files.ts'
import type { Certificate } from './certificates.ts'
import type { TlsEdge } from './client-tls.ts'
import { Handshakes } from './handshakes.ts'
import { Termination } from './termination.ts'

export interface OpenTlsEdge extends TlsEdge {
  state(): { readonly handshakes: number; readonly certificates: readonly Certificate[]; readonly reloads: { readonly succeeded: number; readonly failed: number } }
  /** Why there are no certificates although some are configured. With an older set in force it isn't a reason to stay away. */
  faults(): string[]
  close(): void
}

const HOUR_MS = 3_600_000

/** From here on the files are watched, and SIGHUP reads them again. */
export function openTlsEdge(config: ProxyConfig['tls'], log: Logger, now: () => number): OpenTlsEdge {
  const termination = new Termination()
  const handshakes = new Handshakes({ total: config.maxHandshakes, perNetwork: config.perNetworkHandshakes })
  const { certificates, directory, handshakeTimeoutMs, firstByteMs } = config
  const files = new CertificateFiles({ certificates, ...(directory !== undefined && { directory }), log, changed: (set) => termination.use(set) })
  files.start()
  const reload = (): void => files.reload()
  process.on('SIGHUP', reload)
  const rotating = setInterval(() => termination.rotateTicketKeys(), config.ticketKeyHours * HOUR_MS).unref()
  return {
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
