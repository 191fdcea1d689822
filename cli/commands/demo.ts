/** `nearcast demo`: the story, step by step, against a cluster of its own. */
import type { Command } from 'commander'
import type { GlobalOptions } from './session.ts'
import { list } from './values.ts'

export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .description('start a cluster, show what Nearcast does with real output, end the cluster')
    .option('--only <steps>', 'some of the steps: create,explain', list)
    .action(async (options: { only?: readonly string[] }, command: Command) => {
      const entry = process.argv[1] ?? ''
      const { demo } = await import('../demo/demo.ts')
      const ok = await demo({ json: command.optsWithGlobals<GlobalOptions>().json === true, entry, ...(options.only && { only: options.only }) })
      process.exitCode = ok ? 0 : 1
    })
}
