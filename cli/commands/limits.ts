/** `nearcast limits …`: what an address or a network may use at each proxy. */
import type { Command } from 'commander'
import { InvalidArgumentError } from 'commander'
import { z } from 'zod'
import { NearcastError } from '../../lib/errors.ts'
import { listOf } from '../api-objects.ts'
import { table } from '../output.ts'
import { acknowledged, changedObject } from './acknowledged.ts'
import type { Session, WithSession } from './session.ts'
import { ORG_OPTION } from './session.ts'
import { segment } from './values.ts'

/** Member of the API, flag, what it limits. */
const LIMITS = [
  ['softConnections', '--soft-connections <count>', 'open connections, shared by the nodes: beyond, another node is preferred'],
  ['maxConnections', '--max-connections <count>', 'open connections: beyond, a new one waits briefly and is then refused'],
  ['connectionsPerSecond', '--connections-per-second <count>', 'new connections a second'],
  ['bytesPerSecondUp', '--bytes-up <count>', 'bytes a second, client to node; 64k, 10M, 1G'],
  ['bytesPerSecondDown', '--bytes-down <count>', 'bytes a second, node to client'],
] as const

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1000, M: 1_000_000, G: 1_000_000_000 }
const ABOUT = 'an address, or network:<name or number> (operators)'

const limitedObject = z.looseObject({ limits: z.record(z.string(), z.number()).optional() })
const limitedAddress = limitedObject.extend({ address: z.string(), service: z.string() })
const limitedNetwork = limitedObject.extend({ id: z.number(), name: z.string() })

/** Ends a limit; the API's null, which commander takes for no value. */
export const NONE = 'none'

type SetOptions = Readonly<Record<string, string | number | undefined>> & { readonly org?: string }

export function addLimitsCommands(program: Command, withSession: WithSession): void {
  const group = program.command('limits').description('what an address or a network may use at each proxy')

  const set = group.command('set <what>').description(`change limits; "none" ends one. what: ${ABOUT}`).option(...ORG_OPTION)
  for (const [, flag, about] of LIMITS) set.option(flag, about, amount)
  set.action((what: string, options: SetOptions, command: Command) =>
    withSession(command, async (session) => {
      const given = LIMITS.map(([member, flag]) => [member, options[optionName(flag)]] as const).filter(([, value]) => value !== undefined)
      const limits = Object.fromEntries(given.map(([member, value]) => [member, value === NONE ? null : value]))
      if (Object.keys(limits).length === 0) throw new NearcastError('cli.usage', 'Say what to limit, like --max-connections 100; "nearcast limits set --help" lists all.')
      const answer = await session.api.patch(await pathOf(session, what, options.org), { limits }, limitedObject.extend(changedObject.shape))
      session.output.show(answer, () => [...acknowledged(what, answer.change), `limits now: ${described(answer.limits)}`])
    }),
  )

  group
    .command('show')
    .description("limits of an organization's networks and addresses")
    .option(...ORG_OPTION)
    .action((options: { org?: string }, command: Command) =>
      withSession(command, async (session) => {
        const base = `/v1/orgs/${segment(await session.org(options.org))}`
        const [networks, addresses] = await Promise.all([session.api.get(`${base}/networks`, listOf(limitedNetwork)), session.api.get(`${base}/addresses`, listOf(limitedAddress))])
        const rows = [
          ...networks.map(({ name, limits }) => [`network:${name}`, null, described(limits)] as const),
          ...addresses.map(({ address, service, limits }) => [address, service, described(limits)] as const),
        ]
        session.output.show({ networks, addresses }, () => table(['what', 'service', 'limits'], rows))
      }),
    )
}

async function pathOf(session: Session, what: string, org: string | undefined): Promise<string> {
  const base = `/v1/orgs/${segment(await session.org(org))}`
  const [, network] = /^network:(.+)$/.exec(what) ?? []
  return network === undefined ? `${base}/addresses/${segment(what)}` : `${base}/networks/${segment(network)}`
}

function described(limits: Readonly<Record<string, number>> | undefined): string {
  const set = Object.entries(limits ?? {})
  return set.length === 0 ? 'none' : set.map(([member, value]) => `${member} ${value}`).join(', ')
}

/** As commander names it: `--bytes-up <count>` is `bytesUp`. */
export function optionName(flag: string): string {
  return (flag.split(' ')[0] ?? '').slice(2).replaceAll(/-(\w)/g, (_match, letter: string) => letter.toUpperCase())
}

export function amount(text: string): number | typeof NONE {
  if (text === NONE) return NONE
  const [, digits, unit = ''] = /^(\d{1,12}(?:\.\d{1,3})?)([kMG]?)$/.exec(text) ?? []
  const value = Math.round(Number(digits) * (UNITS[unit] ?? Number.NaN))
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('Write a number like 500, 64k, 10M or 1G, or none.')
  return value
}
