/** `nearcast redis …`: databases of an organization. */
import { randomInt } from 'node:crypto'
import type { Command } from 'commander'
import { Option } from 'commander'
import { REDIS_ENGINES } from '../../lib/redis-engines.ts'
import type { Provisioning, RedisObject } from '../api-objects.ts'
import { listOf, redisObject, regionObject } from '../api-objects.ts'
import { generateName } from '../generated-name.ts'
import type { Output } from '../output.ts'
import { colours } from '../colours.ts'
import { count, facts, milliseconds, table } from '../output.ts'
import { confirmed, YES_OPTION } from './confirm.ts'
import { amount, NONE } from './limits.ts'
import { addRedisAccessCommands, restsAfter } from './redis-access.ts'
import { addRedisBackupCommands } from './redis-backups.ts'
import { addRedisImportCommand } from './redis-import.ts'
import { addRedisPlansCommand, sizeFacts } from './redis-plans.ts'
import { addRedisReportCommands, statisticsObject, usageLines } from './redis-statistics.ts'
import type { Session, WithSession } from './session.ts'
import { ORG_OPTION } from './session.ts'
import type { TlsOptions } from './address-settings.ts'
import { addTlsOptions, tlsBody } from './address-settings.ts'
import { APP_HOST_CA } from '../dev/enter.ts'
import { list, segment } from './values.ts'

interface CreateOptions extends TlsOptions {
  readonly org?: string
  readonly name?: string
  readonly region?: string
  readonly replicas?: readonly string[]
  readonly network?: string
  readonly appendFsync?: string
  readonly maxMemory?: number | typeof NONE
  readonly engine?: string
  readonly plan?: string
  readonly eviction?: true
}

export function addRedisCommands(program: Command, withSession: WithSession): void {
  const redis = program.command('redis').description('databases: create, list, look at, connect to, change, destroy')

  addTlsOptions(redis.command('create'))
    .description('make a database with its own address on the network of an organization')
    .option(...ORG_OPTION)
    .option('--name <name>', 'its name; clients reach it as <name>.flycast (default: a generated one)')
    .option('--region <region>', 'where the primary is (it stays there)')
    .option('--replicas <regions>', 'where read replicas are: ams,gru', list)
    .option('--network <network>', "one of the organization's networks, when it has several")
    .option('--append-fsync <policy>', 'everysec, or always: no acknowledged write is ever lost')
    .option('--max-memory <bytes>', 'data size: 100M, 1G; unless its plan says it', amount)
    .addOption(new Option('--engine <engine>', 'what runs it, for ever (default: as its nodes are set)').choices(REDIS_ENGINES))
    .option('--plan <plan>', 'what it may use; "nearcast redis plans" lists them')
    .option('--eviction', 'when it is full, keys go instead of writes being refused')
    .action((options: CreateOptions, command: Command) =>
      withSession(command, async (session) => {
        const { api, output } = session
        const { org, maxMemory, tls, tlsAlpn, tlsClientCa, ...rest } = options
        const secured = tlsBody({ ...(tls !== undefined && { tls }), ...(tlsAlpn !== undefined && { tlsAlpn }), ...(tlsClientCa !== undefined && { tlsClientCa }) })
        const owner = await session.org(org)
        const wanted = await answered(session, rest)
        const database = await api.post(`/v1/orgs/${segment(owner)}/redis`, { ...wanted, ...secured, ...(maxMemory !== undefined && maxMemory !== NONE && { maxMemoryBytes: maxMemory }) }, redisObject)
        output.show(database, () => created(database))
      }),
    )

  redis
    .command('list')
    .description('databases of an organization')
    .option(...ORG_OPTION)
    .action((options: { org?: string }, command: Command) =>
      withSession(command, async ({ api, output, org }) => {
        const databases = await api.get(`/v1/orgs/${segment(await org(options.org))}/redis`, listOf(redisObject))
        const rows = databases.map((each) => [each.id, each.name, each.region, each.replicas.join(', ') || '-', each.address, String(each.state)])
        output.show(databases, () => table(['id', 'name', 'primary region', 'read regions', 'address', 'state'], rows))
      }),
    )

  redis
    .command('status <name>')
    .description('everything about a database, its password and its use included')
    .option(...ORG_OPTION)
    .action((name: string, options: { org?: string }, command: Command) =>
      withSession(command, async ({ api, output, org }) => {
        const path = `/v1/orgs/${segment(await org(options.org))}/redis/${segment(name)}`
        const [database, statistics] = await Promise.all([api.get(path, redisObject), api.get(`${path}/statistics`, statisticsObject)])
        output.show({ ...database, statistics }, () => [described(database), ...usageLines(statistics, database.maxMemoryBytes)])
      }),
    )

  redis
    .command('connect <name>')
    .description('how to reach a database, from an app and from here')
    .option(...ORG_OPTION)
    .action((name: string, options: { org?: string }, command: Command) =>
      withSession(command, async ({ api, output, org }) => {
        const owner = await org(options.org)
        const database = await api.get(`/v1/orgs/${segment(owner)}/redis/${segment(name)}`, redisObject)
        output.show(database, () => connectHints(database, owner, output))
      }),
    )

  redis
    .command('destroy <name>')
    .description("remove a database; its address is never given to another one. This can't be undone")
    .option(...ORG_OPTION)
    .option(...YES_OPTION)
    .action((name: string, options: { org?: string; yes?: true }, command: Command) =>
      withSession(command, async (session) => {
        const path = `/v1/orgs/${segment(await session.org(options.org))}/redis/${segment(name)}`
        // What isn't there needs no confirmation.
        const database = await session.api.get(path, redisObject)
        await confirmed(session, database.name, options.yes)
        await session.api.delete(path)
        session.output.show({ destroyed: database.name }, () => `Your Redis database ${database.name} was destroyed.`)
      }),
    )

  addRedisAccessCommands(redis, withSession)
  addRedisBackupCommands(redis, withSession)
  addRedisImportCommand(redis, withSession)
  addRedisPlansCommand(redis, withSession)
  addRedisReportCommands(redis, withSession)
}

