/**
 * From an HAProxy configuration to nodes and services of Nearcast, and every line (or part of one) for which there is
 * nothing, with the reason. What is translated is exact; in doubt a line is named rather than guessed at. Pure.
 */
import type { Line, Section } from './parse.ts'

/** A server that reads the PROXY header itself. */
export interface ImportedNode {
  readonly id: string
  readonly endpoint: string
  readonly hop: 'v1' | 'v2'
}

/** A server that doesn't, and needs an agent on its host. */
export interface ImportedAgent {
  readonly id: string
  readonly host: string
}

export interface ImportedService {
  readonly name: string
  readonly kind: 'tcp' | 'postgres'
  readonly port: number
  readonly nodes: readonly string[]
  /** As its agents see it. */
  readonly backend?: string
}

export interface Untranslated {
  readonly line: number
  readonly text: string
  readonly reason: string
}

export interface Imported {
  readonly nodes: readonly ImportedNode[]
  readonly agents: readonly ImportedAgent[]
  readonly services: readonly ImportedService[]
  readonly untranslated: readonly Untranslated[]
}

interface Server {
  readonly id: string
  readonly host: string
  readonly port: number
  readonly header: 'none' | 'v1' | 'v2'
  readonly line: Line
}

const NOTHING = 'there is nothing like it'
/** Words of a section, and what Nearcast does about the matter. */
const REASONS: Readonly<Record<string, string>> = {
  balance: 'the nearest healthy node is taken; nothing is to be set',
  timeout: 'times are set for a whole proxy: dial and health in proxy.toml',
  maxconn: 'limits are set for an address or a network (nearcast limits), and for a proxy in proxy.toml',
  log: 'programs log JSON lines to standard output; log.level in their configuration',
  'use_backend': 'an address leads to one service; make an address for each',
  acl: 'who may connect is decided by networks and grants',
  'tcp-request': 'who may connect is decided by networks and grants',
  'stick-table': 'there is no stickiness: the nearest healthy node is taken',
  stick: 'there is no stickiness: the nearest healthy node is taken',
  'default-server': 'repeat what matters on each server line',
  'server-template': 'write a server line for each server',
  stats: 'each program has /metrics (admin.listen); nearcast top shows them',
}
/** Of a server line; those that are simply so: every node is probed. */
const SERVER_WORDS: Readonly<Record<string, { readonly values: number; readonly reason: string | null }>> = {
  check: { values: 0, reason: null },
  'no-check': { values: 0, reason: 'every node is probed' },
  enabled: { values: 0, reason: null },
  inter: { values: 1, reason: 'health.intervalMs in proxy.toml' },
  fall: { values: 1, reason: 'health.failures in proxy.toml' },
  rise: { values: 1, reason: 'health.successes in proxy.toml' },
  weight: { values: 1, reason: 'the nearest healthy node is taken, loads are evened out' },
  backup: { values: 0, reason: 'far nodes are taken when near ones fail, by measured latency' },
  maxconn: { values: 1, reason: 'limits are set for an address or a network' },
  'send-proxy': { values: 0, reason: null },
  'send-proxy-v2': { values: 0, reason: null },
  ssl: { values: 0, reason: 'the way to an agent is encrypted always; to a foreign node it is not' },
  verify: { values: 1, reason: 'the way to an agent is encrypted always; to a foreign node it is not' },
  'ca-file': { values: 1, reason: 'the way to an agent is encrypted always; to a foreign node it is not' },
}

export function translateHaproxy(sections: readonly Section[]): Imported {
  const untranslated: Untranslated[] = []
  const refuse = (line: Line, reason: string, text = line.text): void => void untranslated.push({ line: line.number, text, reason })
  const refuseAll = (section: Section, reason: string): void => [section.head, ...section.lines].forEach((line) => refuse(line, reason))
  const nodes = new Map<string, ImportedNode>()
  const agents = new Map<string, ImportedAgent>()
  const services: ImportedService[] = []
  const backends = new Map(sections.filter(({ keyword }) => keyword === 'backend').map((section) => [section.name, section]))
  const used = new Set<Section>()
  let mode = 'tcp'

  for (const section of sections) {
    if (section.keyword === 'defaults') mode = lastMode(section) ?? 'tcp'
    if (section.keyword !== 'listen' && section.keyword !== 'frontend') {
      if (section.keyword !== 'backend') section.lines.forEach((line) => refuseLine(line, refuse))
      continue
    }
    if ((lastMode(section) ?? mode) !== 'tcp') {
      refuseAll(section, 'it is of mode http; Nearcast carries TCP')
      continue
    }
    const behind = section.keyword === 'listen' ? section : backends.get(section.lines.findLast((line) => line.words[0] === 'default_backend')?.words[1] ?? '')
    if (behind === undefined) {
      refuseAll(section, 'it has no default_backend')
      continue
    }
    used.add(behind)
    const lines = [...new Set([...section.lines, ...behind.lines])]
    const port = readPort(section, refuse)
    const servers = lines.flatMap((line) => readServer(line, refuse) ?? [])
    for (const line of lines) if (!TAKEN.has(line.words[0] ?? '')) refuseLine(line, refuse)
    const name = slug(section.name)
    if (port === null || servers.length === 0) {
      refuse(section.head, port === null ? 'it listens on no port of its own' : 'it has no server')
      continue
    }
    const kind = lines.some(({ words }) => words[0] === 'option' && words[1] === 'pgsql-check') ? 'postgres' : 'tcp'
    const service = placed(servers, refuse, nodes, agents)
    if (service !== null) services.push({ name, kind, port, ...service })
  }
  for (const section of backends.values()) if (!used.has(section)) refuseAll(section, 'no frontend leads to it by default_backend')
  return { nodes: [...nodes.values()], agents: [...agents.values()], services, untranslated: untranslated.toSorted((left, right) => left.line - right.line) }
}

