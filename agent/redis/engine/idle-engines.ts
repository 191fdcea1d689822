/**
 * Which engines may rest: those that nobody has used for a while, and where only so many may run, the longest unused ones
 * of those that are too many. Pure.
 *
 * Only primaries without replicas: a replica follows its primary all the time, which has to be there for it.
 */
export interface EngineUse {
  readonly service: string
  /** It answers, and so could be ended. */
  readonly running: boolean
  /** The database has this one placement. */
  readonly alone: boolean
  /** Open client connections. */
  readonly connections: number
  /** The database's own policy; null: `RestSettings.idleStopMinutes` counts. */
  readonly park: number | 'never' | null
  /** Since somebody asked for it last. */
  readonly unusedMs: number
}

export interface RestSettings {
  /** 0: never for this reason. */
  readonly idleStopMinutes: number
  /** 0: as many as there are. */
  readonly maxRunning: number
}

/** One that was just asked for is left alone: its client may be about to dial it. */
export const LEAST_UNUSED_MS = 1000
const MINUTE_MS = 60_000

/** The longest unused first. */
export function idleEngines(engines: readonly EngineUse[], { idleStopMinutes, maxRunning }: RestSettings): string[] {
  const running = engines.filter((engine) => engine.running)
  const idle = running
    .filter(({ alone, connections, unusedMs, park }) => alone && park !== 'never' && connections === 0 && unusedMs >= LEAST_UNUSED_MS)
    .toSorted((left, right) => right.unusedMs - left.unusedMs)
  const tooMany = maxRunning === 0 ? 0 : Math.max(0, running.length - maxRunning)
  const isLong = ({ unusedMs, park }: EngineUse): boolean => {
    const minutes = typeof park === 'number' ? park : idleStopMinutes
    return minutes > 0 && unusedMs >= minutes * MINUTE_MS
  }
  return idle.filter((engine, index) => index < tooMany || isLong(engine)).map(({ service }) => service)
}
