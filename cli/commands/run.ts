/**
 * `nearcast run proxy|router|agent|gateway|backbone`: starts one program. This process becomes it where the runtime can do that, so that a
 * service manager sees one process and its signals reach it; elsewhere it runs as a child. The command line imports no program.
 */
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { Argument } from 'commander'
import type { Command } from 'commander'
import { programFile } from '../dev/program-file.ts'

const PROGRAMS = ['proxy', 'router', 'agent', 'gateway', 'backbone'] as const
/** Two are rooms of the router's house. */
const IN_ROUTER: readonly string[] = ['gateway', 'backbone']

export function addRunCommand(program: Command): void {
  program
    .command('run')
    .description('run a program in the foreground: a proxy, a router, an agent, a gateway or a backbone')
    .addArgument(new Argument('<program>', 'which').choices(PROGRAMS))
    .option('--config <file>', 'its configuration (default: the environment alone)')
    .action(async (name: (typeof PROGRAMS)[number], options: { config?: string }) => {
      const args = [programFile(IN_ROUTER.includes(name) ? `router/${name}/main` : `${name}/main`), ...(options.config === undefined ? [] : ['--config', options.config])]
      // Absent on Windows and in older runtimes.
      if (typeof process.execve === 'function') process.execve(process.execPath, [process.execPath, ...args], process.env)
      process.exitCode = await runAsChild(args)
    })
}

function runAsChild(args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: 'inherit' })
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal))
    child.on('error', reject)
    child.on('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal ?? 'SIGTERM']))
  })
}
