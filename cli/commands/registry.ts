/** `nearcast orgs|networks|addresses|services|audit|status|explain …`: the registry's other objects; fleet.ts has the operator's. */
import { Option } from 'commander'
import type { Command } from 'commander'
import { z } from 'zod'
import { NearcastError } from '../../lib/errors.ts'
import { anyObject, listOf, provisioning } from '../api-objects.ts'
import type { Cell } from '../output.ts'
import { facts, milliseconds, table } from '../output.ts'
import { acknowledged, changedObject, removedObject } from './acknowledged.ts'
import { confirmed, YES_OPTION } from './confirm.ts'
import type { Session, WithSession } from './session.ts'
import { ORG_OPTION } from './session.ts'
import { list, segment, whole } from './values.ts'

type Row = Readonly<Record<string, unknown>>

export interface Collection {
  /** The command's name, in the plural. */
  readonly name: string
  readonly about: string
  /** Under /v1; `{org}` is filled in. */
  readonly path: string
  readonly columns: readonly string[]
  readonly removes?: string
  /** Options of `create`: flag, text, and the member of the body. */
  readonly creates?: readonly (readonly [flag: string, about: string, member: string, parse?: (text: string) => unknown])[]
}

const COLLECTIONS: readonly Collection[] = [
  {
    name: 'orgs',
    about: 'organizations; each gets a network of its own',
    path: '/v1/orgs',
    columns: ['id', 'name', 'networks', 'createdAt'],
    creates: [['--name <name>', 'its name', 'name']],
  },
  {
    name: 'networks',
    about: 'networks of an organization',
    path: '/v1/orgs/{org}/networks',
    columns: ['id', 'name', 'prefix'],
    creates: [['--name <name>', 'its name', 'name']],
  },
  {
    name: 'addresses',
    about: "Flycast addresses on an organization's networks",
    path: '/v1/orgs/{org}/addresses',
    columns: ['address', 'network', 'service', 'generation', 'tls', 'granted', 'limits'],
    creates: [
      ['--service <service>', 'the service that it leads to; <owner>/<service> for one that a grant gives', 'service'],
      ['--network <network>', 'on which network', 'network'],
      ['--tls <policy>', 'who does TLS: off, terminate, passthrough or auto; "addresses set" has more', 'tls', (policy) => ({ policy })],
    ],
    removes: 'revoke',
  },
  {
    name: 'services',
    about: 'servers of any kind, on nodes that read PROXY headers or behind an agent',
    path: '/v1/orgs/{org}/services',
    columns: ['id', 'name', 'kind', 'address', 'port', 'nodes', 'backend', 'live'],
    creates: [
      ['--name <name>', 'its name', 'name'],
      ['--port <port>', 'the port that clients dial', 'port', whole],
      ['--nodes <nodes>', 'the nodes that serve it: a,b', 'nodes', list],
      ['--kind <kind>', 'tcp (any bytes) or postgres', 'kind'],
      ['--backend <place>', 'what an agent hands connections on to: unix:/path or host:port, as it sees it', 'backend'],
      ['--proxy-header <version>', 'what the backend gets first: none, v1 or v2', 'proxyHeader'],
      ['--network <network>', 'on which network', 'network'],
      ['--live <policy>', 'live connections when their address is revoked or their node drains or is unhealthy: keep, cut or drain:<seconds>', 'live'],
    ],
    removes: 'destroy',
  },
]

/** Members of a create body that may be left out. */
const OPTIONAL = new Set(['network', 'org', 'tls', 'kind', 'backend', 'proxyHeader', 'scopes', 'expiresAt', 'live'])

