/** What a supervisor is given: times, what all engines of an agent share, and whom it tells. */
import type { Logger } from '../../../lib/log.ts'
import type { EngineDirectories } from './directory.ts'
import type { ForkTurns } from './fork-turns.ts'
import type { StartTurns } from './start-turns.ts'
import type { Walls } from './walls.ts'

export interface SupervisorTimes {
  readonly healthIntervalMs: number
  readonly silentTimeoutMs: number
  readonly backoffMinMs: number
  readonly backoffMaxMs: number
  readonly stopTimeoutMs: number
}

/** A replica's way to its primary. `port` is where the engine finds it at 127.0.0.1. */
export interface OpenBridge {
  readonly port: number
  close(): Promise<void>
}

export interface SupervisorOptions {
  readonly walls: Walls
  readonly directories: EngineDirectories
  readonly times: SupervisorTimes
  /** Shared by all engines of the agent. */
  readonly turns: StartTurns
  /** Likewise. */
  readonly forkTurns: ForkTurns
  /** The agent's own private key: what engines know it by comes from it. */
  readonly key: string
  readonly log: Logger
  /** `namespace` null: the engine shares the agent's. */
  readonly openBridge: (service: string, namespace: string | null) => Promise<OpenBridge>
  /** `reason` or `answers` has changed. */
  readonly changed: () => void
  readonly restarted: (service: string) => void
  /** An engine of an agent before this one goes on as this one's. */
  readonly adopted: (service: string) => void
  /** So many connections were ended because their password counts no more. */
  readonly loginsEnded: (service: string, connections: number) => void
  /** One of its scripts ran for longer than its plan allows. */
  readonly scriptEnded: (service: string) => void
}
