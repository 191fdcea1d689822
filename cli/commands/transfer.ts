/** `nearcast import haproxy` and `nearcast export haproxy`: moving in, and moving out. Neither changes anything by itself. */
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { NearcastError } from '../../lib/errors.ts'
import { listOf, networkObject } from '../api-objects.ts'
import type { Imported } from '../haproxy/translate.ts'
import { colours } from '../colours.ts'
import { createOutput, table } from '../output.ts'
import type { GlobalOptions } from './global-options.ts'
import type { WithSession } from './session.ts'
import { ORG_OPTION } from './session.ts'
import { segment } from './values.ts'

interface ImportOptions {
  readonly org?: string
  readonly region?: string
}

export function addTransferCommands(program: Command, withSession: WithSession): void {
  program
    .command('import')
    .description("another program's configuration, as commands of ours")
    .command('haproxy <file>')
    .description('print nodes and services for what an HAProxy configuration does, and every line that has no counterpart')
    .option('--org <org>', 'the organization in the printed commands')
    .option('--region <region>', 'the region of the nodes in the printed commands')
    .action(async (file: string, options: ImportOptions, command: Command) => {
      const [{ parseHaproxy }, { translateHaproxy }] = await Promise.all([import('../haproxy/parse.ts'), import('../haproxy/translate.ts')])
      const imported = translateHaproxy(parseHaproxy(read(file)))
      createOutput(command.optsWithGlobals<GlobalOptions>().json === true).show(imported, () => shown(imported, options))
    })

  program
    .command('export')
    .description('what Nearcast does, as the configuration of another program')
    .command('haproxy')
    .description('print an HAProxy configuration that does the same for the services of an organization (operators)')
    .option(...ORG_OPTION)
    .action((options: { org?: string }, command: Command) =>
      withSession(command, async ({ api, output, org: find }) => {
        const { exportedAddress, exportedNode, exportedService, formatHaproxy } = await import('../haproxy/format.ts')
        const org = await find(options.org)
        const path = `/v1/orgs/${segment(org)}`
        const [services, addresses, networks, nodes] = await Promise.all([
          api.get(`${path}/services`, listOf(exportedService)),
          api.get(`${path}/addresses`, listOf(exportedAddress)),
          api.get(`${path}/networks`, listOf(networkObject)),
          api.get('/v1/nodes', listOf(exportedNode)),
        ])
        const configuration = formatHaproxy({ org, services, addresses, networks, nodes })
        output.show({ configuration }, () => configuration)
      }),
    )
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new NearcastError('cli.usage', `Can't read ${file}; name an HAProxy configuration.`, { side: 'client', cause })
  }
}

function shown({ nodes, agents, services, untranslated }: Imported, { org = '<org>', region = '<region>' }: ImportOptions): string[] {
  const commands = [
    ...nodes.map(({ id, endpoint, hop }) => `nearcast fleet nodes create --id ${id} --region ${region} --endpoint '${endpoint}' --hop ${hop}`),
    ...services.map(
      ({ name, kind, port, nodes: placed, backend }) =>
        `nearcast services create --org ${org} --name ${name} --port ${port} --nodes ${placed.join(',')}${kind === 'tcp' ? '' : ` --kind ${kind}`}${backend === undefined ? '' : ` --backend ${backend}`}`,
    ),
  ]
  return [
    ...agents.map(({ id, host }) => colours.dim(`# ${id}: needs an agent on ${host}, with that id`)),
    ...commands,
    '',
    untranslated.length === 0 ? colours.green('Every line is translated.') : colours.bold(`Without a counterpart (${untranslated.length}):`),
    ...(untranslated.length === 0 ? [] : [table(['line', 'what', 'because'], untranslated.map(({ line, text, reason }) => [line, text, reason]))]),
  ]
}
