/**
 * What the router asks agents about databases, gateways about peers, and backbones about their hosts, over the feed's
 * `ask`: name, parameters and answer of each question. An agent answers what it refuses as a value (`refused`), so that its code and sentence reach the one who asked the router.
 */
import { z } from 'zod'
import { SEALED_CHUNK_BYTES } from '../sealed-chunks.ts'
import { CODES } from '../errors.ts'
import type { ErrorCode } from '../errors.ts'
import { wireguardRow } from './messages.ts'

/** Far below MAX_FEED_MESSAGE_BYTES, in base64. */
export const MAX_PART_BYTES = 4 * SEALED_CHUNK_BYTES

const service = z.string().min(1).max(64)
const backup = z.string().min(1).max(64)
/** Hex; a secret. */
const key = z.string().regex(/^[0-9a-f]{64}$/)
const sha256 = z.string().regex(/^[0-9a-f]{64}$/)
const size = z.int().min(0)
/** Where a backup lies, when not on the disk of its node. */
const store = z.string().max(1024).optional()
const part = z.base64().max(2 * MAX_PART_BYTES)

export const importProgress = z.object({
  phase: z.enum(['connecting', 'copying', 'following', 'done', 'stopped', 'failed']),
  /** `keys`: one by one, where the source denies PSYNC; the cut-over copies them all again. */
  way: z.enum(['replication', 'keys']),
  /** Of the first copy; 0: not known. */
  totalBytes: size,
  copiedBytes: size,
  /** What the source has written and the database has not, in bytes of the replication stream; null: not known. */
  lagBytes: size.nullable(),
  keys: size,
  sourceKeys: size.nullable(),
  /** Compared at the cut-over, by type and length. */
  samples: size,
  differing: size,
  error: z.string().max(512).optional(),
})

/** To gateways, under the name `peers`: those of these keys that they hold. */
export const peersQuestion = z.object({ publicKeys: z.array(z.string().max(64)).max(10_000) })
export const peersSeen = z.array(
  z.object({
    publicKey: z.string().max(64),
    /** Since 1970, by the gateway's clock; null before the first. */
    lastHandshakeMs: z.int().min(0).max(8_640_000_000_000_000).nullable(),
    /** Since the gateway holds it. */
    receivedBytes: size,
    sentBytes: size,
  }),
)
export type PeersSeen = z.infer<typeof peersSeen>

/** `kernel`: the system's own WireGuard; `nearcast`: ours (lib/wireguard). */
export const BACKBONE_IMPLEMENTATIONS = ['kernel', 'nearcast'] as const
export type BackboneImplementation = (typeof BACKBONE_IMPLEMENTATIONS)[number]

/** Answer of a backbone to `backbone.reaches`: hosts that it sends to through it. */
export const backboneSeen = z.object({ implementation: z.enum(BACKBONE_IMPLEMENTATIONS), reaches: z.array(z.string().max(64)).max(10_000) })
export type BackboneSeen = z.infer<typeof backboneSeen>

/** Answer of a backbone to `backbone.next-key`: the public half of a key that it has made and waits to use. */
export const backboneKey = z.object({ publicKey: wireguardRow.shape.publicKey })

const amount = z.number().min(0)
const latency = z.object({ count: size, meanMs: amount, p99Ms: amount }).nullable()
/** Its p99 is within twice. */
const engineLatency = z.object({ read: latency, write: latency })
export type EngineLatency = z.infer<typeof engineLatency>

export const redisStatistics = z.object({
  node: z.string().max(64),
  role: z.enum(['primary', 'replica']),
  resting: z.boolean(),
  /** Open ones, of clients. */
  connections: size,
  commands: z.object({ total: size, day: size, month: size, perSecond: amount }),
  bytes: z.object({ up: size, down: size, day: size, month: size }),
  hits: size,
  misses: size,
  /** As its engine said last; null: not since the agent started. */
  engine: z.object({ keys: size, memoryBytes: size, evicted: size, expired: size }).nullable(),
  diskBytes: size,
  /** Of the last minute or two; null: its clients aren't read. */
  latency: z.object({ read: latency, write: latency }).nullable(),
  /** In the engine alone, since it started; engines before Redis 7, and those that rest, don't say. */
  engineLatency: engineLatency.optional(),
  /** Behind its neighbours, because it was busy for long; `ms` since the agent started. Agents that can't do it don't say. */
  heldBack: z.object({ now: z.boolean(), ms: size }).optional(),
  limits: z.array(z.object({ limit: z.string().max(64), allowed: size, used: size.optional(), hits: size })).max(32),
})
export type RedisStatistics = z.infer<typeof redisStatistics>

export const engineCommand = z.object({ name: z.string().max(64), kind: z.enum(['read', 'write', 'other']) })

export const slowCommand = z.object({ at: z.string().max(40), ms: amount, command: z.string().max(256) })
export type SlowCommand = z.infer<typeof slowCommand>

export const QUESTIONS = {
  /** Whether the database's engine takes these rules for a user. */
  'redis.check-rules': { params: z.object({ service, rules: z.array(z.string().max(160)).max(64) }), answer: z.object({}) },
  /** Takes a backup; the key seals it, and is kept by the router alone. */
  'redis.backup': { params: z.object({ service, backup, key }), answer: z.object({ bytes: size, sha256, storedBytes: size, store }) },
  /** Replaces what `target` holds by a backup of `service`. */
  'redis.restore': { params: z.object({ target: service, service, backup, key, bytes: size, sha256, store }), answer: z.object({}) },
  /** A part of a backup's file, sealed as it is; for another node, or for the router to open. */
  'redis.backup-read': { params: z.object({ service, backup, store, offset: size, maxBytes: z.int().min(1).max(MAX_PART_BYTES) }), answer: z.object({ data: part }) },
  /** The parts of a file from another node, in order. */
  'redis.backup-write': { params: z.object({ service, backup, offset: size, data: part, last: z.boolean() }), answer: z.object({}) },
  /** `from`: a URL with a password; a secret. */
  'redis.import-start': { params: z.object({ service, from: z.string().max(1024) }), answer: importProgress },
  'redis.import-status': { params: z.object({ service }), answer: importProgress },
  'redis.import-cut-over': { params: z.object({ service }), answer: importProgress },
  'redis.import-stop': { params: z.object({ service }), answer: importProgress },
  'redis.statistics': { params: z.object({ service }), answer: redisStatistics },
  /** What its engine says of itself: every command that it knows. */
  'redis.commands': { params: z.object({ service }), answer: z.object({ server: z.string().max(64), commands: z.array(engineCommand).max(1000) }) },
  /** The slowest commands of late; none while its engine rests. */
  'redis.slow': { params: z.object({ service }), answer: z.object({ commands: z.array(slowCommand).max(16) }) },
  'redis.backup-remove': { params: z.object({ service, backup, store }), answer: z.object({}) },
} as const

export type QuestionName = keyof typeof QUESTIONS
export type QuestionParams<Name extends QuestionName> = z.infer<(typeof QUESTIONS)[Name]['params']>
export type QuestionAnswer<Name extends QuestionName> = z.infer<(typeof QUESTIONS)[Name]['answer']>

export const refusedAnswer = z.object({ refused: z.object({ code: z.string().max(64), message: z.string().max(512) }) })

export function isQuestion(name: string): name is QuestionName {
  return Object.hasOwn(QUESTIONS, name)
}

/** Of a program that may be newer. */
export function knownCode(code: string): ErrorCode {
  return Object.hasOwn(CODES, code) ? (code as ErrorCode) : 'feed.ask-failed'
}
