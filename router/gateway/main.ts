/**
 * The gateway: takes WireGuard peers in, and hands their packets to the proxy beside it through a TUN interface. A program
 * of its own that knows the feed and never the store: a hostile packet can't reach the process that keeps the registry.
 *
 *   node router/gateway/main.ts --config gateway.toml
 */
import { join as joinPath } from 'node:path'
import { parseArgs } from 'node:util'
import { startAdmin } from '../../lib/admin.ts'
import { loadConfig } from '../../lib/config.ts'
import { asNearcastError, NearcastError } from '../../lib/errors.ts'
import { peersQuestion } from '../../lib/feed/questions.ts'
import type { Changes, FeedTable } from '../../lib/feed/reader.ts'
import { FeedReader } from '../../lib/feed/reader.ts'
import { runCommand } from '../../lib/host-command.ts'
import { obtainIdentity } from '../../lib/joining.ts'
import { announceReady, Lifecycle, stopOnSignals } from '../../lib/lifecycle.ts'
import { parseListen } from '../../lib/listen.ts'
import type { Logger } from '../../lib/log.ts'
import { createLogger } from '../../lib/log.ts'
import { Metrics } from '../../lib/metrics.ts'
import { exitWith, keepCompiled } from '../../lib/program.ts'
import { VERSION } from '../../lib/version.ts'
import type { Bind } from '../../lib/wireguard/bind.ts'
import { Device } from '../../lib/wireguard/device.ts'
import { choosePath, kernelTun, udpBind } from '../../lib/wireguard/path.ts'
import type { PathChoice } from '../../lib/wireguard/path.ts'
import type { GatewayConfig } from './config.ts'
import { gatewayConfig } from './config.ts'
import { GuardedTun } from './guarded-tun.ts'
import { JoinedBind } from './joined-bind.ts'
import { gatewayMetrics } from './metrics.ts'
import { GatewayPeers } from './peers.ts'
import { gatewayKey } from './private-key.ts'
import { ReturnRoutes } from './return-routes.ts'
import { GatewayWebSocketBind } from './websocket-bind.ts'

/** Silent peers are looked for that often; none lives twice its time. */
const ROUNDS_PER_IDLE_TIME = 4

async function run(config: GatewayConfig): Promise<void> {
  const log = createLogger('gateway', config.log.level)
  const lifecycle = new Lifecycle()
  stopOnSignals(lifecycle, (failed) => log.error({ failed }, 'stopped late'))
  const prefix = Number.parseInt(config.prefix, 16)
  const metrics = new Metrics('gateway')

  const { privateKey, publicKey } = gatewayKey(config.stateDir)
  const { websocket } = config
  const gateway = { publicKey, endpoints: [config.advertise].flat(), ...(websocket.advertise !== undefined && { websocket: websocket.advertise }) }
  const identity = await obtainIdentity({ kind: 'gateway', ...config, reachedAt: () => ({ gateway }), log, lifecycle })

  const { name, mtu } = config.tun
  const path = choosePath(config.wireguard.path)
  const tun = kernelTun(path, name, mtu)
  const guarded = new GuardedTun(tun, prefix)
  const { handshakesPerSecond, maxPeers, idleSeconds } = config.wireguard
  const sockets = webSocketBind(websocket)
  const bind = new JoinedBind([...config.wireguard.listen.map((listen) => bindOf(listen, path)), ...(sockets === null ? [] : [sockets])])
  const device = new Device({ privateKey, bind, tun: guarded, handshakesPerSecond, admit: (key) => peers.admit(key) })
  const peers = new GatewayPeers({ device, prefix, idleMs: 1000 * idleSeconds, maxInstalled: maxPeers, nowMs: Date.now })
  await device.open()
  lifecycle.started('wireguard', () => device.close())
  const tidying = setInterval(() => peers.tidy(), (1000 * idleSeconds) / ROUNDS_PER_IDLE_TIME)
  lifecycle.started('tidying', () => clearInterval(tidying))

  const routes = config.manageHost ? new ReturnRoutes(tun.name, prefix, runCommand) : null
  const reader = new FeedReader({
    url: config.router,
    identity,
    cacheFile: joinPath(config.stateDir, 'feed.json'),
    program: `gateway ${VERSION}`,
    log,
    apply: async (table, changes) => {
      await apply(table, changes, peers, routes, log)
      return []
    },
    // oxlint-disable-next-line require-await -- a throw is to become a rejection
    ask: async (question, params) => {
      if (question === 'peers') return peers.seen(peersQuestion.parse(params).publicKeys)
      throw new NearcastError('feed.ask-failed', `A gateway of this version can't answer "${question}".`)
    },
  })
  gatewayMetrics(metrics, { path: path.name, device, tun: guarded, peers, webSockets: () => sockets?.connections ?? 0, feed: () => ({ state: reader.state, revision: reader.revision }) })
  const ready = (): string[] => (lifecycle.state === 'ready' ? [] : [lifecycle.state])
  const admin = config.admin.listen === undefined ? null : await startAdmin({ listen: config.admin.listen, metrics, ready })
  if (admin) lifecycle.started('admin', () => admin.close())
  lifecycle.started('feed reader', () => reader.stop())
  await reader.start()
  if (lifecycle.state !== 'starting') return
  announceReady(lifecycle)
  log.info({ id: config.id, region: config.region, port: device.port, interface: tun.name, path: path.name, reason: path.reason, publicKey, adminPort: admin?.port ?? null }, 'ready')
  keepCompiled()
}

/** Who is out is out at once; a route that can't be made is said, and tried again with the next revision. */
async function apply(table: FeedTable, changes: Changes, peers: GatewayPeers, routes: ReturnRoutes | null, log: Logger): Promise<void> {
  peers.apply(table, changes)
  try {
    await routes?.replace(peers.networks())
  } catch (error) {
    const { code, message } = asNearcastError(error)
    log.error({ code }, message)
  }
}

function bindOf(listen: string, path: PathChoice): Bind {
  const target = parseListen(listen)
  if (target.kind === 'unix') throw new NearcastError('config.invalid', `wireguard.listen: ${listen} takes no datagrams.`)
  if (target.kind === 'fd') return udpBind(path, { fd: target.fd })
  const isIpv6 = target.host.includes(':')
  return udpBind(path, { port: target.port, ipv4: isIpv6 ? null : target.host, ipv6: isIpv6 ? target.host : null })
}

function webSocketBind({ listen, certificate, key, maxConnections }: GatewayConfig['websocket']): GatewayWebSocketBind | null {
  if (listen === undefined || certificate === undefined || key === undefined) return null
  return new GatewayWebSocketBind({ listen, certificate, key, maxConnections })
}

try {
  // The key is for nobody else to read.
  process.umask(0o077)
  const { values } = parseArgs({ options: { config: { type: 'string' } } })
  await run(loadConfig(gatewayConfig, { program: 'GATEWAY', file: values.config }))
} catch (error) {
  exitWith(error)
}
