/**
 * Where a database behind the agent is meant to answer otherwise than a bare engine: all of it. docs/redis.md has the same
 * table for those who use databases; a test compares the two, and the differential test finds no other difference.
 */
import { ALLOWED_AGAIN, DENIED_COMMANDS } from '../../agent/redis/engine/acl.ts'

/** What a denied command answers: Redis 7.0's words, or Valkey's. DEBUG and MODULE are switched off besides, which an engine says first. */
export const DENIED_ANSWER = /^NOPERM (this user|User default) has no permissions to run the '[^']+' (command|subcommand)|^ERR (DEBUG|MODULE) command not allowed/

/** Named as in COMMAND DOCS; one with subcommands stands for all of them. */
export function isDenied(command: string): boolean {
  if (ALLOWED_AGAIN.includes(command)) return false
  return DENIED_COMMANDS.some((denied) => command === denied || command.startsWith(`${denied}|`))
}

export interface LenientBytes {
  readonly what: string
  /** What a client sends behind its AUTH. */
  readonly sent: string
  /** What it reads where its database is read. */
  readonly answer: string
  /** An engine by itself waits for ever for its end. */
  readonly waits: boolean
}

/** What an engine reads leniently, and the agent doesn't where it reads: both must see the same boundaries. */
export const LENIENT: readonly LenientBytes[] = [
  { what: 'a bulk string that ends otherwise than with CR LF', sent: '*1\r\n$4\r\nPINGxx', answer: '-ERR Protocol error: a bulk string without its end\r\n', waits: false },
  { what: 'a length whose CR no LF follows', sent: '*1\rx$4\r\nPING\r\n', answer: '-ERR Protocol error: invalid multibulk length\r\n', waits: false },
  { what: 'a NUL in an inline command', sent: 'PING\0\r\n', answer: '-ERR Protocol error: a NUL in an inline request\r\n', waits: true },
]
