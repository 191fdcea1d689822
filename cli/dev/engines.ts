/**
 * Faults for one tenant's engine: finds redis-server processes by their working directory, which lies in the agent's
 * data directory and carries the service id, and kills them, once or again and again.
 */
import { readFileSync, readdirSync, readlinkSync } from 'node:fs'

const KILL_INTERVAL_MS = 100
const ENGINES = /^(redis|valkey)-/

/** @returns how many were killed. `directory` must be a whole component sequence of the path, like `/gru-1/agent/data/svc_1`. */
export function killEngines(directory: string): number {
  let killed = 0
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    try {
      const workingDirectory = `${readlinkSync(`/proc/${entry}/cwd`)}/`
      if (!workingDirectory.includes(`${directory}/`)) continue
      if (!ENGINES.test(readFileSync(`/proc/${entry}/comm`, 'utf8'))) continue
      process.kill(Number(entry), 'SIGKILL')
      killed++
    } catch {
      // It ended while we looked.
    }
  }
  return killed
}

export class CrashLoops {
  readonly #timers = new Map<string, NodeJS.Timeout>()

  /** @returns how many the first blow killed. */
  set(directory: string, on: boolean): number {
    clearInterval(this.#timers.get(directory))
    this.#timers.delete(directory)
    if (!on) return 0
    this.#timers.set(directory, setInterval(() => killEngines(directory), KILL_INTERVAL_MS))
    return killEngines(directory)
  }
}
