/**
 * The command tree of `nearcast`: options that every command takes, and the groups of commands. Each group adds itself.
 */
import { Command, CommanderError } from 'commander'
import { colours } from '../colours.ts'
import { DEFAULT_CLUSTER } from '../dev/default-cluster.ts'
import type { WithSession } from './session.ts'

interface Group {
  /** What it adds to the top of the tree, hidden ones too. */
  readonly commands: readonly string[]
  readonly add: (program: Command) => Promise<void>
}

const session = async (): Promise<WithSession> => (await import('./session.ts')).withSession

/** In the order in which help lists them. Each is read when it is wanted: a command needs little of what all need together. */
export const GROUPS: readonly Group[] = [
  { commands: ['redis'], add: async (program) => (await import('./redis.ts')).addRedisCommands(program, await session()) },
  { commands: ['use', 'whoami'], add: async (program) => (await import('./context.ts')).addContextCommands(program, await session()) },
  {
    commands: ['orgs', 'networks', 'addresses', 'services', 'audit', 'status', 'explain'],
    async add(program) {
      ;(await import('./registry.ts')).addRegistryCommands(program, await session())
      ;(await import('./address-settings.ts')).addAddressSettings(program, await session())
    },
  },
  { commands: ['grants'], add: async (program) => (await import('./grants.ts')).addGrantCommands(program, await session()) },
  { commands: ['limits'], add: async (program) => (await import('./limits.ts')).addLimitsCommands(program, await session()) },
  { commands: ['wireguard'], add: async (program) => (await import('./wireguard.ts')).addWireguardCommands(program, await session()) },
  { commands: ['fleet', 'nodes', 'proxies', 'tokens'], add: async (program) => (await import('./fleet.ts')).addFleetCommands(program, await session()) },
  { commands: ['dev'], add: async (program) => (await import('./dev.ts')).addDevCommands(program) },
  { commands: ['demo'], add: async (program) => (await import('./demo.ts')).addDemoCommand(program) },
  { commands: ['import', 'export'], add: async (program) => (await import('./transfer.ts')).addTransferCommands(program, await session()) },
  { commands: ['run'], add: async (program) => (await import('./run.ts')).addRunCommand(program) },
  { commands: ['store'], add: async (program) => (await import('./store.ts')).addStoreCommands(program) },
  { commands: ['top'], add: async (program) => (await import('./top.ts')).addTopCommand(program, await session()) },
  { commands: ['latency'], add: async (program) => (await import('./latency.ts')).addLatencyCommand(program, await session()) },
  { commands: ['doctor'], add: async (program) => (await import('./doctor.ts')).addDoctorCommand(program) },
  { commands: ['proxy-protocol'], add: async (program) => (await import('./proxy-protocol.ts')).addProxyProtocolCommand(program) },
]

/** Global options with a value, which is no command. */
const VALUED: ReadonlySet<string> = new Set(['--api', '--token', '--cluster'])

/** `words`: the command line; of the tree there is as much as it needs. Without: the whole tree. */
export async function createProgram(version: string, words: readonly string[] = []): Promise<Command> {
  const program = new Command('nearcast')
    .description('Private IPv6 addresses for multitenant databases; each connection goes to the nearest healthy node')
    .version(version)
    .option('--json', 'one JSON value for programs instead of text')
    .option('--api <url>', 'the router (else NEARCAST_API, else the one of "nearcast use", else the running cluster)')
    .option('--token <token>', 'the API token (else NEARCAST_TOKEN)')
    .option('--cluster <name>', `a cluster on this machine (else NEARCAST_CLUSTER, else "${DEFAULT_CLUSTER}")`)
    .configureHelp({ styleTitle: (title) => colours.bold(title) })
    .exitOverride()
  const first = firstCommand(words)
  const wanted = GROUPS.find(({ commands }) => commands.some((command) => command === first))
  for (const group of wanted === undefined ? GROUPS : [wanted]) await group.add(program)
  if (wanted === undefined) (await import('./completion.ts')).addCompletionCommand(program)
  pointToHelp(program, program.name())
  return program
}

/** null: there is none, or an option before it asks something of the whole tree. */
function firstCommand(words: readonly string[]): string | null {
  for (let index = 0; index < words.length; index++) {
    const word = words[index] ?? ''
    if (VALUED.has(word)) index++
    else if (!word.startsWith('-')) return word
    else if (word !== '--json' && !word.includes('=')) return null
  }
  return null
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
