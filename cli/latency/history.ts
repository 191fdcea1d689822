/** A history of reports: a file of JSON lines, one a report, without single samples. Lines are only ever appended. */
import { appendFileSync, readFileSync } from 'node:fs'
import { NearcastError } from '../../lib/errors.ts'
import type { LatencyReport } from './report.ts'
import { latencyReport, withoutSamples } from './report.ts'

/** The report shows no more than this many; older ones stay in the file. */
const MAX_SHOWN = 500

/** @throws NearcastError cli.file */
export function appendHistory(file: string, report: LatencyReport): void {
  try {
    appendFileSync(file, `${JSON.stringify(withoutSamples(report))}\n`, { mode: 0o600 })
  } catch (cause) {
    throw unusable(file, cause)
  }
}

/** The oldest first; a missing file is an empty one. Lines that are no reports (a cut one, a newer version's) are left out. */
export function readHistory(file: string): LatencyReport[] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return []
    throw unusable(file, cause)
  }
  const lines = text.split('\n').filter((line) => line !== '').slice(-MAX_SHOWN)
  return lines.flatMap((line) => {
    const parsed = latencyReport.safeParse(parseJson(line))
    return parsed.success ? [parsed.data] : []
  })
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return null
  }
}

function unusable(file: string, cause: unknown): NearcastError {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new NearcastError('cli.file', `${file} can't be used (${why}); name a file in a directory that you may write.`, { side: 'client', cause })
}
