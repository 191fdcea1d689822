/** What the API answers, as far as the commands read it. Members that this version doesn't know pass through to --json. */
import { z } from 'zod'

export const networkObject = z.looseObject({ id: z.number(), name: z.string(), prefix: z.string() })
export const orgObject = z.looseObject({ id: z.string(), name: z.string(), createdAt: z.string().optional(), networks: z.array(networkObject).default([]) })

const reached = z.looseObject({ id: z.string(), ms: z.number().optional(), error: z.string().optional() })
export const provisioning = z.looseObject({
  revision: z.number(),
  ms: z.number(),
  agents: z.array(reached).default([]),
  proxies: z.array(reached).default([]),
  missing: z.array(z.string()).default([]),
})

/** Of a host of the backbone. */
export const rekeyed = z.looseObject({ publicKey: z.string(), change: z.looseObject({ hosts: z.array(reached), missing: z.array(z.string()) }) })

export type Provisioning = z.infer<typeof provisioning>

export const redisObject = z.looseObject({
  id: z.string(),
  org: z.string(),
  name: z.string(),
  region: z.string(),
  replicas: z.array(z.string()).default([]),
  network: z.union([z.string(), z.number()]).optional(),
  address: z.string(),
  port: z.number(),
  hostname: z.string(),
  username: z.string(),
  /** Left out for a token that may only read. */
  password: z.string().optional(),
  url: z.string().optional(),
  env: z.record(z.string(), z.union([z.string(), z.number()])),
  tls: z.string().default('off'),
  users: z.array(z.string()).default([]),
  /** Absent: from anywhere. */
  allowedSources: z.array(z.string()).optional(),
  /** Absent: as its node is set. */
  parkAfterMinutes: z.union([z.number(), z.string()]).optional(),
  maxMemoryBytes: z.number(),
  engine: z.string().optional(),
  plan: z.string().optional(),
  limits: z.record(z.string(), z.number()).optional(),
  eviction: z.boolean().optional(),
  autoUpgrade: z.boolean().optional(),
  /** So many kept; absent: none taken. */
  dailyBackups: z.number().optional(),
  createdAt: z.string().optional(),
  state: z.unknown().optional(),
  provisioning: provisioning.optional(),
})
export type RedisObject = z.infer<typeof redisObject>

export const serviceObject = z.looseObject({ id: z.string(), name: z.string(), kind: z.string(), port: z.number() })
export const addressObject = z.looseObject({ address: z.string(), service: z.string().optional() })
export const tokenObject = z.looseObject({ id: z.string(), name: z.string().optional(), role: z.string().optional(), scopes: z.array(z.string()).optional(), expiresAt: z.string().optional(), token: z.string().optional() })
export const regionObject = z.looseObject({ id: z.string() })
export const joinToken = z.looseObject({ token: z.string() })

/** A list, bare or as the only array member of an object (`{"databases": […]}`). */
export function listOf<Item extends z.ZodType>(item: Item) {
  return z.preprocess((answer) => {
    if (Array.isArray(answer) || typeof answer !== 'object' || answer === null) return answer
    const arrays = Object.values(answer).filter(Array.isArray)
    return arrays.length === 1 ? arrays[0] : answer
  }, z.array(item))
}
export const anyObject = z.record(z.string(), z.unknown())
