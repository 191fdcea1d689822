/** `nearcast redis …`: databases of an organization. */
import type { Command } from 'commander'
import type { Provisioning, RedisObject } from '../api-objects.ts'
import { listOf, redisObject } from '../api-objects.ts'
import type { Output } from '../output.ts'
import { colours, facts, milliseconds, table } from '../output.ts'
import type { WithSession } from './program.ts'
import { list, segment, whole } from './values.ts'

interface CreateOptions {
  readonly org: string
  readonly name: string
  readonly region: string
  readonly replicas?: readonly string[]
  readonly network?: string
  readonly appendFsync?: string
  readonly maxMemory?: number
}

export function addRedisCommands(program: Command, withSession: WithSession): void {
  const redis = program.command('redis').description('databases: create, list, look at, connect to, destroy')
  const org = ['--org <org>', 'organization, by name or id'] as const

  redis
    .command('create')
    .description('make a database with its own address on the network of an organization')
    .requiredOption(...org)
    .requiredOption('--name <name>', 'its name; clients reach it as <name>.flycast')
    .requiredOption('--region <region>', 'where the primary is (it stays there)')
    .option('--replicas <regions>', 'where read replicas are: ams,gru', list)
    .option('--network <network>', "one of the organization's networks, when it has several")
    .option('--append-fsync <policy>', 'everysec, or always: no acknowledged write is ever lost')
    .option('--max-memory <bytes>', 'data size limit in bytes', whole)
    .action((options: CreateOptions, command: Command) =>
      withSession(command, async ({ api, output }) => {
        const { org: owner, replicas, maxMemory, ...rest } = options
        const database = await api.post(`/v1/orgs/${segment(owner)}/redis`, {
          ...rest,
          ...(replicas !== undefined && { replicas }),
          ...(maxMemory !== undefined && { maxMemoryBytes: maxMemory }),
        }, redisObject)
        output.show(database, () => created(database))
      }),
    )

  redis
    .command('list')
    .description('databases of an organization')
    .requiredOption(...org)
    .action((options: { org: string }, command: Command) =>
      withSession(command, async ({ api, output }) => {
        const databases = await api.get(`/v1/orgs/${segment(options.org)}/redis`, listOf(redisObject))
        const rows = databases.map((each) => [each.id, each.name, each.region, each.replicas.join(','), each.address, String(each.state)])
        output.show(databases, () => table(['id', 'name', 'primary region', 'read regions', 'address', 'state'], rows))
      }),
    )

  redis
    .command('status <name>')
    .description('everything about a database, its password included')
    .requiredOption(...org)
    .action((name: string, options: { org: string }, command: Command) =>
      withSession(command, async ({ api, output }) => {
        const database = await api.get(`/v1/orgs/${segment(options.org)}/redis/${segment(name)}`, redisObject)
        output.show(database, () => described(database))
      }),
    )

  redis
    .command('connect <name>')
    .description('how to reach a database, from an app and from here')
    .requiredOption(...org)
    .action((name: string, options: { org: string }, command: Command) =>
      withSession(command, async ({ api, output }) => {
        const database = await api.get(`/v1/orgs/${segment(options.org)}/redis/${segment(name)}`, redisObject)
        output.show(database, () => connectHints(database, output))
      }),
    )

  redis
    .command('destroy <name>')
    .description("remove a database; its address is never given to another one. This can't be undone")
    .requiredOption(...org)
    .action((name: string, options: { org: string }, command: Command) =>
      withSession(command, async ({ api, output }) => {
        await api.delete(`/v1/orgs/${segment(options.org)}/redis/${segment(name)}`)
        output.show({ destroyed: name }, () => `Your Redis database ${name} was destroyed.`)
      }),
    )
}

function created(database: RedisObject): string[] {
  const lines = [colours.green(`Your Redis database ${colours.bold(database.name)} is ready.`), '', described(database), '']
  lines.push(colours.dim('# .env'), ...Object.entries(database.env).map(([key, value]) => `${key}=${value}`))
  if (database.provisioning !== undefined) lines.push('', provisioned(database.provisioning))
  return lines
}

function described(database: RedisObject): string {
  return facts([
    ['url', database.url],
    ['address', database.address],
    ['port', database.port],
    ['primary region', database.region],
    ['read regions', database.replicas.join(', ') || '-'],
    ['state', String(database.state)],
  ])
}

function provisioned({ ms, proxies, agents, missing }: Provisioning): string {
  const failed = agents.filter((agent) => agent.error !== undefined)
  const rows = [...agents.filter((agent) => agent.ms !== undefined), ...proxies].map((each) => [each.id, milliseconds(each.ms)])
  const lines = [table(['acknowledged by', 'after'], rows), `${proxies.length} proxies in ${milliseconds(ms)}`]
  for (const agent of failed) lines.push(colours.yellow(`${agent.id}: ${agent.error}`))
  if (missing.length > 0) lines.push(colours.yellow(`Not acknowledged yet: ${missing.join(', ')}. They will, as soon as they are back.`))
  return lines.join('\n')
}

function connectHints(database: RedisObject, output: Output): string[] {
  output.hint(colours.dim('From an app host of the organization (redis-cli before 7.2 takes no IPv6 address in a URL, so it carries the name):'))
  return [
    `redis-cli -u ${database.url}`,
    `redis-cli -h ${database.address} -p ${database.port} --user ${database.username} --askpass`,
    `nearcast dev exec --org ${database.org} --region ${database.region} -- redis-cli -u ${database.url}`,
  ]
}
