/** `nearcast completion bash|zsh|fish`: prints a script for the shell to load. */
import { Argument } from 'commander'
import type { Command } from 'commander'
import { describeCommand } from './command-tree.ts'
import type { Shell } from '../completion.ts'
import { completionScript, SHELLS } from '../completion.ts'

export function addCompletionCommand(program: Command): void {
  program
    .command('completion')
    .description('print a completion script; load it with: source <(nearcast completion bash)')
    .addArgument(new Argument('<shell>', 'your shell').choices(SHELLS))
    .action((shell: Shell) => void process.stdout.write(completionScript(shell, describeCommand(program))))
}
