/**
 * `nearcast store backup|restore|verify`: the registry's store on a router's own host. The work is the router's, which
 * runs as a process of its own: the command line imports no program.
 */
import { spawn } from 'node:child_process'
import type { Command } from 'commander'
import { programFile } from '../dev/program-file.ts'

const COMMANDS = [
  ['backup <file>', 'write a consistent copy of the store while the router runs'],
  ['restore <file>', 'put a copy in place of the store of a stopped router; no id handed out since is given again'],
  ['verify', 'check the store: integrity, counters, credentials'],
] as const

export function addStoreCommands(program: Command): void {
  const store = program.command('store').description("the registry's store: backup, restore, verify (on the router's host)")
  for (const [usage, about] of COMMANDS) {
    store
      .command(usage)
      .description(about)
      .requiredOption('--config <file>', "the router's configuration")
      .action(async (...given: unknown[]) => {
        const command = given.at(-1) as Command
        const { config } = command.opts<{ config: string }>()
        process.exitCode = await runRouter(['store', command.name(), ...command.args, '--config', config])
      })
  }
}

function runRouter(args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [programFile('router/main'), ...args], { stdio: 'inherit' })
    child.on('error', reject)
    child.on('exit', (code) => resolve(code ?? 1))
  })
}
