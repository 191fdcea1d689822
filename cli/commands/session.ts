/**
 * What every command gets: the API to ask, how to show answers, and the options that stand before the command.
 * The API is named by NEARCAST_API and NEARCAST_TOKEN (or their options), else found in the running development cluster.
 */
import { NearcastError } from '../../lib/errors.ts'
import { ApiClient } from '../api-client.ts'
import type { ApiAccess } from '../api-client.ts'
import type { Output } from '../output.ts'
import { createOutput } from '../output.ts'

export interface GlobalOptions {
  readonly json?: boolean
  readonly api?: string
  readonly token?: string
  readonly cluster?: string
}

export interface Session {
  readonly output: Output
  readonly api: ApiClient
}

/** The API of the running development cluster. @throws NearcastError dev.not-running */
export type FindCluster = () => Promise<ApiAccess>

/** @throws NearcastError dev.not-running, config.missing */
export async function openSession(options: GlobalOptions, findCluster: FindCluster): Promise<Session> {
  return { output: createOutput(options.json === true), api: new ApiClient(await place(options, findCluster)) }
}

async function place(options: GlobalOptions, findCluster: FindCluster): Promise<ApiAccess> {
  const api = options.api ?? process.env['NEARCAST_API']
  const token = options.token ?? process.env['NEARCAST_TOKEN']
  if (api !== undefined) {
    if (token === undefined) throw new NearcastError('config.missing', 'NEARCAST_API is set but no token; set NEARCAST_TOKEN, too.', { side: 'client' })
    return { url: api, token }
  }
  return findCluster()
}
