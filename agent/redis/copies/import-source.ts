/** Where an import comes from: `redis://user:password@host:port`, and whether this node's operator lets it be dialled. Pure. */
import { NearcastError } from '../../../lib/errors.ts'

export interface ImportSource {
  readonly host: string
  readonly port: number
  readonly tls: boolean
  /** Empty: the default one. */
  readonly user: string
  /** A secret; empty: none. */
  readonly password: string
}

/** @throws NearcastError redis.import-refused; the message never holds the text, which has a password in it */
export function parseImportSource(text: string): ImportSource {
  const url = URL.parse(text)
  if (url === null || (url.protocol !== 'redis:' && url.protocol !== 'rediss:') || url.hostname === '') {
    throw new NearcastError('redis.import-refused', 'Write the source as redis://user:password@host:port, or rediss:// for TLS.', { side: 'client' })
  }
  const host = url.hostname.replace(/^\[(.+)\]$/, '$1')
  return { host, port: Number(url.port || 6379), tls: url.protocol === 'rediss:', user: decoded(url.username), password: decoded(url.password) }
}

/** A "%" that begins nothing stands for itself. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}
