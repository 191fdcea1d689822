/**
 * Plans: named sets of what a database may use, written by the operator in router.toml. A database takes over what its plan
 * says when it is put on it; what an operator changes afterwards is that database's own.
 */
import { z } from 'zod'
import { NearcastError } from '../../../lib/errors.ts'
import type { RedisLimits } from '../../../lib/redis-limits.ts'
import { redisLimits } from '../../../lib/redis-limits.ts'
import type { ServiceRecord } from '../store/records.ts'
import type { StoreTransaction } from '../store/store.ts'

type Redis = NonNullable<ServiceRecord['redis']>

export const PLAN_NAME = /^[a-z0-9][a-z0-9-]{0,39}$/
export const maxMemory = z.int().min(1 << 20).max(2 ** 40)

export const redisPlan = z.strictObject({ name: z.string().regex(PLAN_NAME), maxMemoryBytes: maxMemory.optional(), eviction: z.boolean().optional(), ...redisLimits.shape })
export type RedisPlan = z.infer<typeof redisPlan>

export interface Plans {
  readonly plans: readonly RedisPlan[]
  /** Of databases that are made without naming one; absent: without any. */
  readonly defaultPlan?: string | undefined
}

/** null: without limit from now on; a member left out stays as it is. */
export type RedisLimitsChange = { readonly [Member in keyof RedisLimits]?: RedisLimits[Member] | null | undefined }

export interface SizeChange {
  readonly plan?: string | null | undefined
  readonly limits?: RedisLimitsChange | undefined
  readonly eviction?: boolean | undefined
  readonly maxMemoryBytes?: number | undefined
  readonly autoUpgrade?: boolean | undefined
}

/** In this order: what is said beside a plan is changed upon it. @throws NearcastError redis.plan-unknown */
export function setSize(transaction: StoreTransaction, id: string, { plan, limits, eviction, maxMemoryBytes, autoUpgrade }: SizeChange, plans: Plans): void {
  const service = transaction.get('services', id)
  if (service?.redis === undefined) return
  let redis: Redis = service.redis
  if (plan !== undefined) redis = onPlan(redis, plan === null ? null : findPlan(plans, plan))
  if (limits !== undefined) redis = withLimits(redis, { ...redis.limits, ...limits })
  if (eviction !== undefined) redis = withEviction(redis, eviction)
  if (maxMemoryBytes !== undefined) redis = { ...redis, maxMemoryBytes }
  if (autoUpgrade !== undefined) redis = withAutoUpgrade(redis, autoUpgrade)
  transaction.put('services', { ...service, redis })
}

/** Only operators give more than plans do. @throws NearcastError redis.limits-forbidden */
export function checkSizeChange({ plan, limits, maxMemoryBytes }: SizeChange, isOperator: boolean): void {
  if (isOperator || (plan !== null && limits === undefined && maxMemoryBytes === undefined)) return
  throw new NearcastError('redis.limits-forbidden', 'Limits are the operator’s to change; choose a plan (nearcast redis plans), or ask.', { side: 'client' })
}

function onPlan(redis: Redis, plan: RedisPlan | null): Redis {
  const { plan: _before, ...rest } = redis
  const { name, maxMemoryBytes = redis.maxMemoryBytes, eviction = redis.eviction ?? false, ...limits } = plan ?? {}
  return { ...withEviction(withLimits(rest, limits), eviction), ...(name !== undefined && { plan: name }), maxMemoryBytes }
}

function withLimits({ limits: _before, ...redis }: Redis, limits: RedisLimitsChange): Redis {
  const set: RedisLimits = Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== null && value !== undefined))
  return Object.keys(set).length === 0 ? redis : { ...redis, limits: set }
}

function withEviction({ eviction: _before, ...redis }: Redis, eviction: boolean): Redis {
  return eviction ? { ...redis, eviction } : redis
}

function withAutoUpgrade({ autoUpgrade: _before, ...redis }: Redis, autoUpgrade: boolean): Redis {
  return autoUpgrade ? { ...redis, autoUpgrade } : redis
}

function findPlan({ plans }: Plans, name: string): RedisPlan {
  const plan = plans.find((each) => each.name === name)
  if (plan !== undefined) return plan
  throw new NearcastError('redis.plan-unknown', `There is no plan "${name.slice(0, 40)}"; there are: ${plans.map((each) => each.name).join(', ') || 'none'}.`, { side: 'client' })
}
