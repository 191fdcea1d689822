/**
 * Ending with the process that started this one (bin/nearcast.mjs, scripts/start.mjs), even when that was killed: it
 * gives its pid in NEARCAST_STARTER. Without it nothing changes.
 */
import { dieWithParent } from '../../lib/kernel/parent-death.ts'
import { probeFfi } from '../../lib/kernel/ffi.ts'

/** Takes the variable out of the environment, so that no command run from here follows the wrong process. */
export function followStarter(): void {
  const starter = Number(process.env['NEARCAST_STARTER'])
  delete process.env['NEARCAST_STARTER']
  if (Number.isInteger(starter) && starter > 0 && probeFfi().answer === 'yes') dieWithParent('SIGTERM', starter)
}
