/**
 * What the supervisor (outside) asks of process 1 (inside) over their IPC channel: one request, one answer, by number.
 * The inside does as told and knows nothing of the cluster's order; the supervisor holds the plan.
 */
import type { ProgramSpec, ProgramStatus, Verb } from './kept-program.ts'

export const RUN_DIRECTORY = '/run/nearcast'
export const NAMESPACES_DIRECTORY = '/run/netns'

export interface Requests {
  /** Runs `sh -eu` with this text. @returns its output. */
  script: { readonly ask: { readonly text: string }; readonly answer: string }
  /** Creates directories as needed (0700). Files are 0600. */
  write: { readonly ask: { readonly files: readonly { readonly path: string; readonly text: string }[] }; readonly answer: null }
  keep: { readonly ask: { readonly program: ProgramSpec }; readonly answer: null }
  steer: { readonly ask: { readonly id: string; readonly verb: Verb }; readonly answer: null }
  tell: { readonly ask: { readonly id: string; readonly line: string }; readonly answer: null }
  /** Waits until /readyz on this Unix socket answers 200. */
  ready: { readonly ask: { readonly id: string; readonly socket: string; readonly timeoutMs: number }; readonly answer: null }
  /** Waits until /metrics on this Unix socket holds all of `texts`. @returns whether it did in time. */
  shows: { readonly ask: { readonly socket: string; readonly texts: readonly string[]; readonly timeoutMs: number }; readonly answer: boolean }
  /** Kills the engine that runs in `directory` (a part of its working directory), again and again while `on`. */
  crashLoop: { readonly ask: { readonly directory: string; readonly on: boolean }; readonly answer: { readonly killed: number } }
  killEngine: { readonly ask: { readonly directory: string }; readonly answer: { readonly killed: number } }
  list: { readonly ask: object; readonly answer: readonly ProgramStatus[] }
}

export type Operation = keyof Requests
export type RequestMessage = { [Name in Operation]: { readonly number: number; readonly operation: Name; readonly ask: Requests[Name]['ask'] } }[Operation]

export type InsideMessage =
  | { readonly type: 'hello' }
  | { readonly type: 'answer'; readonly number: number; readonly answer: unknown }
  | { readonly type: 'failure'; readonly number: number; readonly code: string; readonly message: string }
