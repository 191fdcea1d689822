/**
 * Statistics of the databases of this node: running engines are asked now and then, and what they say is added to the
 * accounts, so that nothing begins at nought again with each rest and restart. A resting engine isn't woken for it.
 */
import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { EngineLatency, RedisStatistics } from '../../../lib/feed/questions.ts'
import type { RedisLimit } from '../../../lib/redis-limits.ts'
import { redisLimits } from '../../../lib/redis-limits.ts'
import type { HeldEngines } from '../engine/held-engines.ts'
import type { Supervisor } from '../engine/supervisor.ts'
import type { Account } from '../limits/account.ts'
import { engineLatency, kindsCommand, LATENCY_COMMANDS } from './engine-latency.ts'
import type { EngineSample } from './sample.ts'
import { engineSample, SAMPLE_COMMAND } from './sample.ts'

export interface StatisticsOptions {
  readonly node: string
  readonly supervisors: () => ReadonlyMap<string, Supervisor>
  readonly account: (service: string) => Account | null
  /** Its clients are read, and their commands counted as they come. */
  readonly isRead: (service: string) => boolean
  readonly clients: (service: string) => number
  readonly held: Pick<HeldEngines, 'isHeld' | 'heldMs'>
  readonly dataOf: (service: string) => string
  readonly nowMs: () => number
}

interface Known {
  /** Of which run of the engine. */
  readonly pid: number
  readonly sample: EngineSample
  /** The last minute: when, and how many commands there had been. */
  readonly rates: { readonly atMs: number; readonly commands: number }[]
}

const RATE_MS = 60_000
const LIMITS = Object.keys(redisLimits.shape) as RedisLimit[]

export class Statistics {
  readonly #options: StatisticsOptions
  readonly #known = new Map<string, Known>()

  constructor(options: StatisticsOptions) {
    this.#options = options
  }

  /** Asks all that run. Never rejects. */
  async sample(): Promise<void> {
    await Promise.all([...this.#options.supervisors().keys()].map((service) => this.#sample(service)))
  }

  forget(service: string): void {
    this.#known.delete(service)
  }

  async of(service: string): Promise<RedisStatistics> {
    await this.#sample(service)
    const { node, supervisors, account, isRead, clients, held, dataOf, nowMs } = this.#options
    const supervisor = supervisors().get(service)
    const measured = supervisor?.answers === true && !supervisor.resting ? await latencyOf(supervisor) : undefined
    const known = this.#known.get(service)
    const counted = account(service)
    const usage = counted?.usage
    const oldest = known?.rates[0]
    const seconds = oldest === undefined ? 0 : (nowMs() - oldest.atMs) / 1000
    const limits = counted?.limits ?? {}
    const used: { [Each in RedisLimit]?: number } = { maxClients: clients(service), commandsPerDay: usage?.dayCommands ?? 0, commandsPerMonth: usage?.monthCommands ?? 0, bytesPerDay: usage?.dayBytes ?? 0 }
    return {
      node,
      role: supervisor?.specification.primary === null ? 'primary' : 'replica',
      resting: supervisor?.resting ?? false,
      connections: clients(service),
      commands: { total: usage?.commands ?? 0, day: usage?.dayCommands ?? 0, month: usage?.monthCommands ?? 0, perSecond: seconds > 1 ? ((usage?.commands ?? 0) - (oldest?.commands ?? 0)) / seconds : 0 },
      bytes: { up: usage?.bytesUp ?? 0, down: usage?.bytesDown ?? 0, day: usage?.dayBytes ?? 0, month: usage?.monthBytes ?? 0 },
      hits: usage?.hits ?? 0,
      misses: usage?.misses ?? 0,
      engine: known === undefined ? null : { keys: known.sample.keys, memoryBytes: known.sample.memoryBytes, evicted: known.sample.evicted, expired: known.sample.expired },
      diskBytes: await bytesIn(dataOf(service)),
      latency: isRead(service) ? { read: counted?.latencies.read.summary ?? null, write: counted?.latencies.write.summary ?? null } : null,
      ...(measured !== undefined && { engineLatency: measured }),
      heldBack: { now: held.isHeld(service), ms: Math.round(held.heldMs(service)) },
      limits: LIMITS.flatMap((limit) => {
        const [allowed, amount] = [limits[limit], used[limit]]
        return allowed === undefined ? [] : { limit, allowed, ...(amount !== undefined && { used: amount }), hits: counted?.hits.get(limit) ?? 0 }
      }),
    }
  }

  async #sample(service: string): Promise<void> {
    const { supervisors, account, isRead, nowMs } = this.#options
    const supervisor = supervisors().get(service)
    const pid = supervisor?.pid ?? null
    if (supervisor === undefined || pid === null || !supervisor.answers || supervisor.resting) return
    const [info] = (await supervisor.look([SAMPLE_COMMAND])) ?? []
    const counted = account(service)
    if (info?.kind !== 'text' || counted === null) return
    const sample = engineSample(info.text)
    const before = this.#known.get(service)
    // Of a run that an agent before this one began: that one has counted what came before, but for the last seconds.
    const first = supervisor.adopted ? sample : null
    const since = before?.pid === pid ? before.sample : first
    counted.looked(sample.hits - (since?.hits ?? 0), sample.misses - (since?.misses ?? 0))
    if (!isRead(service)) counted.counted(Math.max(0, sample.commands - (since?.commands ?? 0)))
    const nowAt = nowMs()
    const rates = [...(before?.rates ?? []).filter(({ atMs }) => nowAt - atMs <= RATE_MS), { atMs: nowAt, commands: counted.usage.commands }]
    this.#known.set(service, { pid, sample, rates })
  }
}

/** Of a directory that may be changing, and is its engine's: links in it lead nowhere. */
async function bytesIn(directory: string): Promise<number> {
  let bytes = 0
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => [])) {
    if (entry.isFile()) bytes += await lstat(join(entry.parentPath, entry.name)).then(({ size }) => size, () => 0)
  }
  return bytes
}

async function latencyOf(supervisor: Pick<Supervisor, 'look'>): Promise<EngineLatency | undefined> {
  const measured = await supervisor.look(LATENCY_COMMANDS)
  const kinds = await supervisor.look([kindsCommand(measured)])
  return engineLatency([...(measured ?? []), ...(kinds ?? [])])
}
