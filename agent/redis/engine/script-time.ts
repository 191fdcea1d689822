/**
 * Ends scripts and functions that run for longer than their database's plan allows. Redis says so by itself (BUSY); one that
 * has written can't be ended, but with its engine: what it wrote isn't in the file before it has ended, so nothing that was
 * acknowledged is lost, and nothing of it stays.
 */
import type { EngineHealth } from './health.ts'

export class ScriptTime {
  #unkillable = 0

  /** `busy`: as the last check found. @returns what was done, if anything */
  async end(connection: EngineHealth, busy: boolean, kill: () => void): Promise<'ended' | 'killed' | null> {
    if (!busy) {
      this.#unkillable = 0
      return null
    }
    for (const command of [['SCRIPT', 'KILL'], ['FUNCTION', 'KILL']]) {
      const [reply] = (await connection.ask([command])) ?? []
      if (reply?.kind === 'text') return 'ended'
      if (reply?.kind !== 'error' || !reply.text.startsWith('UNKILLABLE')) continue
      // It may be about to end.
      if (++this.#unkillable < 2) return null
      this.#unkillable = 0
      kill()
      return 'killed'
    }
    return null
  }
}
