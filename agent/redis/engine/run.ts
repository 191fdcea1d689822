/**
 * One run of one engine, as its supervisor sees it: a child of this agent (process.ts), or one that an agent before this one
 * started and left (left-engine.ts).
 */
import type { ErrorCode } from '../../../lib/errors.ts'

const SIGNAL_INTERVAL_MS = 100

export interface EngineExit {
  readonly reason: ErrorCode
  /** How it ended, and the last thing it said. */
  readonly detail: string
}

export interface EngineRun {
  readonly pid: number
  /** Resolves once it has ended. Never rejects. */
  readonly exited: Promise<EngineExit>
  readonly over: boolean
  /** SIGTERM writes and syncs the append-only file; SIGKILL follows. Idempotent. */
  stop(timeoutMs: number): Promise<void>
  kill(): void
  /** It goes on without this agent, and the next one finds it. Idempotent. */
  leave(): void
}

/** Resolves when it has ended: SIGTERM, after `timeoutMs` SIGKILL. */
export async function endInOrder(exited: Promise<EngineExit>, timeoutMs: number, signal: (name: 'SIGTERM' | 'SIGKILL') => void): Promise<void> {
  signal('SIGTERM')
  // While a first append-only file is being written Redis refuses to end and forgets the signal.
  const again = setInterval(() => signal('SIGTERM'), SIGNAL_INTERVAL_MS)
  const timer = setTimeout(() => signal('SIGKILL'), timeoutMs)
  await exited
  clearInterval(again)
  clearTimeout(timer)
}
