/**
 * Logging: pino, JSON lines on standard output. Made in main.ts and handed in; pure modules never log.
 *
 * Secrets are kept out twice: code logs ids and addresses only, and the redaction below removes the members that hold
 * one wherever an object slips through.
 */
import { pino } from 'pino'
import type { DestinationStream, Logger as PinoLogger } from 'pino'

export type Logger = PinoLogger
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

const SECRET_MEMBERS = ['password', 'passwordSha256', 'replicationSecret', 'token', 'key', 'keys', 'secret', 'authorization']

export function createLogger(program: string, level: LogLevel = 'info', destination?: DestinationStream): Logger {
  const options = {
    level,
    base: { program },
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: { paths: SECRET_MEMBERS.flatMap((member) => [member, `*.${member}`]), censor: '[secret]' },
  }
  return destination === undefined ? pino(options) : pino(options, destination)
}
