/** What every plane's dial has in common: how it is called, and the words for its failures. */
import type { Endpoint } from './endpoint.ts'
import type { DialFailure, DialTarget } from './plane.ts'

export const KEEP_ALIVE_AFTER_MS = 30_000

export interface Dialling {
  /** Closes what is under way; the callback isn't called any more. */
  abandon(): void
}

/** `done` is called once, later, never during the call. The endpoint is silent and nothing is read from it. */
export type Dial = (target: DialTarget, timeoutMs: number, done: (result: Endpoint | DialFailure) => void) => Dialling

const FAILURES: Readonly<Record<string, DialFailure>> = {
  ECONNREFUSED: 'refused',
  ENOENT: 'refused',
  ENOTSOCK: 'refused',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  EADDRNOTAVAIL: 'unreachable',
  ENOTFOUND: 'unreachable',
  ETIMEDOUT: 'timeout',
  ECONNRESET: 'reset',
  EPIPE: 'reset',
}

/** `errno` is a name. undefined: none of those that say something. */
export function dialFailure(errno: string): DialFailure | undefined {
  return FAILURES[errno]
}
