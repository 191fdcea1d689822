/** What every program's main.ts does around its own work: find its configuration, and end readably when it can't run. */
import { flushCompileCache } from 'node:module'
import { parseArgs } from 'node:util'
import { NearcastError, asNearcastError } from './errors.ts'

/** `--config <file>`, the only option of a program. @throws NearcastError config.invalid */
export function configFile(): string | undefined {
  try {
    return parseArgs({ options: { config: { type: 'string' } } }).values.config
  } catch (cause) {
    throw new NearcastError('config.invalid', `${cause instanceof Error ? cause.message : String(cause)}. The only option is --config <file>.`, { cause })
  }
}

/** One line `<code>: <message>` on standard error, exit code 1. */
export function exitWith(error: unknown): never {
  const { code, message } = asNearcastError(error)
  process.stderr.write(`${code}: ${message}\n`)
  process.exit(1)
}

/** Once everything is loaded; written while the program has nothing more urgent to do. */
const KEEP_COMPILED_AFTER_MS = 3000

/** For the next start: Node keeps what it compiled (NODE_COMPILE_CACHE, if set) only when a program ends by itself. */
export function keepCompiled(): void {
  setTimeout(flushCompileCache, KEEP_COMPILED_AFTER_MS).unref()
}
