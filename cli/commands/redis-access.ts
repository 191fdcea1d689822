/** `nearcast redis set | reset-password | users …`: who may use a database. */
import type { Command } from 'commander'
import { z } from 'zod'
import { NearcastError } from '../../lib/errors.ts'
import { listOf, redisObject } from '../api-objects.ts'
import type { RedisObject } from '../api-objects.ts'
import { facts, table } from '../output.ts'
import { acknowledged, changedObject, removedObject } from './acknowledged.ts'
import { confirmed, YES_OPTION } from './confirm.ts'
import type { SizeOptions } from './redis-plans.ts'
import { addSizeOptions, sizeBody, sizeFacts } from './redis-plans.ts'
import type { Session, WithSession } from './session.ts'
import { ORG_OPTION } from './session.ts'
import { list, segment, wholeOr } from './values.ts'

export interface OrgOptions {
  readonly org?: string
}

const userObject = z.looseObject({ name: z.string(), rules: z.string(), password: z.string().optional(), url: z.string().optional() })
const changedRedis = redisObject.extend(changedObject.shape)
const changedUser = userObject.extend(changedObject.shape)

/** Ends the list of sources; the API's null. */
const ANY = 'any'
/** The API's null, too. */
const OFF = 'off'
const NEVER = 'never'
/** As the node is set; the API's null. */
const DEFAULT = 'default'
const HIDDEN = 'hidden: the token may only read'

export function restsAfter({ parkAfterMinutes }: RedisObject): string {
  if (parkAfterMinutes === undefined) return 'as its node is set'
  return parkAfterMinutes === NEVER ? NEVER : `after ${parkAfterMinutes} minutes without a connection`
}

export async function databasePath({ org }: Session, name: string, options: OrgOptions): Promise<string> {
  return `/v1/orgs/${segment(await org(options.org))}/redis/${segment(name)}`
}

export function addRedisAccessCommands(redis: Command, withSession: WithSession): void {
  addSizeOptions(redis.command('set <name>'))
    .description('change a database')
    .option(...ORG_OPTION)
    .option('--allow <sources>', 'addresses and subnets that clients must come from: 10.0.0.0/8,fdaa:0:1::/48; or any', list)
    .option('--park <minutes>', 'its engine rests after so many minutes without a connection, the next one wakes it; or never; or default', wholeOr(NEVER, DEFAULT))
    .option('--daily-backups <count>', 'a backup every day, so many kept (1 to 30); or off', wholeOr(OFF))
    .action((name: string, options: OrgOptions & SizeOptions & { allow?: string[]; dailyBackups?: number | typeof OFF; park?: number | typeof NEVER | typeof DEFAULT }, command: Command) =>
      withSession(command, async (session) => {
        const { allow, dailyBackups, park } = options
        const size = sizeBody(options)
        if (allow === undefined && dailyBackups === undefined && park === undefined && Object.keys(size).length === 0) throw new NearcastError('cli.usage', 'Say what to change, like --allow 10.0.0.0/8 or --daily-backups 7.')
        const change = {
          ...size,
          ...(allow !== undefined && { allowedSources: allow.length === 1 && allow[0] === ANY ? null : allow }),
          ...(park !== undefined && { parkAfterMinutes: park === DEFAULT ? null : park }),
          ...(dailyBackups !== undefined && { dailyBackups: dailyBackups === OFF ? null : dailyBackups }),
        }
        const answer = await session.api.patch(await databasePath(session, name, options), change, changedRedis)
        const now = facts([
          ['clients may come from', answer.allowedSources?.join(', ') ?? 'anywhere'],
          ['daily backups kept', answer.dailyBackups ?? 'none'],
          ['rests', restsAfter(answer)],
          ...sizeFacts(answer),
        ])
        session.output.show(answer, () => [...acknowledged(name, answer.change), now])
      }),
    )

  redis
    .command('reset-password <name>')
    .description("give a database, or one of its users, a new password; the old one doesn't count from then on")
    .option(...ORG_OPTION)
    .option('--user <user>', 'this user instead of "default"')
    .option(...YES_OPTION)
    .action((name: string, options: OrgOptions & { user?: string; yes?: true }, command: Command) =>
      withSession(command, async (session) => {
        const path = await databasePath(session, name, options)
        // What isn't there needs no confirmation.
        const database = await session.api.get(path, redisObject)
        await confirmed(session, database.name, options.yes, 'lock out the old password of')
        const of = options.user === undefined ? path : `${path}/users/${segment(options.user)}`
        const answer = await session.api.post(`${of}/reset-password`, {}, z.looseObject({ url: z.string().optional() }).extend(changedObject.shape))
        session.output.show(answer, () => [...acknowledged(name, answer.change), facts([['new url', answer.url ?? HIDDEN]])])
      }),
    )

  const users = redis.command('users').description('users of a database beside "default", with rules of their own')

  users
    .command('create <name> <user>')
    .description("add a user; what Redis's ACL rules allow, within the bounds of every database")
    .option(...ORG_OPTION)
    .requiredOption('--rules <rules>', 'commands, categories, keys, channels: "~app:* &* +@read +set"')
    .action((name: string, user: string, options: OrgOptions & { rules: string }, command: Command) =>
      withSession(command, async (session) => {
        const answer = await session.api.post(`${await databasePath(session, name, options)}/users`, { name: user, rules: options.rules }, changedUser)
        session.output.show(answer, () => [
          ...acknowledged(`${name}/${user}`, answer.change),
          facts([
            ['user', answer.name],
            ['rules', answer.rules],
            ['url', answer.url ?? HIDDEN],
          ]),
        ])
      }),
    )

  users
    .command('list <name>')
    .description('users of a database beside "default"')
    .option(...ORG_OPTION)
    .action((name: string, options: OrgOptions, command: Command) =>
      withSession(command, async (session) => {
        const known = await session.api.get(`${await databasePath(session, name, options)}/users`, listOf(userObject))
        session.output.show(known, () => table(['user', 'rules', 'url'], known.map((each) => [each.name, each.rules, each.url ?? HIDDEN])))
      }),
    )

  users
    .command('remove <name> <user>')
    .description('remove a user; its connections end at once')
    .option(...ORG_OPTION)
    .action((name: string, user: string, options: OrgOptions, command: Command) =>
      withSession(command, async (session) => {
        const answer = removedObject.parse(await session.api.delete(`${await databasePath(session, name, options)}/users/${segment(user)}`))
        session.output.show(answer, () => (answer.revocation === undefined ? `${user} was removed.` : acknowledged(`${name}/${user}`, answer.revocation)))
      }),
    )
}
