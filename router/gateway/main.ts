/**
 * The gateway: takes WireGuard peers in, and hands their packets to the proxy beside it through a TUN interface. A program
 * of its own that knows the feed and never the store: a hostile packet can't reach the process that keeps the registry.
 *
 *   node router/gateway/main.ts --config gateway.toml
 */
import { join as joinPath } from 'node:path'
import { parseArgs } from 'node:util'
import { asNetworkId } from '../../lib/address.ts'
import { startAdmin } from '../../lib/admin.ts'
import { loadConfig } from '../../lib/config.ts'
import { asNearcastError, NearcastError } from '../../lib/errors.ts'
import { peersQuestion } from '../../lib/feed/questions.ts'
import type { Changes, FeedTable } from '../../lib/feed/reader.ts'
import { FeedReader } from '../../lib/feed/reader.ts'
import { runCommand } from '../../lib/host-command.ts'
import { obtainIdentity } from '../../lib/joining.ts'
import { announceReady, Lifecycle, stopOnSignals } from '../../lib/lifecycle.ts'
import type { Logger } from '../../lib/log.ts'
import { createLogger } from '../../lib/log.ts'
import { Metrics } from '../../lib/metrics.ts'
import { exitWith, keepCompiled } from '../../lib/program.ts'
import { VERSION } from '../../lib/version.ts'
import { choosePath } from '../../lib/wireguard/path.ts'
import type { GatewayConfig } from './config.ts'
import { gatewayConfig } from './config.ts'
import type { PeersChange } from './gateway-device.ts'
import { gatewayMetrics } from './metrics.ts'
import { gatewayKey } from './private-key.ts'
import { ReturnRoutes } from './return-routes.ts'
import { ThreadedPath } from './threaded-path.ts'

async function run(config: GatewayConfig): Promise<void> {
  const log = createLogger('gateway', config.log.level)
  const lifecycle = new Lifecycle()
  stopOnSignals(lifecycle, (failed) => log.error({ failed }, 'stopped late'))
  const prefix = Number.parseInt(config.prefix, 16)
  const metrics = new Metrics('gateway')

  const { privateKey, publicKey } = gatewayKey(config.stateDir)
  const { websocket, neighbours } = config
  const gateway = {
    publicKey,
    endpoints: [config.advertise].flat(),
    ...(websocket.advertise !== undefined && { websocket: websocket.advertise }),
    ...(neighbours.advertise !== undefined && { neighbours: neighbours.advertise }),
  }
  const identity = await obtainIdentity({ kind: 'gateway', ...config, reachedAt: () => ({ gateway }), log, lifecycle })

  const path = choosePath(config.wireguard.path)
  const data = await ThreadedPath.start({ path, prefix, wireguard: config.wireguard, websocket, tun: config.tun, neighbours }, privateKey, (reason) => {
    log.error({ code: 'internal' }, reason)
    process.exit(1)
  })
  lifecycle.started('wireguard', () => data.close())

  const routes = config.manageHost ? new ReturnRoutes(data.interface, prefix, runCommand) : null
  const reader = new FeedReader({
    url: config.router,
    identity,
    cacheFile: joinPath(config.stateDir, 'feed.json'),
    program: `gateway ${VERSION}`,
    log,
    apply: async (table, changes) => {
      await apply(table, changes, data, routes, log)
      return []
    },
    ask: async (question, params) => {
      if (question === 'peers') return await data.seen(peersQuestion.parse(params).publicKeys)
      throw new NearcastError('feed.ask-failed', `A gateway of this version can't answer "${question}".`)
    },
  })
  gatewayMetrics(metrics, { path: path.name, data: () => data.state(), feed: () => ({ state: reader.state, revision: reader.revision }) })
  const ready = (): string[] => (lifecycle.state === 'ready' ? [] : [lifecycle.state])
  const admin = config.admin.listen === undefined ? null : await startAdmin({ listen: config.admin.listen, metrics, ready })
  if (admin) lifecycle.started('admin', () => admin.close())
  lifecycle.started('feed reader', () => reader.stop())
  await reader.start()
  if (lifecycle.state !== 'starting') return
  announceReady(lifecycle)
  log.info({ id: config.id, region: config.region, port: data.port, interface: data.interface, path: path.name, reason: path.reason, publicKey, adminPort: admin?.port ?? null }, 'ready')
  keepCompiled()
}

/** Who is out is out at once; a route that can't be made is said, and tried again with the next revision. */
async function apply(table: FeedTable, changes: Changes, data: ThreadedPath, routes: ReturnRoutes | null, log: Logger): Promise<void> {
  const rows = [...table.wireguard.values()]
  const change: PeersChange = typeof changes === 'string' ? { type: 'all', rows } : { type: 'some', changes: changes.filter(({ table: name }) => name === 'wireguard') }
  await data.apply(change)
  await data.applyNeighbours([...table.dialers.values()].flatMap(({ gateway }) => gateway ?? []))
  try {
    await routes?.replace(new Set(rows.map(({ network }) => asNetworkId(network))))
  } catch (error) {
    const { code, message } = asNearcastError(error)
    log.error({ code }, message)
  }
}

try {
  // The key is for nobody else to read.
  process.umask(0o077)
  const { values } = parseArgs({ options: { config: { type: 'string' } } })
  await run(loadConfig(gatewayConfig, { program: 'GATEWAY', file: values.config }))
} catch (error) {
  exitWith(error)
}
