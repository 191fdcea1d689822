/** The router's configuration: keys, limits and defaults. nearcast.example.toml is the manual. */
import { join } from 'node:path'
import { z } from 'zod'
import { loadConfig } from '../lib/config.ts'
import { NearcastError } from '../lib/errors.ts'
import { ID_PATTERN } from '../lib/identity.ts'
import { isLoopback, parseListen } from '../lib/listen.ts'
import { LOG_LEVELS } from '../lib/log.ts'
import { PLAN_NAME, redisPlan } from './registry/objects/plans.ts'

const listen = z.string().superRefine((text, context) => {
  try {
    parseListen(text)
  } catch (error) {
    context.addIssue(error instanceof Error ? error.message : String(error))
  }
})

const count = z.int().min(0).max(1_000_000)

export const routerConfig = z.strictObject({
  /** Its identity is router/<id>. */
  id: z.string().regex(ID_PATTERN).default('main'),
  /** The store, the CA and the keys. */
  stateDir: z.string().min(1),
  /** First 16 bits of every address, hexadecimal. */
  prefix: z.string().regex(/^[0-9a-f]{4}$/, 'four hexadecimal digits, like fdaa').default('fdaa'),
  api: z
    .strictObject({
      /** Plain HTTP: loopback, unix:/path, or fd:N inherited from the starter. */
      listen: listen.default('127.0.0.1:7200'),
      ratePerSecond: z.number().min(1).max(100_000).default(100),
      burst: z.int().min(1).max(100_000).default(200),
    })
    .prefault({}),
  feed: z
    .strictObject({
      /** TLS: the feed, the join of programs, and the API again. */
      listen: listen.default('[::]:7300'),
      /** Addresses and names in the certificate, for API clients over TLS; host or host:port. */
      advertise: z.union([z.string(), z.array(z.string()).max(16)]).default([]),
    })
    .prefault({}),
  /** Where the operator's first token is written; default: operator.token in stateDir. */
  bootstrapTokenFile: z.string().min(1).optional(),
  /** Of each organization. */
  quotas: z
    .strictObject({ networks: count.default(16), databases: count.default(200), services: count.default(200), addresses: count.default(2000), grants: count.default(200), peers: count.default(200) })
    .prefault({}),
  /** Of databases; `nearcast redis plans` lists them. */
  plans: z.array(redisPlan).max(64).default([]),
  /** Of databases that are made without naming one. */
  defaultPlan: z.string().regex(PLAN_NAME).optional(),
  admin: z.strictObject({ listen: listen.optional() }).prefault({}),
  log: z.strictObject({ level: z.enum(LOG_LEVELS).default('info') }).prefault({}),
})

export type RouterConfig = Omit<z.infer<typeof routerConfig>, 'prefix' | 'bootstrapTokenFile'> & {
  readonly prefix: number
  readonly bootstrapTokenFile: string
  /** Hosts only. */
  readonly advertised: readonly string[]
  /** Given by the starter in NEARCAST_BOOTSTRAP_TOKEN. */
  readonly bootstrapToken: string | undefined
}

/** @throws NearcastError config.missing, config.invalid */
export function loadRouterConfig(file: string | undefined, env: NodeJS.ProcessEnv = process.env): RouterConfig {
  const config = loadConfig(routerConfig, { file, program: 'ROUTER', env })
  const target = parseListen(config.api.listen)
  if (target.kind === 'tcp' && !isLoopback(target.host)) {
    throw new NearcastError(
      'config.invalid',
      `api.listen: tokens would cross the network unencrypted on ${target.host}; listen on 127.0.0.1, [::1] or unix:/path, and use feed.listen (TLS) from afar.`,
    )
  }
  const bootstrapToken = env['NEARCAST_BOOTSTRAP_TOKEN']
  if (bootstrapToken !== undefined && !/^[\x21-\x7e]{32,200}$/.test(bootstrapToken)) {
    throw new NearcastError('config.invalid', 'NEARCAST_BOOTSTRAP_TOKEN: 32 to 200 printable characters without spaces.')
  }
  const { plans, defaultPlan } = config
  if (new Set(plans.map((plan) => plan.name)).size < plans.length) throw new NearcastError('config.invalid', 'plans: two of them have the same name.')
  if (defaultPlan !== undefined && !plans.some((plan) => plan.name === defaultPlan)) throw new NearcastError('config.invalid', `defaultPlan: there is no plan "${defaultPlan}".`)
  const advertise = typeof config.feed.advertise === 'string' ? [config.feed.advertise] : config.feed.advertise
  return {
    ...config,
    prefix: Number.parseInt(config.prefix, 16),
    bootstrapTokenFile: config.bootstrapTokenFile ?? join(config.stateDir, 'operator.token'),
    advertised: advertise.map((place) => place.replace(/^\[([^\]]+)\](:\d+)?$/, '$1').replace(/^([^:]+):\d+$/, '$1')),
    bootstrapToken,
  }
}
