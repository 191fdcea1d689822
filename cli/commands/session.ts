/**
 * What every command gets: the API to ask, whom it is about, how to show answers and how to ask back.
 *
 * The API, first that says so: options, environment (NEARCAST_API and NEARCAST_TOKEN, or NEARCAST_CLUSTER), the default
 * context (`nearcast use`), the running development cluster. The organization: --org, NEARCAST_ORG, the default context.
 */
import type { Command } from 'commander'
import { NearcastError } from '../../lib/errors.ts'
import { ApiClient } from '../api-client.ts'
import type { ApiAccess } from '../api-client.ts'
import { listOf, orgObject } from '../api-objects.ts'
import { loadContext } from '../context.ts'
import type { Output } from '../output.ts'
import { createOutput } from '../output.ts'
import type { Prompter } from '../prompt.ts'
import { createPrompter } from '../prompt.ts'
import { clusterName } from './global-options.ts'
import type { GlobalOptions } from './global-options.ts'

export interface Session {
  readonly output: Output
  readonly api: ApiClient
  readonly url: string
  readonly prompter: Prompter
  /** `given`: the option. Asks when nothing says which. @throws NearcastError cli.usage */
  readonly org: (given: string | undefined) => Promise<string>
}

/** Runs a command's work with the API that its options, the environment, the context or a running cluster name. */
export type WithSession = (command: Command, work: (session: Session) => Promise<void>) => Promise<void>

export const ORG_OPTION = ['--org <org>', 'organization, by name or id (else NEARCAST_ORG, else the one of "nearcast use")'] as const

export const withSession: WithSession = async (command, work) => {
  const options = command.optsWithGlobals<GlobalOptions>()
  const output = createOutput(options.json === true)
  const prompter = createPrompter(options.json === true)
  const access = await findApi(command, options)
  const api = new ApiClient(access)
  const org = async (given: string | undefined): Promise<string> => {
    const known = given ?? process.env['NEARCAST_ORG'] ?? loadContext().org
    if (known !== undefined) return known
    const orgs = prompter.interactive ? await api.get('/v1/orgs', listOf(orgObject)) : []
    return prompter.choose('Select organization:', '--org <org>, or choose one for good with "nearcast use <org>"', orgs.map(({ name, id }) => ({ value: name, hint: id })))
  }
  await work({ output, api, url: access.url, prompter, org })
}

/** @throws NearcastError dev.not-running, config.missing, cli.usage */
async function findApi(command: Command, options: GlobalOptions): Promise<ApiAccess> {
  const named = options.api ?? process.env['NEARCAST_API']
  const ofCluster = options.cluster ?? process.env['NEARCAST_CLUSTER']
  const url = named ?? (ofCluster === undefined ? loadContext().api : undefined)
  if (url !== undefined) {
    if (!/^https?:$/.test(URL.parse(url)?.protocol ?? '')) throw new NearcastError('cli.usage', `"${url}" is no URL of an API; write http://host:port or https://host:port.`, { side: 'client' })
    const token = options.token ?? process.env['NEARCAST_TOKEN']
    if (token !== undefined) return { url, token }
    throw new NearcastError('config.missing', `A token for ${url} is missing; set NEARCAST_TOKEN.`, { side: 'client' })
  }
  const [{ askCluster, clusterInfo }, { isHeld }] = await Promise.all([import('../dev/control-client.ts'), import('../dev/kept-program.ts')])
  const info = await askCluster(clusterName(command), { operation: 'info' }, clusterInfo)
  if (isHeld(info.router)) {
    throw new NearcastError('api.unreachable', `The router of the cluster "${info.cluster}" is ${info.router}; "nearcast dev restore" starts what was stopped.`)
  }
  return { url: info.api, token: info.token }
}