/** Lines that are read elsewhere. */
const TAKEN = new Set(['bind', 'server', 'mode', 'default_backend'])

function refuseLine(line: Line, refuse: (line: Line, reason: string) => void): void {
  const [word = '', second] = line.words
  if (word === 'mode') return
  // A check of ours says the same: that the server answers.
  if (word === 'option' && (second === 'tcp-check' || second === 'redis-check' || second === 'pgsql-check' || second === 'tcplog')) return
  refuse(line, REASONS[word] ?? NOTHING)
}

function lastMode(section: Section): string | undefined {
  return section.lines.findLast(({ words }) => words[0] === 'mode')?.words[1]
}

/** Of the first `bind`, or of the `listen` line of old. */
function readPort(section: Section, refuse: (line: Line, reason: string, text?: string) => void): number | null {
  const binds = section.lines.filter(({ words }) => words[0] === 'bind')
  const [first, ...more] = binds
  for (const line of more) refuse(line, 'a service has one port; make another for this one')
  if (first === undefined) return null
  const [, place = '', ...words] = first.words
  const known = new Set(['v4v6', 'v6only', 'transparent'])
  const rest = words.filter((word) => !known.has(word))
  if (rest.includes('ssl')) refuse(first, 'give the proxy the certificate ([tls] in proxy.toml) and the address --tls terminate', rest.join(' '))
  else if (rest.length > 0) refuse(first, NOTHING, rest.join(' '))
  const port = Number(/:(\d{1,5})$/.exec(place)?.[1])
  if (port >= 1 && port <= 65_535) return port
  refuse(first, 'it names no single port')
  return null
}

function readServer(line: Line, refuse: (line: Line, reason: string, text?: string) => void): Server | null {
  const [word, name = '', place = '', ...words] = line.words
  if (word !== 'server') return null
  if (words.includes('disabled')) {
    refuse(line, 'it is disabled')
    return null
  }
  const [, bracketed, plain, digits] = /^(?:ipv[46]@)?(?:\[([^\]]+)\]|([^[\]]+)):(\d{1,5})$/.exec(place) ?? []
  const host = bracketed ?? plain
  if (host === undefined) {
    refuse(line, 'it names no host and port')
    return null
  }
  for (let index = 0; index < words.length; index++) {
    const known = SERVER_WORDS[words[index] ?? '']
    if (known === undefined) {
      // Whether the next word belongs to it isn't known either.
      refuse(line, NOTHING, words.slice(index).join(' '))
      break
    }
    if (known.reason !== null) refuse(line, known.reason, words.slice(index, index + 1 + known.values).join(' '))
    index += known.values
  }
  const header = words.includes('send-proxy-v2') ? 'v2' : words.includes('send-proxy') ? 'v1' : 'none'
  return { id: slug(name), host, port: Number(digits), header, line }
}

/** The servers of one service as nodes; null when they don't fit together. */
function placed(
  servers: readonly Server[],
  refuse: (line: Line, reason: string) => void,
  nodes: Map<string, ImportedNode>,
  agents: Map<string, ImportedAgent>,
): Pick<ImportedService, 'nodes' | 'backend'> | null {
  const plain = servers.filter(({ header }) => header === 'none')
  const [first] = plain
  if (first === undefined) {
    return { nodes: servers.map(({ id, host, port, header }) => nodeFor(nodes, id, { endpoint: endpoint(host, port), hop: header === 'v1' ? 'v1' : 'v2' })) }
  }
  const odd = servers.filter(({ header, port }) => header !== 'none' || port !== first.port)
  for (const { line } of odd) refuse(line, 'the servers of a service take the same header, and behind agents the same port')
  const hosts = plain.filter(({ port }) => port === first.port)
  return { nodes: hosts.map(({ id, host }) => agentFor(agents, id, host)), backend: `127.0.0.1:${first.port}` }
}

/** The same server in two services is one node; another server of the same name gets a name of its own. */
function nodeFor(nodes: Map<string, ImportedNode>, id: string, wanted: Omit<ImportedNode, 'id'>): string {
  for (let number = 1; ; number++) {
    const name = number === 1 ? id : `${id}-${number}`
    const present = nodes.get(name)
    if (present === undefined) nodes.set(name, { id: name, ...wanted })
    if (present === undefined || (present.endpoint === wanted.endpoint && present.hop === wanted.hop)) return name
  }
}

/** One agent for each host. */
function agentFor(agents: Map<string, ImportedAgent>, id: string, host: string): string {
  const present = [...agents.values()].find((agent) => agent.host === host)
  if (present !== undefined) return present.id
  const name = agents.has(id) ? slug(`${id}-${agents.size + 1}`) : id
  agents.set(name, { id: name, host })
  return name
}

function endpoint(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** A name that ours may have. */
function slug(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-').slice(0, 38).replaceAll(/^-+|-+$/g, '') || 'unnamed'
}
