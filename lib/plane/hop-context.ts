/**
 * The TLS context of a dialer's identity, made once per certificate: reading certificate and key again for each dial costs
 * more than the handshake's own arithmetic. Contexts hold no session: every handshake is a full, mutual one.
 */
import { createSecureContext } from 'node:tls'
import type { SecureContext } from 'node:tls'
import type { HopTls } from './plane.ts'

interface Known {
  readonly tls: HopTls
  readonly context: SecureContext
}

/** A program has one identity, and for a moment two when it is renewed. */
const MAX_KNOWN = 4
/** By certificate, the oldest first. */
const known = new Map<string, Known>()

/** TLS 1.3 only. @throws Error for certificates and keys that OpenSSL can't read. */
export function hopContext({ ca, certificate, key }: HopTls): SecureContext {
  const found = known.get(certificate)
  if (found?.tls.ca === ca && found.tls.key === key) return found.context
  const context = createSecureContext({ ca, cert: certificate, key, minVersion: 'TLSv1.3' })
  known.delete(certificate)
  known.set(certificate, { tls: { ca, certificate, key }, context })
  const [oldest] = known.keys()
  if (known.size > MAX_KNOWN && oldest !== undefined) known.delete(oldest)
  return context
}