export function addRegistryCommands(program: Command, withSession: WithSession): void {
  for (const collection of COLLECTIONS) addCollection(program, collection, withSession)
  addLivePolicy(program, withSession)

  program
    .command('audit')
    .description('who changed what, oldest first')
    .option('--after <id>', 'only entries after this one', whole)
    .option('--limit <count>', 'at most so many', whole)
    .action((options: { after?: number; limit?: number }, command: Command) =>
      withSession(command, async ({ api, output }) => {
        const entries = await api.get(`/v1/audit${query(options)}`, listOf(anyObject))
        const columns = [...new Set(entries.flatMap((entry) => Object.keys(entry)))].filter((key) => key !== 'before' && key !== 'after')
        output.show(entries, () => rowsTable(columns, entries))
      }),
    )

  program
    .command('status')
    .description('connected programs, what they have acknowledged, what agents report')
    .action((_options: unknown, command: Command) =>
      withSession(command, async ({ api, output }) => {
        const status = await api.get('/v1/status', statusObject)
        const programs = status.programs.toSorted((a, b) => (a.identity < b.identity ? -1 : 1))
        const rows = programs.map(({ identity, region, revision, unavailable }) => [identity, region, String(revision ?? '-'), Object.entries(unavailable).map(([service, why]) => `${service}: ${why}`).join(', ') || '-'])
        output.show(status, () => [`revision ${status.revision}`, table(['program', 'region', 'acknowledged', 'unavailable'], rows)])
      }),
    )

  program
    .command('explain')
    .description('which node a connection would take, and why; answered by the proxy from the tables its data path reads')
    .requiredOption('--from <source>', 'an address, or org/region')
    .requiredOption('--to <destination>', 'an address, or <name>.flycast')
    .option('--proxy <id>', 'ask this proxy')
    .action((options: { from: string; to: string; proxy?: string }, command: Command) =>
      withSession(command, async ({ api, output }) => {
        const report = await api.get(`/v1/explain${query(options)}`, explainObject)
        output.show(report, () => explained(report))
      }),
    )
}

function addLivePolicy(program: Command, withSession: WithSession): void {
  program.commands
    .find((command) => command.name() === 'services')
    ?.command('set <name>')
    .description('change a service or a database')
    .option(...ORG_OPTION)
    .option('--live <policy>', 'live connections when their address is revoked or their node drains or is unhealthy: keep, cut, drain:<seconds>, or usual')
    .addOption(new Option('--shadow <mode>', 'operators: on judges and logs isolation without enforcing it, while a service moves in').choices(['on', 'off']))
    .action((name: string, options: { org?: string; live?: string; shadow?: string }, command: Command) =>
      withSession(command, async (session) => {
        const { live, shadow } = options
        if (live === undefined && shadow === undefined) throw new NearcastError('cli.usage', 'Say what to change: --live or --shadow.', { side: 'client' })
        const change = { ...(live !== undefined && { live: live === 'usual' ? null : live }), ...(shadow !== undefined && { shadow: shadow === 'on' }) }
        const answer = await session.api.patch(`/v1/orgs/${segment(await session.org(options.org))}/services/${segment(name)}`, change, changedObject)
        session.output.show(answer, () => acknowledged(name, answer.change))
      }),
    )
}

const programObject = z.looseObject({ identity: z.string(), region: z.string().nullish(), revision: z.number().nullish(), unavailable: z.record(z.string(), z.string()).default({}) })
const statusObject = z.looseObject({ revision: z.number(), programs: z.array(programObject).default([]) })

const explainObject = z.looseObject({
  proxy: z.string(),
  revision: z.number(),
  verdict: z.looseObject({ allowed: z.boolean(), reason: z.string().optional() }),
  candidates: z.array(
    z.looseObject({
      node: z.string(),
      region: z.string(),
      role: z.string(),
      latencyMs: z.number().nullable(),
      healthy: z.boolean(),
      available: z.boolean(),
      reason: z.string().optional(),
      load: z.number(),
    }),
  ),
  chosen: z.string().optional(),
  why: z.string(),
})

/** `?after=3`, or nothing. */
function query(values: Readonly<Record<string, string | number | undefined>>): string {
  const given = Object.entries(values).filter((pair): pair is [string, string | number] => pair[1] !== undefined)
  return given.length === 0 ? '' : `?${new URLSearchParams(given.map(([key, value]) => [key, String(value)])).toString()}`
}

