/**
 * What the agent counts. One place that knows all names; values that are cheaper read on demand are collected then.
 */
import type { Counter, Gauge } from '../lib/metrics.ts'
import { Metrics } from '../lib/metrics.ts'
import { redisLimits } from '../lib/redis-limits.ts'
import { BackendWatch } from './backends/backend-watch.ts'
import type { Backends } from './backends/backends.ts'
import type { RefusalReason } from './connection.ts'
import type { ForkTurns } from './redis/engine/fork-turns.ts'
import type { HeldEngines } from './redis/engine/held-engines.ts'
import type { Walls } from './redis/engine/walls.ts'
import type { Supervisor } from './redis/engine/supervisor.ts'

export interface AgentSources {
  readonly perService: () => ReadonlyMap<string, number>
  readonly supervisors: () => ReadonlyMap<string, Supervisor>
  readonly held: Pick<HeldEngines, 'isHeld'>
  readonly backends: () => Backends['services']
  readonly forks: () => Pick<ForkTurns, 'running' | 'waiting'>
  readonly sessions: () => number
  readonly revision: () => number
}

export class AgentMetrics {
  readonly metrics = new Metrics('agent')
  readonly connections: Counter<'service' | 'purpose'>
  readonly refused: Counter<'reason'>
  readonly cut: Counter<'reason'>
  readonly restarts: Counter<'service'>
  readonly adopted: Counter<'service'>
  readonly limited: Counter<'service' | 'limit'>
  readonly plane: Gauge<'plane'>

  constructor() {
    this.connections = this.metrics.counter('connections_total', 'Connections admitted.', ['service', 'purpose'])
    this.refused = this.metrics.counter<'reason'>('refused_total', 'Connections refused, by reason.', ['reason'])
    this.cut = this.metrics.counter('cut_total', 'Live connections cut because the feed no longer allows them.', ['reason'])
    this.limited = this.metrics.counter('limited_total', 'Commands and connections refused, and scripts ended, for a limit of their database.', ['service', 'limit'])
    this.plane = this.metrics.gauge('plane', 'Who moves the bytes.', ['plane'])
    this.restarts = this.metrics.counter('engine_restarts_total', 'Ends of an engine that were not asked for.', ['service'])
    this.adopted = this.metrics.counter('engine_adoptions_total', 'Engines of an agent before this one that go on as its own.', ['service'])
    // A reason that has happened once must not look as if it began with 1.
    for (const reason of ['bad-signature', 'replayed', 'malformed'] satisfies RefusalReason[]) this.refused.inc({ reason }, 0)
  }

  /** Once everything exists that is read on demand. */
  observe(sources: AgentSources, walls: Walls | null): void {
    const { metrics } = this
    metrics.gauge('connections_open', 'Connections open now.', ['service'], (gauge) => {
      gauge.reset()
      for (const [service, count] of sources.perService()) gauge.set({ service }, count)
    })
    const perEngine = (name: string, help: string, value: (supervisor: Supervisor, service: string) => boolean | null): void => {
      metrics.gauge(name, help, ['service'], (gauge) => {
        gauge.reset()
        for (const [service, supervisor] of sources.supervisors()) {
          const now = value(supervisor, service)
          if (now !== null) gauge.set({ service }, now ? 1 : 0)
        }
      })
    }
    perEngine('engine_up', 'The engine answers PING; absent while it rests.', ({ answers, resting }) => (resting ? null : answers))
    perEngine('engine_resting', 'The engine was ended because nobody used it; the next connection starts it.', ({ resting }) => resting)
    perEngine('service_available', 'Clients are sent to this database here.', ({ reason }) => reason === null)
    perEngine('replication_link_up', 'The replica follows its primary.', ({ linked }) => linked)
    perEngine('engine_writes_refused', 'Redis refuses writes because its append-only file cannot be written.', ({ writesRefused }) => writesRefused)
    perEngine('engine_held_back', 'The engine keeps a processor busy, so its neighbours go first.', (_supervisor, service) => sources.held.isHeld(service))
    metrics.gauge('backend_up', 'The backend of a tcp or postgres service answers and may be dialled.', ['service'], (gauge) => {
      gauge.reset()
      for (const [service, watch] of sources.backends()) gauge.set({ service }, watch instanceof BackendWatch && watch.reason === null ? 1 : 0)
    })
    metrics.gauge('engine_forks', 'Engines that write their file anew or send a whole copy, and those that wait for a turn to.', ['state'], (gauge) => {
      gauge.set({ state: 'running' }, sources.forks().running)
      gauge.set({ state: 'waiting' }, sources.forks().waiting)
    })
    metrics.gauge('sessions_open', 'Sessions of dialers.', [], (gauge) => gauge.set(sources.sessions()))
    metrics.gauge('feed_revision', 'Revision of the feed in force.', [], (gauge) => gauge.set(sources.revision()))
    const wall = metrics.gauge('engine_wall', 'Walls around engines that are in force.', ['wall'])
    if (walls === null) return
    for (const name of ['network', 'uid', 'capabilities'] as const) wall.set({ wall: name }, walls[name] ? 1 : 0)
    wall.set({ wall: 'cgroup' }, walls.cgroup === null ? 0 : 1)
    for (const name of ['cpu', 'io']) wall.set({ wall: name }, walls.cgroup?.controllers.has(name) === true ? 1 : 0)
  }

  /** A removed service leaves no series behind. */
  forget(service: string): void {
    this.restarts.remove({ service })
    this.adopted.remove({ service })
    for (const limit of Object.keys(redisLimits.shape)) this.limited.remove({ service, limit })
    for (const purpose of ['client', 'replication']) this.connections.remove({ service, purpose })
  }
}
