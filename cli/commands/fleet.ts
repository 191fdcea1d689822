/**
 * `nearcast fleet …`: what operators do with the programs and tokens of an installation. Nodes, proxies and tokens had
 * commands of their own once; those still work and aren't listed any more.
 */
import type { Command } from 'commander'
import { Option } from 'commander'
import { JOINING_KINDS } from '../../lib/identity.ts'
import { anyObject, joinToken, rekeyed } from '../api-objects.ts'
import { acknowledged, changedObject } from './acknowledged.ts'
import type { Collection } from './registry.ts'
import { addCollection } from './registry.ts'
import type { WithSession } from './session.ts'
import { list, segment } from './values.ts'

const COLLECTIONS: readonly Collection[] = [
  {
    name: 'nodes',
    about: 'data nodes: agents that joined, and foreign servers that read PROXY headers',
    path: '/v1/nodes',
    columns: ['id', 'region', 'host', 'hop', 'endpoint', 'connected', 'draining'],
    creates: [
      ['--id <id>', 'its id', 'id'],
      ['--region <region>', 'where it is', 'region'],
      ['--endpoint <host:port>', 'where it listens; IPv6 in brackets', 'endpoint'],
      ['--hop <hop>', 'v1 or v2: the PROXY header that it reads', 'hop'],
    ],
    removes: 'revoke',
  },
  { name: 'proxies', about: 'proxies that joined', path: '/v1/proxies', columns: ['id', 'region', 'host', 'connected'], removes: 'revoke' },
  { name: 'gateways', about: 'gateways that joined', path: '/v1/gateways', columns: ['id', 'region', 'publicKey', 'endpoints', 'websocket', 'connected'], removes: 'revoke' },
  {
    name: 'backbone',
    about: 'hosts whose traffic among each other goes through WireGuard',
    path: '/v1/backbone',
    columns: ['id', 'region', 'host', 'addresses', 'connected', 'implementation', 'reaches', 'rekey'],
    removes: 'revoke',
  },
  {
    name: 'tokens',
    about: 'API tokens; only their hashes are kept',
    path: '/v1/tokens',
    columns: ['id', 'name', 'role', 'org', 'scopes', 'expiresAt', 'createdAt'],
    creates: [
      ['--name <name>', 'what it is for', 'name'],
      ['--role <role>', 'operator or member', 'role'],
      ['--org <org>', 'the organization of a member', 'org'],
      ['--scopes <scopes>', 'read: look at everything but credentials; read,write: everything (default)', 'scopes', list],
      ['--expires-at <time>', 'when it ends: 2030-01-31T00:00:00Z (default: never)', 'expiresAt'],
    ],
    removes: 'revoke',
  },
]

/** Never had a command of their own. */
const LATER: ReadonlySet<string> = new Set(['gateways', 'backbone'])

export function addFleetCommands(program: Command, withSession: WithSession): void {
  const fleet = program.command('fleet').description('for operators: nodes, proxies, gateways, the backbone, tokens, join tokens, hop keys')
  for (const collection of COLLECTIONS) {
    addCollection(fleet, collection, withSession)
    if (!LATER.has(collection.name)) addCollection(program, collection, withSession, true)
  }
  for (const parent of [fleet, program]) addDraining(parent, withSession)
  addRekey(fleet, withSession)

  fleet
    .command('join-tokens')
    .description('single-use tokens for programs to join with')
    .command('create')
    .description('make one; it ends after an hour')
    .addOption(new Option('--kind <kind>', 'what joins').choices(JOINING_KINDS).makeOptionMandatory())
    .requiredOption('--id <id>', 'its id, unique among its kind')
    .requiredOption('--region <region>', 'where it is')
    .requiredOption('--host <host>', 'the machine that it runs on')
    .action((options: { kind: string; id: string; region: string; host: string }, command: Command) =>
      withSession(command, async ({ api, output }) => {
        const { kind, id, region, host } = options
        const made = await api.post('/v1/join-tokens', { kind, id, region, host }, joinToken)
        output.show(made, () => made.token)
      }),
    )

  fleet
    .command('hop-keys')
    .description('the keys that proxies sign with')
    .command('rotate')
    .description('give every program new keys; the old ones count until all have the new ones')
    .action((_options: object, command: Command) =>
      withSession(command, async ({ api, output }) => {
        const rotation = await api.post('/v1/hop-keys/rotate', {}, anyObject)
        output.show(rotation, () => 'The rotation has begun; "nearcast status" says when every program has acknowledged.')
      }),
    )
}

function addRekey(fleet: Command, withSession: WithSession): void {
  fleet.commands
    .find((command) => command.name() === 'backbone')
    ?.command('rekey <id>')
    .description('give a host a new key; the old one counts until every host has acknowledged the new one')
    .action((id: string, _options: object, command: Command) =>
      withSession(command, async ({ api, output }) => {
        const answer = await api.post(`/v1/backbone/${segment(id)}/rekey`, {}, rekeyed)
        const { hosts, missing } = answer.change
        const waits = missing.length === 0 ? '' : `; it waits for ${missing.join(', ')}`
        output.show(answer, () => `${id}: ${hosts.length} hosts accept its next key ${answer.publicKey}${waits}.`)
      }),
    )
}

function addDraining(parent: Command, withSession: WithSession): void {
  const nodes = parent.commands.find((command) => command.name() === 'nodes')
  for (const [verb, draining, about] of [
    ['drain', true, 'new connections go there only when no other node is left; live ones by the policy of their service'],
    ['undrain', false, 'new connections go there again'],
  ] as const) {
    nodes
      ?.command(`${verb} <id>`)
      .description(about)
      .action((id: string, _options: object, command: Command) =>
        withSession(command, async ({ api, output }) => {
          const answer = await api.patch(`/v1/nodes/${segment(id)}`, { draining }, changedObject)
          output.show(answer, () => acknowledged(`${id}: ${draining ? 'draining' : 'not draining'}`, answer.change))
        }),
      )
  }
}
