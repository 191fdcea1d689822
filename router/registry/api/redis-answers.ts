/** What the API answers about databases (answers.ts says how schemas of answers are used). */
import { z } from 'zod'
import { engineCommand, importProgress, redisStatistics, slowCommand } from '../../../lib/feed/questions.ts'
import { REDIS_ENGINES } from '../../../lib/redis-engines.ts'
import { redisLimits } from '../../../lib/redis-limits.ts'
import { redisPlan } from '../objects/plans.ts'
import { at, listOf, milliseconds, revocationAnswer, serviceAnswer, strings, tlsAnswer } from './answers.ts'

export const planAnswer = z.strictObject(redisPlan.shape).meta({ id: 'Plan', description: 'What databases on it may use.' })
const secret = 'Left out for a token without the scope `write`.'

export const redisAnswer = z
  .strictObject({
    ...serviceAnswer.shape,
    kind: z.literal('redis'),
    region: z.string(),
    replicas: strings,
    appendFsync: z.enum(['always', 'everysec']),
    maxMemoryBytes: z.int(),
    allowedSources: strings.optional().meta({ description: 'Where clients must come from; absent: from anywhere.' }),
    parkAfterMinutes: z.union([z.number(), z.literal('never')]).optional().meta({ description: 'Absent: as its node is set.' }),
    engine: z.enum(REDIS_ENGINES).optional().meta({ description: 'What runs it; absent: as its nodes are set.' }),
    plan: z.string().optional().meta({ description: 'Whose limits it took over last.' }),
    limits: z.strictObject(redisLimits.shape).optional().meta({ description: 'A member that is absent: without that limit. Each node that holds the database counts for itself.' }),
    eviction: z.literal(true).optional().meta({ description: 'When it is full, keys go instead of writes being refused: those that expire first.' }),
    autoUpgrade: z.literal(true).optional().meta({ description: 'When it meets a limit of its plan, it goes on to the next one.' }),
    dailyBackups: z.int().optional().meta({ description: 'So many are kept; absent: none are taken.' }),
    users: strings.optional().meta({ description: 'Names of its users beside `default`.' }),
    tls: tlsAnswer.shape.policy,
    username: z.string(),
    password: z.string().optional().meta({ description: secret }),
    url: z.string().optional().meta({ description: `${secret} \`rediss://\` when the address takes nothing else.` }),
    env: z
      .strictObject({
        REDIS_URL: z.string().optional(),
        REDIS_TLS_URL: z.string().optional().meta({ description: 'Of an address that takes both: the one with TLS.' }),
        REDIS_HOST: z.string(),
        REDIS_PORT: z.string(),
        REDIS_USERNAME: z.string(),
        REDIS_PASSWORD: z.string().optional(),
        REDIS_ADDRESS: z.string(),
      })
      .meta({ description: 'What an app needs, as environment variables.' }),
  })
  .meta({ id: 'Redis', description: 'A database with its own address.' })

export const redisUserAnswer = z
  .strictObject({
    name: z.string(),
    rules: z.string().meta({ description: 'What is denied to all users of databases stays denied.' }),
    password: z.string().optional().meta({ description: secret }),
    url: z.string().optional().meta({ description: secret }),
    createdAt: at,
  })
  .meta({ id: 'RedisUser', description: 'A user of a database, beside `default`.' })

export const redisStatisticsAnswer = z
  .strictObject({
    nodes: listOf(redisStatistics),
    missing: listOf(z.strictObject({ node: z.string(), code: z.string() })).meta({ description: 'Nodes that did not say, and why.' }),
  })
  .meta({ id: 'RedisStatistics', description: 'Counts live on over restarts; each node counts for itself.' })

export const redisCommandsAnswer = z
  .strictObject({ server: z.string(), commands: listOf(engineCommand) })
  .meta({ id: 'RedisCommands', description: 'What the engine of a database knows; it answers everything else with its own error.' })

export const redisSlowAnswer = z
  .strictObject({
    node: z.string().meta({ description: 'Of the primary.' }),
    ways: listOf(z.strictObject({ proxy: z.string(), node: z.string(), latencyMs: z.number().nullable(), healthy: z.boolean() })).meta({ description: 'Which node each proxy takes, and how far it is.' }),
    latency: redisStatistics.shape.latency,
    engineLatency: redisStatistics.shape.engineLatency.meta({ description: 'In its engine alone, since that started; p99 within twice.' }),
    heldBack: redisStatistics.shape.heldBack.meta({ description: 'How long its engine stood behind its neighbours, because it kept a processor busy; since the agent started.' }),
    limits: redisStatistics.shape.limits.meta({ description: 'Those that were met since the agent started.' }),
    commands: listOf(slowCommand).meta({ description: 'Of the slow log of its engine.' }),
  })
  .meta({ id: 'RedisSlow' })

export const backupAnswer = z
  .strictObject({
    id: z.string(),
    database: z.string(),
    kind: z.enum(['manual', 'daily']),
    state: z.enum(['running', 'ready', 'failed']),
    error: z.string().optional(),
    bytes: z.int(),
    sha256: z.string().meta({ description: 'Of the RDB; empty unless it is ready.' }),
    stored: z.enum(['node', 'bucket']).meta({ description: 'Where it lies: on the disk of the node that took it, or in a bucket that outlives it.' }),
    createdAt: at,
  })
  .meta({ id: 'Backup', description: 'A copy of a database of one moment, sealed where it lies.' })

export const backupRemovedAnswer = z.strictObject({ id: z.string(), deleted: z.literal(true) })
export const restoredAnswer = z.strictObject({ database: z.string(), backup: z.string(), state: z.enum(['restored', 'running']), ms: milliseconds })

export const contentAnswer = z.strictObject({
  data: z.string().meta({ description: 'A part of the RDB, in base64.' }),
  next: z.int().nullable().meta({ description: 'Offset of the next part; null: this was the last one.' }),
})

export const importAnswer = importProgress.meta({ id: 'Import', description: 'How far an import into a database is, by the agent of its primary.' })
export const removedUserAnswer = z.strictObject({ name: z.string(), deleted: z.literal(true), revocation: revocationAnswer })
