/**
 * Completion scripts for bash, zsh and fish, written from the command tree. They are static: pressing Tab starts nothing.
 * Each walks the words up to the cursor to find the command (values of options don't count), then offers its commands and
 * options, and the options that every command takes. Pure.
 */
import type { DescribedCommand, DescribedOption } from './commands/command-tree.ts'
import { allCommands } from './commands/command-tree.ts'

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

interface Place {
  /** `redis create` */
  readonly at: string
  readonly commands: readonly DescribedCommand[]
  readonly options: readonly DescribedOption[]
}

export function completionScript(shell: Shell, root: DescribedCommand): string {
  const everywhere = root.options.filter(({ long }) => long !== '--version')
  const places = allCommands(root).map((command): Place => {
    const own = command === root ? root.options : [...command.options, ...everywhere]
    return { at: command.path.join(' '), commands: command.commands, options: [...new Map(own.map((option) => [option.long, option])).values()] }
  })
  const valued = [...new Set(places.flatMap(({ options }) => options.filter(({ value }) => value !== undefined).flatMap(({ long, short }) => (short === undefined ? [long] : [long, short]))))]
  return { bash, zsh, fish }[shell](places, valued)
}

/** Letters, digits, blanks and dashes: safe between any quotes. */
function known(places: readonly Place[]): string {
  return places.flatMap(({ at }) => (at === '' ? [] : [`'${at}'`])).join('|')
}

function bash(places: readonly Place[], valued: readonly string[]): string {
  const offers = places.map(({ at, commands, options }) => {
    const words = [...commands.map(({ path }) => path.at(-1)), ...options.map(({ long }) => long)]
    return `    '${at}') words='${words.join(' ')}' ;;`
  })
  return `# Completion of nearcast for bash. Load it with: source <(nearcast completion bash)
_nearcast() {
  local at='' word words='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    case $word in
    --) return ;;
    ${valued.join('|')}) ((i++)) ;;
    -*) ;;
    *) case "\${at:+$at }$word" in ${known(places)}) at="\${at:+$at }$word" ;; esac ;;
    esac
  done
  case \${COMP_WORDS[COMP_CWORD - 1]} in ${valued.join('|')}) return ;; esac
  case $at in
${offers.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _nearcast nearcast
`
}

function zsh(places: readonly Place[], valued: readonly string[]): string {
  const offers = places.map(({ at, commands, options }) => {
    const entries = [...commands.map(({ path, about }) => entry(path.at(-1) ?? '', about)), ...options.map(({ long, about }) => entry(long, about))]
    return `    '${at}') offers=(${entries.join(' ')}) ;;`
  })
  return `#compdef nearcast
# Completion of nearcast for zsh. Load it with: source <(nearcast completion zsh)
_nearcast() {
  local at='' word i
  local -a offers
  for ((i = 2; i < CURRENT; i++)); do
    word=\${words[i]}
    case $word in
    --) _files; return ;;
    ${valued.join('|')}) ((i++)) ;;
    -*) ;;
    *) case "\${at:+$at }$word" in ${known(places)}) at="\${at:+$at }$word" ;; esac ;;
    esac
  done
  case \${words[CURRENT-1]} in ${valued.join('|')}) _files; return ;; esac
  case $at in
${offers.join('\n')}
  esac
  _describe nearcast offers || _files
}
if [ "$funcstack[1]" = _nearcast ]; then _nearcast "$@"; else compdef _nearcast nearcast; fi
`
}

function fish(places: readonly Place[], valued: readonly string[]): string {
  const offers = places.flatMap(({ at, commands, options }) => {
    const line = `complete -c nearcast -n "__nearcast_at '${at}'"`
    return [
      ...commands.map(({ path, about }) => `${line} -f -a ${path.at(-1)} -d '${fishQuoted(about)}'`),
      ...options.map(({ long, short, value, about }) =>
        `${line} -l ${long.slice(2)}${short === undefined ? '' : ` -s ${short.slice(1)}`}${value === undefined ? '' : ' -r'} -d '${fishQuoted(about)}'`,
      ),
    ]
  })
  return `# Completion of nearcast for fish. Load it with: nearcast completion fish | source
function __nearcast_at
  set -l at ''
  set -l skip 0
  for word in (commandline -opc)[2..-1]
    if test $skip = 1
      set skip 0
      continue
    end
    switch $word
      case --
        return 1
      case ${valued.join(' ')}
        set skip 1
      case '-*'
      case '*'
        set -l next (string trim "$at $word")
        switch $next
          case ${known(places).replaceAll('|', ' ')}
            set at $next
        end
    end
  end
  test "$at" = "$argv[1]"
end
${offers.join('\n')}
`
}

function entry(name: string, about: string): string {
  return `'${name}:${quoted(about.replaceAll(':', '\\:'))}'`
}

/** Between single quotes of sh and zsh. */
function quoted(text: string): string {
  return text.replaceAll("'", `'\\''`)
}

function fishQuoted(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")
}
