/**
 * The commands as data: what completions and manual pages are made of. The only reader of the argument package's insides.
 */
import type { Command } from 'commander'

export interface DescribedOption {
  /** `--org` */
  readonly long: string
  readonly short: string | undefined
  /** `<org>`; undefined for a switch. */
  readonly value: string | undefined
  readonly about: string
  readonly required: boolean
}

export interface DescribedCommand {
  /** `['redis', 'create']`; empty for nearcast itself. */
  readonly path: readonly string[]
  readonly about: string
  /** `<name>`, `[target]` */
  readonly operands: readonly string[]
  readonly options: readonly DescribedOption[]
  readonly commands: readonly DescribedCommand[]
}

export function describeCommand(command: Command, path: readonly string[] = []): DescribedCommand {
  const help = command.createHelp()
  return {
    path,
    about: command.description(),
    operands: command.registeredArguments.map((operand) => {
      const name = operand.variadic ? `${operand.name()}...` : operand.name()
      return operand.required ? `<${name}>` : `[${name}]`
    }),
    options: help.visibleOptions(command).map((option) => ({
      long: option.long ?? '',
      short: option.short,
      value: /[<[].*$/.exec(option.flags)?.[0],
      about: option.description,
      required: option.mandatory,
    })),
    commands: help
      .visibleCommands(command)
      .filter((each) => each.name() !== 'help')
      .map((each) => describeCommand(each, [...path, each.name()])),
  }
}

/** The command and everything below it. */
export function allCommands(command: DescribedCommand): DescribedCommand[] {
  return [command, ...command.commands.flatMap(allCommands)]
}
