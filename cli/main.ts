/** `nearcast`: parses the command line, runs the command, and turns whatever went wrong into one readable line. */
import { readFileSync } from 'node:fs'
import { asNearcastError } from '../lib/errors.ts'
import { createProgram } from './commands/program.ts'
import { followStarter } from './dev/starter.ts'
import { colours } from './output.ts'

function version(): string {
  for (const path of ['../package.json', '../../package.json']) {
    try {
      return (JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as { version: string }).version
    } catch {
      // Built files lie one folder deeper.
    }
  }
  return 'unknown'
}

try {
  followStarter()
  await createProgram(version()).parseAsync()
} catch (error) {
  const { code, message } = asNearcastError(error)
  if (process.argv.includes('--json')) process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`)
  process.stderr.write(`${colours.red(code)}: ${message}\n`)
  process.exitCode = 1
}
