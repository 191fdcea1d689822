/** Manual pages, written from the command tree in the macros of man(7). One for nearcast, one for each of its commands. Pure. */
import type { DescribedCommand, DescribedOption } from './commands/command-tree.ts'
import { allCommands } from './commands/command-tree.ts'

export interface ManualPage {
  /** `nearcast-redis.1` */
  readonly file: string
  readonly text: string
}

const ENVIRONMENT: readonly (readonly [string, string])[] = [
  ['NEARCAST_API', 'The router to ask, as a URL.'],
  ['NEARCAST_TOKEN', 'The API token for it.'],
  ['NEARCAST_ORG', 'The organization that commands mean without --org.'],
  ['NEARCAST_CLUSTER', 'A development cluster of this machine, by name.'],
  ['NO_COLOR', 'When set, nothing is coloured.'],
]

const FILES: readonly (readonly [string, string])[] = [
  ['$XDG_CONFIG_HOME/nearcast/context.json', 'The default context, made by nearcast use. It holds no token.'],
  ['/etc/nearcast/router.toml, agent.toml, proxy.toml', 'Configuration of the programs; nearcast.example.toml shows every key.'],
]

export function manualPages(root: DescribedCommand, version: string): ManualPage[] {
  const names = root.commands.map(({ path }) => `nearcast-${path.join('-')}`)
  const global = root.options.filter(({ long }) => long !== '--help')
  const main = [
    title('nearcast', version),
    section('NAME', `nearcast \\- ${lowered(root.about)}`),
    section('SYNOPSIS', '.B nearcast', '.RI [ option ...]', '.I command', '.RI [ argument ...]'),
    section('DESCRIPTION', `${escaped(root.about)}.`, '.PP', 'Each command has a page of its own.'),
    section('COMMANDS', ...root.commands.flatMap(({ path, about }) => entry(`.BR nearcast\\-${escaped(path.join('-'))} (1)`, about))),
    section('OPTIONS', ...global.flatMap(option)),
    section('EXIT STATUS', ...entry('.B 0', 'It was done.'), ...entry('.B 1', 'It failed, and standard error says why: a stable code, a colon, a sentence. With --json standard output holds both, too.')),
    section('ENVIRONMENT', ...ENVIRONMENT.flatMap(([name, about]) => entry(`.B ${escaped(name)}`, about))),
    section('FILES', ...FILES.flatMap(([name, about]) => entry(`.I ${escaped(name)}`, about))),
    section('SEE ALSO', seeAlso(names)),
  ].join('\n')
  return [
    { file: 'nearcast.1', text: `${main}\n` },
    ...root.commands.map((command) => ({ file: `nearcast-${command.path.join('-')}.1`, text: `${page(command, version)}\n` })),
  ]
}

function page(command: DescribedCommand, version: string): string {
  const name = `nearcast-${command.path.join('-')}`
  const runnable = allCommands(command).filter((each) => each.commands.length === 0 || each.operands.length > 0 || each.options.some(({ long }) => long !== '--help'))
  const below = allCommands(command).filter((each) => each !== command)
  const own = command.options.filter(({ long }) => long !== '--help')
  return [
    title(name, version),
    section('NAME', `${escaped(name)} \\- ${lowered(command.about)}`),
    section('SYNOPSIS', ...runnable.flatMap((each, index) => [...(index === 0 ? [] : ['.br']), ...synopsis(each)])),
    section('DESCRIPTION', escaped(sentence(command.about))),
    ...(own.length === 0 ? [] : [section('OPTIONS', ...own.flatMap(option))]),
    ...(below.length === 0 ? [] : [section('COMMANDS', ...below.flatMap(described))]),
    section('SEE ALSO', '.BR nearcast (1)'),
  ].join('\n')
}

function described(command: DescribedCommand): string[] {
  const options = command.options.filter(({ long }) => long !== '--help')
  const words = [...command.path, ...command.operands].join(' ')
  return [`.SS nearcast ${escaped(words)}`, escaped(sentence(command.about)), ...options.flatMap(option)]
}

function synopsis({ path, operands, options }: DescribedCommand): string[] {
  const required = options.filter((each) => each.required).map(({ long, value }) => `${long} ${value ?? ''}`)
  const optional = options.some((each) => !each.required && each.long !== '--help') ? ['[option]...'] : []
  return [`.B nearcast ${escaped(path.join(' '))}`, ...[...required, ...optional, ...operands].map((word) => `.I ${escaped(word)}`)]
}

function option({ long, short, value, about, required }: DescribedOption): string[] {
  const names = short === undefined ? long : `${short}, ${long}`
  const head = value === undefined ? `.B ${escaped(names)}` : `.BI "${escaped(names)} " "${escaped(value)}"`
  return entry(head, required ? `${about} (required)` : about)
}

function entry(head: string, about: string): string[] {
  return ['.TP', head, escaped(ended(about))]
}

function title(name: string, version: string): string {
  // No date: the page is made anew with each version.
  return `.\\" Written from the commands by "npm run man".\n.TH ${escaped(name).toUpperCase().replaceAll('\\-', '-')} 1 "" "Nearcast ${version}" "Nearcast"`
}

function section(name: string, ...lines: readonly string[]): string {
  return [`.SH ${name}`, ...lines].join('\n')
}

function seeAlso(names: readonly string[]): string {
  return names.map((name, index) => `.BR ${escaped(name)} (1)${index === names.length - 1 ? '' : ' ,'}`).join('\n')
}

function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1)
  return ended(first)
}

function ended(text: string): string {
  return /[.!?…)]$/.test(text) ? text : `${text}.`
}

function lowered(text: string): string {
  return escaped(text.charAt(0).toLowerCase() + text.slice(1))
}

/** Nothing in it is a macro or an escape any more. */
function escaped(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('"', '\\(dq')
    .replaceAll('’', '\\(cq')
    .replaceAll('…', '...')
    .replaceAll('→', '\\(->')
    .replace(/^([.'])/, '\\&$1')
    // No wide space as behind the end of a sentence.
    .replace(/\.\.\.$/, '...\\&')
}
