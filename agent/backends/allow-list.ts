/**
 * Which backends this agent may dial: `backends.allow` of agent.toml. The registry says where a service is to be found,
 * the operator of this host says what may be reached from it; without an entry nothing is.
 *
 *   unix:/run/postgresql/*      `*` stands for a part of one path component
 *   127.0.0.1:5432  [::1]:*     an address, one port or every port
 *   10.0.0.0/8:5432  [fd00::]/8:5432
 *   db.internal:5432            a name, literally: its addresses are the resolver's word. No other name matches an
 *                               entry, also none that is a way to write an address (127.1).
 *
 * Pure. Symbolic links aren't followed here: who may write to an allowed directory may point elsewhere.
 */
import { BlockList, isIP } from 'node:net'
import type { Backend } from '../../lib/backend.ts'

type Matches = (backend: Backend) => boolean

const PLACE = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?))(?:\/([0-9]{1,3}))?:(\*|[1-9][0-9]{0,4})$/

export class AllowList {
  readonly #entries: readonly Matches[]

  /** `entries`: those that `isEntry` accepts; others allow nothing. */
  constructor(entries: readonly string[]) {
    this.#entries = entries.flatMap((entry) => parseEntry(entry) ?? [])
  }

  allows(backend: Backend): boolean {
    return this.#entries.some((matches) => matches(backend))
  }
}

export function isEntry(text: string): boolean {
  return parseEntry(text) !== null
}

function parseEntry(text: string): Matches | null {
  return text.startsWith('unix:') ? unixEntry(text.slice('unix:'.length)) : tcpEntry(text)
}

function unixEntry(pattern: string): Matches | null {
  if (!pattern.startsWith('/')) return null
  const expression = new RegExp(`^${pattern.split('*').map((part) => RegExp.escape(part)).join('[^/]*')}$`)
  return (backend) => backend.kind === 'unix' && expression.test(backend.path)
}

function tcpEntry(text: string): Matches | null {
  const [, ipv6, plain, bits, digits = ''] = PLACE.exec(text) ?? []
  const host = (ipv6 ?? plain)?.toLowerCase()
  const port = digits === '*' ? null : Number(digits)
  if (host === undefined || (port !== null && port > 0xffff)) return null
  const matchesHost = hostMatcher(host, ipv6 !== undefined, bits)
  return matchesHost && ((backend) => backend.kind === 'tcp' && (port === null || backend.port === port) && matchesHost(backend.host))
}

function hostMatcher(host: string, bracketed: boolean, bits: string | undefined): ((host: string) => boolean) | null {
  const family = isIP(host)
  if ((family === 6) !== bracketed) return null
  if (family === 0) return bits === undefined ? (other) => other === host : null
  const width = family === 6 ? 128 : 32
  const prefix = bits === undefined ? width : Number(bits)
  if (prefix > width) return null
  const network = new BlockList()
  network.addSubnet(host, prefix, family === 6 ? 'ipv6' : 'ipv4')
  return (other) => isIP(other) !== 0 && network.check(other, isIP(other) === 6 ? 'ipv6' : 'ipv4')
}
