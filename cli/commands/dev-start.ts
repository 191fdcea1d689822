/** `nearcast dev`: starts a cluster, says what is in it, and ends it. Loaded when that is asked: it is most of the command line. */
import type { Command } from 'commander'
import { NearcastError } from '../../lib/errors.ts'
import type { WantedPlane } from '../../lib/plane/wanted.ts'
import { Progress } from '../dev/progress.ts'
import { summarize } from '../dev/summary.ts'
import { Supervisor } from '../dev/supervisor.ts'
import { createOutput } from '../output.ts'
import { clusterName } from './global-options.ts'
import type { GlobalOptions } from './global-options.ts'

export interface StartOptions {
  readonly topology?: string
  readonly plane?: WantedPlane
  readonly apiPort: number
}

export async function start(options: StartOptions, command: Command): Promise<void> {
  const output = createOutput(command.optsWithGlobals<GlobalOptions>().json === true)
  const cluster = clusterName(command)
  const progress = new Progress(process.stderr, output.json)
  const interrupted = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => interrupted.abort())
  const settings = {
    cluster,
    topologyFile: options.topology,
    plane: options.plane,
    apiPort: options.apiPort,
    progress: (step: string) => progress.step(step),
    notice: (text: string) => progress.notice(text),
  }
  const supervisor = await Supervisor.start(settings, interrupted.signal).finally(() => progress.done())
  try {
    const { value, lines } = summarize(supervisor.cluster, cluster, process.env['NEARCAST_COMMAND'] ?? 'nearcast')
    output.show(value, () => lines)
    const reason = await supervisor.ended(interrupted.signal)
    if (reason !== null) throw new NearcastError('dev.failed', `The cluster ended by itself: ${reason}.`)
  } finally {
    await supervisor.stop()
  }
}
