/**
 * Where an agent hands a service's connections on to, as text: `unix:/run/postgresql/.s.PGSQL.5432`, `127.0.0.1:5432`,
 * `[fd00::7]:5432`, `db.internal:5432`. Read alike by the router (is it one?) and the agent (may it be dialled?).
 * Pure; whether it is allowed is the agent's own decision (agent/backends/allow-list.ts).
 */
import { isIPv6 } from 'node:net'
import { posix } from 'node:path'
import { NearcastError } from './errors.ts'

/** What a backend gets before the client's bytes. */
export const PROXY_HEADERS = ['none', 'v1', 'v2'] as const
export type ProxyHeaderVersion = (typeof PROXY_HEADERS)[number]

export type Backend = { readonly kind: 'unix'; readonly path: string } | { readonly kind: 'tcp'; readonly host: string; readonly port: number }

/** sun_path, less the final NUL. */
const MAX_PATH_BYTES = 107
const HOST_AND_PORT = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)):([1-9][0-9]{0,4})$/

/** @throws NearcastError service.backend-invalid */
export function parseBackend(text: string): Backend {
  const backend = text.startsWith('unix:') ? unixBackend(text.slice('unix:'.length)) : tcpBackend(text)
  if (backend !== null) return backend
  throw new NearcastError('service.backend-invalid', `"${text.slice(0, 64)}" is no backend: write unix:/path or host:port, an IPv6 address in brackets.`, { side: 'client' })
}

/** Only in its one form: a detour by `..` would be another path to an allow-list. */
function unixBackend(path: string): Backend | null {
  const plain = path.startsWith('/') && posix.normalize(path) === path && !path.endsWith('/') && !path.includes('\0')
  return plain && Buffer.byteLength(path) <= MAX_PATH_BYTES ? { kind: 'unix', path } : null
}

function tcpBackend(text: string): Backend | null {
  const [, ipv6, name, digits = ''] = HOST_AND_PORT.exec(text) ?? []
  const port = Number(digits)
  if (port < 1 || port > 0xffff || (ipv6 !== undefined && !isIPv6(ipv6))) return null
  const host = ipv6 ?? name?.toLowerCase()
  return host === undefined ? null : { kind: 'tcp', host, port }
}
