/** `nearcast use` and `nearcast whoami`: the default context, and who the API thinks that we are. */
import type { Command } from 'commander'
import { orgObject, listOf, tokenObject } from '../api-objects.ts'
import { clearContext, contextFile, loadContext, saveContext } from '../context.ts'
import type { Context } from '../context.ts'
import { colours } from '../colours.ts'
import { createOutput, facts } from '../output.ts'
import { clusterName } from './global-options.ts'
import type { GlobalOptions } from './global-options.ts'
import type { WithSession } from './session.ts'
import { segment } from './values.ts'

export function addContextCommands(program: Command, withSession: WithSession): void {
  program
    .command('use [org]')
    .description('choose the organization that commands mean without --org; with --api or --cluster also which API')
    .option('--clear', 'forget the choice')
    .action(async (org: string | undefined, options: { clear?: true }, command: Command) => {
      const global = command.optsWithGlobals<GlobalOptions>()
      if (options.clear === true) {
        clearContext()
        createOutput(global.json === true).show({}, () => 'No default context any more.')
        return
      }
      await withSession(command, async ({ api, output, prompter, url: asked }) => {
        const wanted = org ?? (await prompter.choose('Select organization:', 'an organization: nearcast use <org>', prompter.interactive ? (await api.get('/v1/orgs', listOf(orgObject))).map(({ name, id }) => ({ value: name, hint: id })) : []))
        const { name } = await api.get(`/v1/orgs/${segment(wanted)}`, orgObject)
        const { api: url, cluster } = { ...loadContext(), ...chosen(global) }
        const context: Context = { org: name, ...(url !== undefined && { api: url }), ...(cluster !== undefined && { cluster }) }
        saveContext(context)
        output.show(context, () => [`Commands now mean ${colours.bold(name)}.`, colours.dim(`Asked ${asked}. Undo with "nearcast use --clear".`)])
      })
    })

  program
    .command('whoami')
    .description('the API, the token and the default context in use')
    .action((_options: object, command: Command) =>
      withSession(command, async ({ api, output, url }) => {
        const token = await api.get('/v1/whoami', tokenObject)
        const context = loadContext()
        const { token: access, api: named } = command.optsWithGlobals<GlobalOptions>()
        const cluster = named ?? access ?? process.env['NEARCAST_API'] ?? context.api ? {} : { cluster: clusterName(command) }
        output.show({ api: url, ...cluster, token, context }, () =>
          facts([
            ['API', url],
            ['token', `${token.name ?? token.id} (${token.id})`],
            ['role', token.role],
            ['may', token.scopes?.join(', ')],
            ['until', token.expiresAt ?? 'it is revoked'],
            ['organization', process.env['NEARCAST_ORG'] ?? context.org],
            ['context', Object.keys(context).length === 0 ? 'none' : contextFile()],
          ]),
        )
      }),
    )
}

/** An API named now takes the place of a cluster chosen earlier, and the other way round. */
function chosen({ api, cluster }: GlobalOptions): { api?: string | undefined; cluster?: string | undefined } {
  if (api !== undefined) return { api, cluster: undefined }
  return cluster === undefined ? {} : { api: undefined, cluster }
}
