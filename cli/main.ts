/** `nearcast`: parses the command line, runs the command, and turns whatever went wrong into one readable line. */
import { asNearcastError } from '../lib/errors.ts'
import { VERSION } from '../lib/version.ts'
import { createProgram } from './commands/program.ts'
import { followStarter } from './dev/starter.ts'
import { colours } from './output.ts'

try {
  followStarter()
  await createProgram(VERSION).parseAsync()
} catch (error) {
  const { code, message } = asNearcastError(error)
  if (process.argv.includes('--json')) process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`)
  process.stderr.write(`${colours.red(code)}: ${message}\n`)
  process.exitCode = 1
}
