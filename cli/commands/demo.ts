/** `nearcast demo`: the story, step by step, against a cluster of its own. */
import type { Command } from 'commander'
import { NearcastError } from '../../lib/errors.ts'
import type { WantedPlane } from '../../lib/plane/wanted.ts'
import type { GlobalOptions } from './global-options.ts'
import { list, planeOption, whole } from './values.ts'

interface DemoOptions {
  readonly only?: readonly string[]
  readonly plane?: WantedPlane
  readonly scale?: number
  readonly open: number
  readonly churn: number
}

export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .description('start a cluster, show what Nearcast does with real output, end the cluster')
    .addOption(planeOption())
    .option('--only <steps>', 'some of the steps: create,explain', list)
    .option('--scale <databases>', 'instead: so many databases on one router, dialled in waves; takes minutes', whole)
    .option('--open <count>', 'with --scale: connections open at once', whole, 2000)
    .option('--churn <count>', 'with --scale: connections over time between one proxy and one agent', whole, 30_500)
    .action(async (options: DemoOptions, command: Command) => {
      const json = command.optsWithGlobals<GlobalOptions>().json === true
      process.exitCode = (await run(options, json, process.argv[1] ?? '')) ? 0 : 1
    })
}

async function run({ scale: databases, open, churn, only, plane }: DemoOptions, json: boolean, entry: string): Promise<boolean> {
  if (databases === undefined) {
    const { demo } = await import('../demo/demo.ts')
    return demo({ json, entry, ...(only && { only }), ...(plane && { plane }) })
  }
  const [{ scale }, { MAX_DATABASES }] = await Promise.all([import('../demo/scale/scale.ts'), import('../demo/scale/plan.ts')])
  if (databases < 3 || databases > MAX_DATABASES || open < 1 || churn < 1) {
    throw new NearcastError('cli.usage', `--scale takes 3 to ${MAX_DATABASES} databases, --open and --churn at least one connection.`, { side: 'client' })
  }
  return scale({ databases, open, churn, json, entry, ...(plane && { plane }) })
}
