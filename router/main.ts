/**
 * The router as a process: the registry with its API and feed.
 *
 *   node router/main.ts --config router.toml
 *   node router/main.ts store backup|restore|verify [file] --config router.toml     (store-command.ts)
 */
import { mkdirSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { startAdmin } from '../lib/admin.ts'
import { asNearcastError } from '../lib/errors.ts'
import { announceReady, Lifecycle, stopOnSignals } from '../lib/lifecycle.ts'
import { createLogger } from '../lib/log.ts'
import type { Logger } from '../lib/log.ts'
import { Metrics } from '../lib/metrics.ts'
import { exitWith, keepCompiled } from '../lib/program.ts'
import { bootstrapToken } from './bootstrap.ts'
import { loadRouterConfig } from './config.ts'
import type { RouterConfig } from './config.ts'
import { listenPlain, listenTls } from './listeners.ts'
import { createListener } from './registry/api/http.ts'
import { routerMetrics } from './metrics.ts'
import { apiRoutes } from './registry/api/routes.ts'
import { openRegistry } from './registry/registry.ts'
import { askAgent } from './registry/agent-questions.ts'
import type { UpgradesOptions } from './registry/upgrades.ts'
import { Upgrades } from './registry/upgrades.ts'
import { storeCommand } from './store-command.ts'

/** How often it is looked whether a daily backup is due, or a database at a limit of its plan. */
const ROUND_INTERVAL_MS = 60_000
const STATISTICS_MS = 3000

async function run(config: RouterConfig): Promise<void> {
  const { id, stateDir, prefix, quotas, plans, defaultPlan } = config
  const log = createLogger('router', config.log.level)
  const lifecycle = new Lifecycle()
  stopOnSignals(lifecycle, (failed) => log.error({ failed }, 'parts failed to stop'))
  const metrics = new Metrics('router')

  mkdirSync(stateDir, { recursive: true, mode: 0o700 })
  const registry = await openRegistry({ id, stateDir, prefix, quotas, plans: { plans, defaultPlan }, log })
  lifecycle.started('registry', () => registry.close())
  bootstrapToken(registry, config)

  const { requests } = routerMetrics(metrics, registry)
  const rate = { perSecond: config.api.ratePerSecond, burst: config.api.burst }
  const listener = createListener({
    store: registry.store,
    clock: registry.clock,
    routes: apiRoutes(registry, rate),
    rate,
    log,
    onRequest: (method, status) => requests.inc({ method, status: String(status) }),
  })
  const feed = await listenTls(config.feed.listen, config.advertised, registry, listener)
  lifecycle.started('feed listener', () => feed.close())
  const api = await listenPlain(config.api.listen, listener)
  lifecycle.started('api listener', () => api.close())
  let admin = 0
  if (config.admin.listen !== undefined) {
    const ready = (): string[] => (lifecycle.state === 'ready' ? [] : [lifecycle.state])
    const server = await startAdmin({ listen: config.admin.listen, metrics, ready })
    lifecycle.started('admin', () => server.close())
    admin = server.port
  }
  const daily = everyRound('daily backups', () => registry.backups.tick(), log)
  lifecycle.started('daily backups', () => clearInterval(daily))
  const statisticsOf: UpgradesOptions['statisticsOf'] = (node, service) => askAgent(registry, node, 'redis.statistics', { service }, STATISTICS_MS).catch(() => null)
  const upgrades = new Upgrades({ store: registry.store, plans: registry.plans, log, statisticsOf })
  const upgrading = everyRound('upgrades', () => upgrades.tick(), log)
  lifecycle.started('upgrades', () => clearInterval(upgrading))
  announceReady(lifecycle)
  log.info({ id, api: api.port, feed: feed.port, admin, revision: registry.store.revision }, 'ready')
  keepCompiled()
}

/** One round at a time: a backup may take longer than the interval. */
function everyRound(what: string, tick: () => Promise<void>, log: Logger): NodeJS.Timeout {
  let busy = false
  const round = async (): Promise<void> => {
    if (busy) return
    busy = true
    try {
      await tick()
    } catch (error) {
      log.error({ error: asNearcastError(error).message }, what)
    }
    busy = false
  }
  return setInterval(() => void round(), ROUND_INTERVAL_MS).unref()
}

try {
  // Keys and credentials: nothing that this process makes is for others to read.
  process.umask(0o077)
  const { values, positionals } = parseArgs({ options: { config: { type: 'string' } }, allowPositionals: true })
  const config = loadRouterConfig(values.config)
  if (positionals[0] === 'store') storeCommand(config, positionals.slice(1))
  else await run(config)
} catch (error) {
  exitWith(error)
}
