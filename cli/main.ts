/** `nearcast`: parses the command line, runs the command, and turns whatever went wrong into one readable line. */
import { asNearcastError } from '../lib/errors.ts'
import type { NearcastError } from '../lib/errors.ts'
import { VERSION } from '../lib/version.ts'
import { createProgram, endingOf } from './commands/program.ts'
import type { Ending } from './commands/program.ts'
import { followStarter } from './dev/starter.ts'
import { colours } from './colours.ts'

type Failure = Pick<NearcastError, 'code' | 'message'>

try {
  followStarter()
  await (await createProgram(VERSION, process.argv.slice(2))).parseAsync()
} catch (error) {
  const ending = endingOf(error)
  if (ending === null) failed(asNearcastError(error))
  else ended(ending)
}

function failed({ code, message }: Failure): void {
  tell({ code, message })
  process.stderr.write(`${colours.red(code)}: ${message}\n`)
  process.exitCode = 1
}

/** People have read it already. */
function ended({ exitCode, message }: Ending): void {
  process.exitCode = exitCode
  if (exitCode !== 0) tell({ code: 'cli.usage', message })
}

function tell(error: Failure): void {
  if (process.argv.includes('--json')) process.stdout.write(`${JSON.stringify({ error })}\n`)
}