function explained(report: z.infer<typeof explainObject>): string[] {
  const verdict = report.verdict.allowed ? 'allowed' : `refused (${report.verdict.reason ?? 'unknown'})`
  const rows = report.candidates.map((each) => [
    each.node === report.chosen ? `→ ${each.node}` : `  ${each.node}`,
    each.region,
    each.role,
    milliseconds(each.latencyMs),
    each.healthy ? 'healthy' : 'unhealthy',
    each.available ? 'available' : (each.reason ?? 'unavailable'),
    each.load,
  ])
  const candidates = rows.length === 0 ? [] : [table(['node', 'region', 'role', 'latency', 'health', 'database', 'load'], rows)]
  return [`${verdict}; asked ${report.proxy} at revision ${report.revision}`, ...candidates, report.why]
}

/** `hidden`: works, and isn't listed. */
export function addCollection(parent: Command, collection: Collection, withSession: WithSession, hidden = false): void {
  const ofOrg = collection.path.includes('{org}')
  const group = parent.command(collection.name, { hidden }).description(collection.about)
  const path = async (session: Session, org: string | undefined): Promise<string> =>
    ofOrg ? collection.path.replace('{org}', segment(await session.org(org))) : collection.path
  const scoped = (command: Command): Command => (ofOrg ? command.option(...ORG_OPTION) : command)

  scoped(group.command('list').description(`list ${collection.name}`)).action((options: { org?: string }, command: Command) =>
    withSession(command, async (session) => {
      const { api, output } = session
      const rows = await api.get(await path(session, options.org), listOf(anyObject))
      output.show(rows, () => rowsTable(collection.columns, rows))
    }),
  )

  if (collection.creates !== undefined) {
    const create = scoped(group.command('create').description(`make one of the ${collection.name}`))
    for (const [flag, about, member, parse] of collection.creates) {
      if (OPTIONAL.has(member)) create.option(flag, about, parse ?? String)
      else create.requiredOption(flag, about, parse ?? String)
    }
    create.action((options: Readonly<Record<string, unknown>> & { org?: string }, command: Command) =>
      withSession(command, async (session) => {
        const { api, output } = session
        const members = (collection.creates ?? []).map(([, , member]) => member)
        const body = Object.fromEntries(members.filter((member) => options[member] !== undefined).map((member) => [member, options[member]]))
        const made = await api.post(await path(session, options.org), body, anyObject)
        const { provisioning: answer, ...facets } = made
        const reached = provisioning.safeParse(answer)
        output.show(made, () => [facts(Object.entries(facets).map(([key, value]) => [words(key), text(value)])), ...(reached.success ? acknowledged(text(made['name'] ?? made['address']), reached.data) : [])])
      }),
    )
  }

  if (collection.removes !== undefined) {
    const destroys = collection.removes === 'destroy'
    const remove = scoped(group.command(`${collection.removes} <id>`).description(`${collection.removes} one of the ${collection.name}, everywhere at once`))
    if (destroys) remove.option(...YES_OPTION)
    remove.action(
      (id: string, options: { org?: string; yes?: true }, command: Command) =>
        withSession(command, async (session) => {
          const { api, output } = session
          const base = await path(session, options.org)
          if (destroys) await confirmed(session, id, options.yes)
          const answer = removedObject.parse(await api.delete(`${base}/${segment(id)}`))
          output.show({ id, ...answer }, () => (answer.revocation === undefined ? `${id}: done.` : acknowledged(`${id}: ${destroys ? 'destroyed' : 'revoked'}`, answer.revocation)))
        }),
    )
  }
}

function rowsTable(columns: readonly string[], rows: readonly Row[]): string {
  return table(columns.map(words), rows.map((row) => columns.map((column): Cell => text(row[column]))))
}

/** `createdAt` is "created at". */
function words(member: string): string {
  return member.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
}

function text(value: unknown): string {
  if (value === undefined || value === null || value === '') return '-'
  if (typeof value === 'object' && 'policy' in value && typeof value.policy === 'string') return value.policy
  if (Array.isArray(value)) return value.map((each: unknown) => (isNamed(each) ? each.name : text(each))).join(', ')
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function isNamed(value: unknown): value is { name: string } {
  return typeof value === 'object' && value !== null && 'name' in value && typeof value.name === 'string'
}
