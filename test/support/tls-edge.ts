/** A proxy's TLS for tests that don't come near it, and for those that do: every question is answered by what is given. */
import type { TlsEdge } from '../../proxy/tls/client-tls.ts'

export const NO_TLS: TlsEdge = {
  handshakes: { begin: () => false, end: () => undefined },
  server: () => 'no-certificate',
  handshakeTimeoutMs: 1000,
  firstByteMs: 1000,
  now: () => 0,
}
