/** The engines of an agent, as the kernel knows them. */
import { readdirSync, readlinkSync } from 'node:fs'

/** Processes that work below `directory`, where the agent keeps its databases. */
export function enginePids(directory: string): number[] {
  return readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) && directoryOf(name)?.startsWith(`${directory}/`) === true ? [Number(name)] : []))
}

function directoryOf(pid: string): string | null {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    return null
  }
}
