/**
 * Who a certificate of our CA speaks for: the one URI in its subjectAltName (RFC 5280 section 4.2.1.6).
 *
 * Pure. The chain is checked by TLS before; here only the name. A certificate with two URIs, or with a name that Node
 * had to quote (a comma or quote inside: our CA issues none), names nobody.
 */
const IDENTITY = /^nearcast:\/\/[a-z]+\/[a-z0-9][a-z0-9-]{0,39}$/

/** `subjectAltName` as Node prints it: `URI:nearcast://agent/mad-1, DNS:…`. */
export function certificateIdentity(subjectAltName: string | undefined): string | null {
  if (subjectAltName === undefined || subjectAltName.includes('"')) return null
  const uris = subjectAltName.split(', ').filter((name) => name.startsWith('URI:'))
  const uri = uris[0]?.slice('URI:'.length)
  return uris.length === 1 && uri !== undefined && IDENTITY.test(uri) ? uri : null
}
