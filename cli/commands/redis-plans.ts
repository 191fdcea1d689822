/** `nearcast redis plans`, and what `redis set` and `redis create` say about plans and limits. */
import type { Command } from 'commander'
import { Option } from 'commander'
import { z } from 'zod'
import { listOf } from '../api-objects.ts'
import type { RedisObject } from '../api-objects.ts'
import { bytes, table } from '../output.ts'
import { amount, NONE, optionName } from './limits.ts'
import type { WithSession } from './session.ts'

/** Member of the API, flag, what it limits. */
const LIMITS = [
  ['maxClients', '--max-clients <count>', 'open connections'],
  ['commandsPerSecond', '--commands-per-second <count>', 'commands a second; those beyond are refused'],
  ['commandsPerDay', '--commands-per-day <count>', 'commands until midnight, UTC'],
  ['commandsPerMonth', '--commands-per-month <count>', 'commands until the month ends, UTC'],
  ['requestBytes', '--request-bytes <count>', 'all arguments of one command'],
  ['entryBytes', '--entry-bytes <count>', 'one string, or one element of a collection; at least 1 MiB'],
  ['bytesPerSecond', '--bytes-per-second <count>', 'each way; beyond, reading waits'],
  ['bytesPerDay', '--bytes-per-day <count>', 'both ways, until midnight, UTC; beyond, commands are refused'],
  ['idleSeconds', '--idle-seconds <count>', 'a connection without a command for so long is closed'],
  ['scriptMs', '--script-ms <count>', 'a script that runs longer is ended'],
] as const

export type SizeOptions = Readonly<Record<string, unknown>> & { readonly plan?: string; readonly eviction?: string; readonly autoUpgrade?: string; readonly maxMemory?: number | typeof NONE }

export function addSizeOptions(command: Command): Command {
  command.option('--plan <plan>', '"nearcast redis plans" lists them; none (operators) ends its plan and its limits')
  command.addOption(new Option('--eviction <state>', 'when it is full, keys go instead of writes being refused').choices(['on', 'off']))
  command.addOption(new Option('--auto-upgrade <state>', 'at a limit of its plan it goes on to the next one').choices(['on', 'off']))
  command.option('--max-memory <bytes>', 'data size (operators): 100M, 1G', amount)
  for (const [, flag, about] of LIMITS) command.option(flag, `${about} (operators; none ends it)`, amount)
  return command
}

/** What of it was said, as the API takes it. */
export function sizeBody(options: SizeOptions): Record<string, unknown> {
  const { plan, eviction, autoUpgrade, maxMemory } = options
  const given = LIMITS.map(([member, flag]) => [member, options[optionName(flag)]] as const).filter(([, value]) => value !== undefined)
  return {
    ...(plan !== undefined && { plan: plan === NONE ? null : plan }),
    ...(eviction !== undefined && { eviction: eviction === 'on' }),
    ...(autoUpgrade !== undefined && { autoUpgrade: autoUpgrade === 'on' }),
    ...(maxMemory !== undefined && { maxMemoryBytes: maxMemory === NONE ? null : maxMemory }),
    ...(given.length > 0 && { limits: Object.fromEntries(given.map(([member, value]) => [member, value === NONE ? null : value])) }),
  }
}

export function sizeFacts({ plan, limits, eviction, maxMemoryBytes, autoUpgrade }: RedisObject): [string, string][] {
  return [
    ['plan', `${plan ?? 'none'}${autoUpgrade === true ? '; the next one at a limit' : ''}`],
    ['data size', `${bytes(maxMemoryBytes)} (${maxMemoryBytes} bytes), ${eviction === true ? 'then keys go' : 'then writes are refused'}`],
    ['limits', limitsText(limits)],
  ]
}

function limitsText(limits: Readonly<Record<string, number>> | undefined): string {
  return Object.entries(limits ?? {}).map(([member, value]) => `${member} ${value}`).join(', ') || 'none'
}

const planObject = z.looseObject({ name: z.string(), maxMemoryBytes: z.number().optional(), eviction: z.boolean().optional() })

export function addRedisPlansCommand(redis: Command, withSession: WithSession): void {
  redis
    .command('plans')
    .description('what databases may use, by plan; "nearcast redis set <name> --plan <plan>" changes it')
    .action((_options: object, command: Command) =>
      withSession(command, async ({ api, output }) => {
        const plans = await api.get('/v1/plans', listOf(planObject))
        const rows = plans.map(({ name, maxMemoryBytes, eviction, ...limits }) => [name, maxMemoryBytes === undefined ? '-' : bytes(maxMemoryBytes), eviction === true ? 'keys go' : 'refuses writes', limitsText(limits as Record<string, number>)])
        output.show(plans, () => table(['plan', 'data size', 'when full', 'limits'], rows))
      }),
    )
}
