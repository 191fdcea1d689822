/**
 * Databases that go on to the next plan by themselves: their owner has switched that on, and they have met a limit of what they
 * use. Plans follow each other as the operator has written them; the next one is the first behind the present one that gives
 * more of what was short, and doesn't begin to drop keys. Limits that only a mistake meets (an oversized request, an endless
 * script) move nobody.
 */
import type { RedisStatistics } from '../../lib/feed/questions.ts'
import type { Logger } from '../../lib/log.ts'
import type { RedisLimit } from '../../lib/redis-limits.ts'
import type { Plans, RedisPlan } from './objects/plans.ts'
import { setSize } from './objects/plans.ts'
import type { ServiceRecord } from './store/records.ts'
import type { Act, Store } from './store/store.ts'

export interface UpgradesOptions {
  readonly store: Store
  readonly plans: Plans
  readonly log: Logger
  /** Of one node; null: it doesn't say now. */
  readonly statisticsOf: (node: string, service: string) => Promise<RedisStatistics | null>
}

type Redis = NonNullable<ServiceRecord['redis']>
export type Short = RedisLimit | 'maxMemoryBytes'

const ACT: Act = { who: 'router', what: 'redis.upgrade' }
const OF_USE: readonly RedisLimit[] = ['maxClients', 'commandsPerSecond', 'commandsPerDay', 'commandsPerMonth', 'bytesPerDay']

export class Upgrades {
  readonly #options: UpgradesOptions
  /** How often a limit had been met, by service, node and limit. */
  readonly #met = new Map<string, number>()

  constructor(options: UpgradesOptions) {
    this.#options = options
  }

  /** Looks at all of them once. For a timer. */
  async tick(): Promise<void> {
    const { store, plans, log } = this.#options
    const services = store.list('services').filter(({ redis }) => redis?.autoUpgrade === true && redis.plan !== undefined)
    const known = new Set(services.map(({ id }) => id))
    for (const key of this.#met.keys()) if (!known.has(key.split(' ')[0] ?? '')) this.#met.delete(key)
    await Promise.all(
      services.map(async ({ id, redis, placements }) => {
        const said = await Promise.all(placements.map(({ node }) => this.#options.statisticsOf(node, id)))
        const short = said.flatMap((statistics) => (statistics === null || redis === undefined ? [] : this.#short(id, redis, statistics)))
        const present = store.get('services', id)?.redis
        // Somebody may have chosen another one meanwhile.
        if (short.length === 0 || present?.plan === undefined || present.plan !== redis?.plan || present.autoUpgrade !== true) return
        const next = nextPlan(plans.plans, present, short)
        if (next === null) return
        store.write(ACT, (transaction) => setSize(transaction, id, { plan: next.name }, plans))
        log.info({ service: id, from: present.plan, to: next.name, short }, 'a database goes on to the next plan')
      }),
    )
  }

  #short(service: string, { maxMemoryBytes, eviction }: Redis, { node, engine, limits }: RedisStatistics): Short[] {
    const full = eviction !== true && engine !== null && engine.memoryBytes >= maxMemoryBytes
    const short = OF_USE.filter((name) => {
      const said = limits.find(({ limit }) => limit === name)
      if (said === undefined) return false
      const key = `${service} ${node} ${name}`
      const before = this.#met.get(key)
      this.#met.set(key, said.hits)
      // What was met before this router looked for the first time may be long over.
      return (said.used !== undefined && said.used >= said.allowed) || (before !== undefined && said.hits > before)
    })
    return full ? ['maxMemoryBytes', ...short] : short
  }
}

/** null: none gives more of all that was short. */
export function nextPlan(plans: readonly RedisPlan[], present: Pick<Redis, 'plan' | 'limits' | 'maxMemoryBytes' | 'eviction'>, short: readonly Short[]): RedisPlan | null {
  const at = plans.findIndex(({ name }) => name === present.plan)
  if (at < 0) return null
  const gives = (plan: RedisPlan, name: Short): boolean => {
    if (name === 'maxMemoryBytes') return (plan.maxMemoryBytes ?? 0) > present.maxMemoryBytes
    return (plan[name] ?? Infinity) > (present.limits?.[name] ?? Infinity)
  }
  const keepsKeys = ({ eviction }: RedisPlan): boolean => eviction !== true || present.eviction === true
  return plans.slice(at + 1).find((plan) => keepsKeys(plan) && short.every((name) => gives(plan, name))) ?? null
}
