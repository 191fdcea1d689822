/** The options that every command takes, and the cluster that they mean. */
import type { Command } from 'commander'
import { loadContext } from '../context.ts'
import { DEFAULT_CLUSTER } from '../dev/default-cluster.ts'

export interface GlobalOptions {
  readonly json?: boolean
  readonly api?: string
  readonly token?: string
  readonly cluster?: string
}

export function clusterName(command: Command): string {
  return command.optsWithGlobals<GlobalOptions>().cluster ?? process.env['NEARCAST_CLUSTER'] ?? loadContext().cluster ?? DEFAULT_CLUSTER
}
