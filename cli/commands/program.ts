/**
 * The command tree of `nearcast`: options that every command takes, and the groups of commands. Each group adds itself.
 */
import { Command } from 'commander'
import { colours } from '../output.ts'
import { askCluster, clusterInfo } from '../dev/control-client.ts'
import { DEFAULT_CLUSTER } from '../dev/control-protocol.ts'
import { addDemoCommand } from './demo.ts'
import { addDevCommands } from './dev.ts'
import { addRedisCommands } from './redis.ts'
import { addRegistryCommands } from './registry.ts'
import type { GlobalOptions, Session } from './session.ts'
import { openSession } from './session.ts'
import { addStoreCommands } from './store.ts'

/** Runs a command's work with the API that its options, the environment or a running cluster name. */
export type WithSession = (command: Command, work: (session: Session) => Promise<void>) => Promise<void>


export function clusterName(command: Command): string {
  return command.optsWithGlobals<GlobalOptions>().cluster ?? process.env['NEARCAST_CLUSTER'] ?? DEFAULT_CLUSTER
}

const withSession: WithSession = async (command, work) => {
  const cluster = async (): Promise<{ url: string; token: string }> => {
    const info = await askCluster(clusterName(command), { operation: 'info' }, clusterInfo)
    return { url: info.api, token: info.token }
  }
  await work(await openSession(command.optsWithGlobals<GlobalOptions>(), cluster))
}

export function createProgram(version: string): Command {
  const program = new Command('nearcast')
    .description('Private IPv6 addresses for multitenant databases; each connection goes to the nearest healthy node')
    .version(version)
    .option('--json', 'one JSON value for programs instead of text')
    .option('--api <url>', 'the router (else NEARCAST_API, else the running cluster)')
    .option('--token <token>', 'the API token (else NEARCAST_TOKEN)')
    .option('--cluster <name>', `a cluster on this machine (else NEARCAST_CLUSTER, else "${DEFAULT_CLUSTER}")`)
    .configureHelp({ styleTitle: (title) => colours.bold(title) })
    .showHelpAfterError('(nearcast --help lists the commands)')
  addRedisCommands(program, withSession)
  addRegistryCommands(program, withSession)
  addDevCommands(program)
  addDemoCommand(program)
  addStoreCommands(program)
  return program
}
