/** What every program's main.ts does around its own work: find its configuration, and end readably when it can't run. */
import { flushCompileCache } from 'node:module'
import { parseArgs } from 'node:util'
import { NearcastError, asNearcastError } from './errors.ts'
import { WANTED_PLANES } from './plane/wanted.ts'
import type { WantedPlane } from './plane/wanted.ts'

export interface ProgramOptions {
  readonly config?: string | undefined
  /** Wins over the configuration's `plane`. */
  readonly plane?: WantedPlane | undefined
}

/** `--config <file>` and `--plane <plane>`, the only options of a program that has a data plane. @throws NearcastError config.invalid */
export function programOptions(): ProgramOptions {
  const { config, plane } = parsed()
  const wanted = WANTED_PLANES.find((each) => each === plane)
  if (plane !== undefined && wanted === undefined) throw new NearcastError('config.invalid', `--plane is one of ${WANTED_PLANES.join(', ')}, not "${plane}".`)
  return { config, plane: wanted }
}

function parsed(): { config?: string | undefined; plane?: string | undefined } {
  try {
    return parseArgs({ options: { config: { type: 'string' }, plane: { type: 'string' } } }).values
  } catch (cause) {
    throw new NearcastError('config.invalid', `${cause instanceof Error ? cause.message : String(cause)}. The only options are --config <file> and --plane <plane>.`, { cause })
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
