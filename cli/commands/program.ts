/**
 * The command tree of `nearcast`: options that every command takes, and the groups of commands. Each group adds itself.
 */
import { Command, CommanderError } from 'commander'
import { colours } from '../output.ts'
import { addCompletionCommand } from './completion.ts'
import { addContextCommands } from './context.ts'
import { addDemoCommand } from './demo.ts'
import { addDevCommands } from './dev.ts'
import { addDoctorCommand } from './doctor.ts'
import { addFleetCommands } from './fleet.ts'
import { addGrantCommands } from './grants.ts'
import { addLatencyCommand } from './latency.ts'
import { addLimitsCommands } from './limits.ts'
import { addProxyProtocolCommand } from './proxy-protocol.ts'
import { addRedisCommands } from './redis.ts'
import { addRegistryCommands } from './registry.ts'
import { addAddressSettings } from './address-settings.ts'
import { DEFAULT_CLUSTER } from '../dev/control-protocol.ts'
import { withSession } from './session.ts'
import { addRunCommand } from './run.ts'
import { addStoreCommands } from './store.ts'
import { addTopCommand } from './top.ts'
import { addTransferCommands } from './transfer.ts'
import { addWireguardCommands } from './wireguard.ts'

export type { WithSession } from './session.ts'

export function createProgram(version: string): Command {
  const program = new Command('nearcast')
    .description('Private IPv6 addresses for multitenant databases; each connection goes to the nearest healthy node')
    .version(version)
    .option('--json', 'one JSON value for programs instead of text')
    .option('--api <url>', 'the router (else NEARCAST_API, else the one of "nearcast use", else the running cluster)')
    .option('--token <token>', 'the API token (else NEARCAST_TOKEN)')
    .option('--cluster <name>', `a cluster on this machine (else NEARCAST_CLUSTER, else "${DEFAULT_CLUSTER}")`)
    .configureHelp({ styleTitle: (title) => colours.bold(title) })
    .exitOverride()
  addRedisCommands(program, withSession)
  addContextCommands(program, withSession)
  addRegistryCommands(program, withSession)
  addGrantCommands(program, withSession)
  addLimitsCommands(program, withSession)
  addWireguardCommands(program, withSession)
  addFleetCommands(program, withSession)
  addAddressSettings(program, withSession)
  addDevCommands(program)
  addDemoCommand(program)
  addTransferCommands(program, withSession)
  addRunCommand(program)
  addStoreCommands(program)
  addTopCommand(program, withSession)
  addLatencyCommand(program, withSession)
  addDoctorCommand(program)
  addProxyProtocolCommand(program)
  addCompletionCommand(program)
  pointToHelp(program, program.name())
  return program
}

export interface Ending {
  readonly exitCode: number
  readonly message: string
}

/** Of a command line that wasn't run, because it asked for help or the version, or is mistaken; null: another error. */
export function endingOf(error: unknown): Ending | null {
  if (!(error instanceof CommanderError)) return null
  const { code, exitCode, message } = error
  const said = code === 'commander.help' ? 'The command has parts, and none was given; --help lists them.' : message.replace(/^error: /, '').replaceAll('\n', ' ')
  return { exitCode, message: said }
}

/** Whoever misspells is told where that very command is explained. */
function pointToHelp(command: Command, path: string): void {
  command.showHelpAfterError(`(${path} --help says more)`)
  for (const each of command.commands) pointToHelp(each, `${path} ${each.name()}`)
}
