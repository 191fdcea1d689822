/**
 * Logging: pino, JSON lines on standard output. Made in main.ts and handed in; pure modules never log.
 *
 * Secrets are kept out twice: code logs ids and addresses only, and what is below hides the members that hold one
 * wherever an object slips through, however deep it stands in it.
 */
import { pino } from 'pino'
import type { DestinationStream, Logger as PinoLogger } from 'pino'
import { StandardOutput } from './standard-output.ts'

export type Logger = PinoLogger
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

const SECRET_MEMBERS: ReadonlySet<string> = new Set(['password', 'passwordSha256', 'replicationSecret', 'token', 'key', 'keys', 'secret', 'authorization'])

const HIDDEN = '[secret]'
/** Deeper than anything worth a log line; also the end of a cycle. */
const MAX_DEPTH = 8

/** A copy without secrets. Only plain objects and arrays are entered: errors and the like have serializers of their own. */
function withoutSecrets(value: unknown, depth: number): unknown {
  const isList = Array.isArray(value)
  if (!isList && !isPlain(value)) return value
  if (depth === MAX_DEPTH) return '[deep]'
  if (isList) return value.map((item) => withoutSecrets(item, depth + 1))
  const members = Object.entries(value).map(([name, item]) => [name, SECRET_MEMBERS.has(name) ? HIDDEN : withoutSecrets(item, depth + 1)])
  return Object.fromEntries(members)
}

function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

export function createLogger(program: string, level: LogLevel = 'info', destination?: DestinationStream): Logger {
  const options = {
    level,
    base: { program },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { log: (members: Record<string, unknown>) => withoutSecrets(members, 0) as Record<string, unknown> },
    serializers: { error: pino.stdSerializers.err },
    // The bindings of a child logger don't pass the formatter.
    redact: { paths: [...SECRET_MEMBERS].flatMap((member) => [member, `*.${member}`]), censor: HIDDEN },
  }
  return pino(options, destination ?? new StandardOutput())
}
