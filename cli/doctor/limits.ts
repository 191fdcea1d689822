/** Limits of the machine against what a loaded proxy needs. Pure: `read` gives a file of /proc, or null. */
import type { Finding } from './finding.ts'

export type Read = (file: string) => string | null

/** A carried connection holds two descriptors; the rest is for listeners, sessions and files. */
const WANTED_FILES = 65_536
const WANTED_BACKLOG = 4096
const WANTED_CONNTRACK = 262_144
const WANTED_PORTS = 28_000

interface Limit {
  readonly id: string
  readonly for: string
  readonly wanted: number
  readonly value: (read: Read) => number | null | 'unused'
  readonly shows: (value: number) => string
  readonly todo: string
}

const LIMITS: readonly Limit[] = [
  {
    id: 'nofile',
    for: 'open connections: two descriptors each',
    wanted: WANTED_FILES,
    value: (read) => number(/^Max open files\s+\S+\s+(\S+)/m.exec(read('/proc/self/limits') ?? '')?.[1]),
    shows: (value) => `a process may open ${value} files`,
    todo: `LimitNOFILE=${WANTED_FILES * 16} in the systemd unit, or "ulimit -Hn ${WANTED_FILES}" before the start`,
  },
  {
    id: 'somaxconn',
    for: 'bursts of new connections',
    wanted: WANTED_BACKLOG,
    value: (read) => number(read('/proc/sys/net/core/somaxconn')),
    shows: (value) => `${value} connections may wait to be accepted`,
    todo: `sysctl -w net.core.somaxconn=${WANTED_BACKLOG}`,
  },
  {
    id: 'conntrack',
    for: 'every connection, where the packet filter tracks them',
    wanted: WANTED_CONNTRACK,
    value: (read) => (read('/proc/sys/net/netfilter/nf_conntrack_max') === null ? 'unused' : number(read('/proc/sys/net/netfilter/nf_conntrack_max'))),
    shows: (value) => `${value} connections are tracked at most`,
    todo: `sysctl -w net.netfilter.nf_conntrack_max=${WANTED_CONNTRACK}`,
  },
  {
    id: 'ephemeral-ports',
    for: 'connections from one proxy to one node at once and within the last minute',
    wanted: WANTED_PORTS,
    value: (read) => portRange(read('/proc/sys/net/ipv4/ip_local_port_range')),
    shows: (value) => `${value} ports for outgoing connections`,
    todo: 'sysctl -w net.ipv4.ip_local_port_range="10240 65535"',
  },
]

export function checkLimits(read: Read): Finding[] {
  return LIMITS.map(({ id, for: use, wanted, value, shows, todo }): Finding => {
    const found = value(read)
    const base = { id, group: 'limits', for: use } as const
    if (found === null) return { ...base, answer: 'unknown', reason: 'the kernel does not tell' }
    if (found === 'unused') return { ...base, answer: 'yes', reason: 'connections are not tracked here' }
    if (found >= wanted) return { ...base, answer: 'yes', reason: shows(found) }
    return { ...base, answer: 'no', reason: `${shows(found)}; ${wanted} are wanted under load`, todo }
  })
}

function number(text: string | null | undefined): number | null {
  if (text?.trim() === 'unlimited') return Number.MAX_SAFE_INTEGER
  return text !== null && text !== undefined && /^\d+$/.test(text.trim()) ? Number(text.trim()) : null
}

function portRange(text: string | null): number | null {
  const [, first, last] = /^(\d+)\s+(\d+)/.exec(text ?? '') ?? []
  return first === undefined || last === undefined ? null : Number(last) - Number(first) + 1
}