/** What the options leave open is asked for where somebody can answer; a name alone is generated. */
async function answered<Options extends { readonly name?: string; readonly region?: string; readonly replicas?: readonly string[] }>(
  { api, prompter }: Session,
  options: Options,
): Promise<Options & { name: string; region: string }> {
  const { name = prompter.interactive ? await prompter.text('Choose a database name (leave blank to generate one):', '--name <name>', checkName) : '', region } = options
  const named = { ...options, name: name === '' ? generateName(randomInt) : name }
  if (region !== undefined) return { ...named, region }
  const regions = prompter.interactive ? (await api.get('/v1/regions', listOf(regionObject))).map(({ id }) => ({ value: id })) : []
  const primary = await prompter.choose("Choose a primary region (can't be changed later):", '--region <region>', regions)
  const others = regions.filter(({ value }) => value !== primary)
  if (options.replicas !== undefined || others.length === 0) return { ...named, region: primary }
  const replicas = await prompter.chooseSome('Optionally, choose one or more replica regions:', '--replicas <regions>', others)
  return { ...named, region: primary, replicas }
}

function checkName(name: string): string | undefined {
  return name === '' || /^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/.test(name) ? undefined : 'Use up to 40 of a-z, 0-9 and "-", not at the ends.'
}

function created(database: RedisObject): string[] {
  const failing = (database.provisioning?.agents ?? []).filter(({ error }) => error !== undefined).map(({ id }) => id)
  const name = `Your Redis database ${colours.bold(database.name)}`
  const lines = [failing.length === 0 ? colours.green(`${name} is ready.`) : colours.yellow(`${name} is made, but ${failing.join(' and ')} can't serve it yet; the last lines say why.`), '', described(database), '']
  lines.push(colours.dim('# .env'), ...Object.entries(database.env).map(([key, value]) => `${key}=${value}`))
  if (database.provisioning !== undefined) lines.push('', provisioned(database.provisioning))
  return lines
}

function described(database: RedisObject): string {
  return facts([
    ['url', database.url ?? 'hidden: the token may only read'],
    ['address', database.address],
    ['port', database.port],
    ['primary region', database.region],
    ['read regions', database.replicas.join(', ') || '-'],
    ['TLS', database.tls],
    ['engine', database.engine ?? 'as its node is set'],
    ...sizeFacts(database),
    ['rests', restsAfter(database)],
    ['daily backups kept', database.dailyBackups ?? 'none'],
    ['further users', database.users.join(', ') || '-'],
    ['clients may come from', database.allowedSources?.join(', ') ?? 'anywhere'],
    ['state', String(database.state)],
  ])
}

function provisioned({ ms, proxies, agents, missing }: Provisioning): string {
  const failed = agents.filter((agent) => agent.error !== undefined)
  const rows = [...agents.filter((agent) => agent.ms !== undefined), ...proxies].map((each) => [each.id, milliseconds(each.ms)])
  const lines = [table(['acknowledged by', 'after'], rows), `${count(proxies.length, 'proxy', 'proxies')} in ${milliseconds(ms)}`]
  for (const agent of failed) lines.push(colours.yellow(`${agent.id}: ${agent.error}`))
  if (missing.length > 0) lines.push(colours.yellow(`Not acknowledged yet: ${missing.join(', ')}. They will, as soon as they are back.`))
  return lines.join('\n')
}

function connectHints(database: RedisObject, org: string, output: Output): string[] {
  output.hint(colours.dim('From an app host of the organization (redis-cli before 7.2 takes no IPv6 address in a URL, so it carries the name):'))
  // A token that may only read is shown no password.
  const { url = `redis://default@${database.hostname}:${database.port}` } = database
  const execute = `nearcast dev exec --org ${org} --region ${database.region} --`
  if (database.tls === 'terminate') return tlsHints(url, execute)
  return [
    `redis-cli -u ${url}`,
    `redis-cli -h ${database.address} -p ${database.port} --user ${database.username} --askpass`,
    `${execute} redis-cli -u ${url}`,
    ...(database.tls === 'auto' ? tlsHints(url.replace(/^redis:/, 'rediss:'), execute) : []),
  ]
}

/** The path is that of an app host of the development cluster. */
function tlsHints(url: string, execute: string): string[] {
  const command = `redis-cli --cacert ${APP_HOST_CA} -u ${url}`
  return [command, `${execute} ${command}`]
}
