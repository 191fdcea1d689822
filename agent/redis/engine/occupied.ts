/** What those get who fill a running engine from elsewhere while no client is sent to it (Supervisor.occupy). */
import { RespClient } from '../resp/client.ts'
import type { DecodeOptions, Reply } from '../resp/reply-decoder.ts'
import { AGENT_USER } from './acl.ts'
import type { EngineHealth } from './health.ts'

const LOGIN_MS = 10_000

export interface OccupiedEngine {
  /** A connection of the agent's own. */
  readonly health: EngineHealth
  /** Another one, whoever asks closes it. */
  readonly connect: (options: DecodeOptions) => Promise<RespClient>
  /** It has ended, or is being ended. */
  readonly over: () => boolean
  readonly kill: () => void
  /** Its network namespace; null: it shares ours. */
  readonly namespace: string | null
  /** What it shows to whom it follows. */
  readonly replication: { readonly user: string; readonly password: string }
}

/** A connection as the agent's own user. @throws NearcastError when it isn't answered */
export async function connectAgent(socket: string, password: string, options: DecodeOptions): Promise<RespClient> {
  const client = new RespClient(socket, options)
  await client.command(['AUTH', AGENT_USER, password], LOGIN_MS)
  return client
}

/** The lines of INFO; none, when it isn't one (LOADING). */
export function infoOf(reply: Reply | undefined): ReadonlyMap<string, string> {
  if (reply?.kind !== 'text') return new Map()
  return new Map(reply.text.split('\r\n').flatMap((line) => (line.includes(':') ? [[line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)] as const] : [])))
}
