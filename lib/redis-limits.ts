/**
 * What one database may use, as plans, API and feed say it. A member that isn't there is without limit. Each node that holds
 * the database counts for itself.
 */
import { z } from 'zod'

const count = z.int().min(1).max(Number.MAX_SAFE_INTEGER)

export const redisLimits = z.object({
  /** Open connections of clients. */
  maxClients: z.int().min(1).max(1_000_000).optional(),
  /** Commands beyond are refused. */
  commandsPerSecond: z.int().min(1).max(10_000_000).optional(),
  /** Until midnight, UTC. */
  commandsPerDay: count.optional(),
  /** Until the month ends, UTC. */
  commandsPerMonth: count.optional(),
  /** Of all arguments of one command together. */
  requestBytes: z.int().min(1024).max(2 ** 40).optional(),
  /** Of one string, or one element of a collection. */
  entryBytes: z.int().min(1 << 20).max(512 << 20).optional(),
  /** Each way; beyond, reading waits. */
  bytesPerSecond: z.int().min(1024).max(1_000_000_000_000).optional(),
  /** Both ways together, until midnight, UTC; beyond, commands are refused. */
  bytesPerDay: count.optional(),
  /** A connection without a command for so long is closed. */
  idleSeconds: z.int().min(1).max(31_536_000).optional(),
  /** A script or function that runs longer is ended. */
  scriptMs: z.int().min(10).max(3_600_000).optional(),
})
export type RedisLimits = z.infer<typeof redisLimits>
export type RedisLimit = keyof RedisLimits

/** Those for which the agent has to read what clients say. */
const READ_FOR: readonly RedisLimit[] = ['commandsPerSecond', 'commandsPerDay', 'commandsPerMonth', 'requestBytes', 'entryBytes', 'bytesPerDay']

export function needsReading(limits: RedisLimits | undefined, eviction: boolean | undefined): boolean {
  return eviction === true || READ_FOR.some((limit) => limits?.[limit] !== undefined)
}
