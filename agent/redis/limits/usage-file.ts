/** What a database has used, on disk: read when its agent starts, written every few seconds while it changes. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { z } from 'zod'
import type { Usage } from './account.ts'

const count = z.number().min(0)
const usageSchema = z.object({ day: z.string(), dayCommands: count, dayBytes: count, month: z.string(), monthCommands: count, monthBytes: count, commands: count, bytesUp: count, bytesDown: count, hits: count.default(0), misses: count.default(0) })

/** null: there is none, or it isn't whole. */
export function readUsage(file: string): Usage | null {
  try {
    return usageSchema.parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch {
    return null
  }
}

/** Whole or not at all. @throws what the file system says */
export function writeUsage(file: string, usage: Usage): void {
  writeFileSync(`${file}.new`, JSON.stringify(usage), { mode: 0o600 })
  renameSync(`${file}.new`, file)
}
