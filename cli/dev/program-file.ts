/** Where the other programs' main files are: .ts beside the sources, .js in a build. cli/dev starts them and imports none. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { NearcastError } from '../../lib/errors.ts'

const SUFFIX = import.meta.filename.endsWith('.ts') ? '.ts' : '.js'
const ROOT = join(import.meta.dirname, '../..')

/** `programFile('router/main')`. @throws NearcastError dev.failed */
export function programFile(path: string): string {
  const file = join(ROOT, path + SUFFIX)
  if (!existsSync(file)) throw new NearcastError('dev.failed', `${path}${SUFFIX} is missing; install Nearcast again.`)
  return file
}
