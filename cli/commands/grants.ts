/** `nearcast grants …`: services of one organization on the networks of another. */
import type { Command } from 'commander'
import { z } from 'zod'
import { anyObject, listOf } from '../api-objects.ts'
import { facts, table } from '../output.ts'
import { acknowledged, removedObject } from './acknowledged.ts'
import type { WithSession } from './session.ts'
import { ORG_OPTION } from './session.ts'
import { segment, whole } from './values.ts'

const grantObject = z.looseObject({
  id: z.string(),
  owner: z.string(),
  service: z.string(),
  grantee: z.string().optional(),
  granteeId: z.string(),
  network: z.number().nullable(),
  maxAddresses: z.number(),
  addresses: z.array(z.string()),
})
type Grant = z.infer<typeof grantObject>

interface CreateOptions {
  readonly org?: string
  readonly service: string
  readonly to: string
  readonly network?: string
  readonly maxAddresses?: number
}

export function addGrantCommands(program: Command, withSession: WithSession): void {
  const grants = program.command('grants').description('let another organization have addresses of a service on its own networks')

  grants
    .command('create')
    .description('give a grant; the grantee then runs "nearcast addresses create --service <owner>/<service>"')
    .option(...ORG_OPTION)
    .requiredOption('--service <service>', 'your service')
    .requiredOption('--to <org>', 'the grantee: its id (operators may give its name)')
    .option('--network <network>', 'the only network of the grantee that it is for: its number')
    .option('--max-addresses <count>', 'so many addresses at the same time (default 8)', whole)
    .action((options: CreateOptions, command: Command) =>
      withSession(command, async (session) => {
        const { org, service, to, network, maxAddresses } = options
        const body = { service, grantee: to, ...(network !== undefined && { network }), ...(maxAddresses !== undefined && { maxAddresses }) }
        const grant = await session.api.post(`/v1/orgs/${segment(await session.org(org))}/grants`, body, grantObject)
        session.output.show(grant, () => [described(grant), '', `The grantee mints an address with: nearcast addresses create --service ${grant.owner}/${grant.service}`])
      }),
    )

  grants
    .command('list')
    .description('grants, given and received')
    .option(...ORG_OPTION)
    .action((options: { org?: string }, command: Command) =>
      withSession(command, async (session) => {
        const given = await session.api.get(`/v1/orgs/${segment(await session.org(options.org))}/grants`, listOf(grantObject))
        session.output.show(given, () =>
          table(
            ['id', 'service', 'to', 'network', 'addresses'],
            given.map((grant) => [grant.id, `${grant.owner}/${grant.service}`, grant.grantee ?? grant.granteeId, grant.network ?? 'any', grant.addresses.join(', ') || '-']),
          ),
        )
      }),
    )

  grants
    .command('revoke <id>')
    .description('end a grant, from either side: its addresses are revoked everywhere and never given out again')
    .option(...ORG_OPTION)
    .action((id: string, options: { org?: string }, command: Command) =>
      withSession(command, async (session) => {
        const answer = removedObject.and(anyObject).parse(await session.api.delete(`/v1/orgs/${segment(await session.org(options.org))}/grants/${segment(id)}`))
        session.output.show(answer, () => (answer.revocation === undefined ? `${id}: revoked.` : acknowledged(`${id}: revoked`, answer.revocation)))
      }),
    )
}

function described({ id, owner, service, grantee, granteeId, network, maxAddresses }: Grant): string {
  return facts([
    ['grant', id],
    ['service', `${owner}/${service}`],
    ['to', grantee === undefined ? granteeId : `${grantee} (${granteeId})`],
    ['network', network ?? 'any'],
    ['at most', `${maxAddresses} addresses`],
  ])
}
