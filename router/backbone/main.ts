/**
 * The backbone on one host: WireGuard among all hosts, under the addresses that they have. Programs dial what they always
 * dial; what goes from host to host goes through here while the other host can be reached so. A program of its own that
 * knows the feed and never the store.
 *
 *   node router/backbone/main.ts --config backbone.toml
 */
import { join as joinPath } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { startAdmin } from '../../lib/admin.ts'
import { loadConfig } from '../../lib/config.ts'
import { asNearcastError, NearcastError } from '../../lib/errors.ts'
import type { BackboneRow } from '../../lib/feed/messages.ts'
import { FeedReader } from '../../lib/feed/reader.ts'
import { runCommand } from '../../lib/host-command.ts'
import { obtainIdentity } from '../../lib/joining.ts'
import type { Support } from '../../lib/kernel/ffi.ts'
import { announceReady, Lifecycle, stopOnSignals } from '../../lib/lifecycle.ts'
import { parseListen } from '../../lib/listen.ts'
import type { Logger } from '../../lib/log.ts'
import { createLogger } from '../../lib/log.ts'
import { Metrics } from '../../lib/metrics.ts'
import { exitWith, keepCompiled } from '../../lib/program.ts'
import { VERSION } from '../../lib/version.ts'
import { choosePath } from '../../lib/wireguard/path.ts'
import type { BackboneDevice } from './backbone-device.ts'
import type { BackboneConfig } from './config.ts'
import { backboneConfig, ownAddresses } from './config.ts'
import { BackboneKeys } from './keys.ts'
import { Mesh } from './mesh.ts'
import { backboneMetrics } from './metrics.ts'
import { OwnDevice } from './own-device.ts'
import type { OwnDeviceOptions } from './own-device.ts'
import { BackboneRoutes, MARK } from './routes.ts'
import { probeKernelWireguard, WgInterface } from './wg-interface.ts'
import type { WgInterfaceOptions } from './wg-interface.ts'

/** How soon a host that is reached, or isn't any more, is routed so. */
const LOOK_MS = 250
/** For a word of farewell to get to the other end of the world. */
const FAREWELL_MS = 500

async function run(config: BackboneConfig): Promise<void> {
  const log = createLogger('backbone', config.log.level)
  const lifecycle = new Lifecycle()
  stopOnSignals(lifecycle, (failed) => log.error({ failed }, 'stopped late'))
  const metrics = new Metrics('backbone')
  const addresses = ownAddresses(config)
  const keys = new BackboneKeys(config.stateDir)
  const place = { publicKey: keys.publicKey, endpoint: config.advertise, addresses }
  const identity = await obtainIdentity({ kind: 'backbone', ...config, reachedAt: () => ({ backbone: place }), log, lifecycle })

  const { name } = config.interface
  const { keepaliveSeconds, silenceSeconds } = config.wireguard
  const device = await openDevice(config, keys, {
    admit: (key) => mesh.admit(key),
    onFarewell: (address) => {
      mesh.farewell(address)
      void look()
    },
    onFailure: (error) => log.error({ code: asNearcastError(error).code }, error.message),
  })
  const mesh = new Mesh({ self: config.id, device, keepaliveSeconds, silenceMs: 1000 * silenceSeconds, nowMs: () => performance.now() })
  lifecycle.started('wireguard', () => device.close())
  const required = config.required ? { feedPort: Number(new URL(config.router).port || 443) } : null
  const routes = new BackboneRoutes({ name, source: addresses[0] ?? '', required, run: runCommand })
  await routes.open()
  lifecycle.started('routes', () => routes.close())
  lifecycle.started('farewell', async () => {
    device.sayFarewell(addresses[0] ?? '', reachedAddresses)
    // Until they have left what they still send comes in here.
    await delay(FAREWELL_MS)
  })

  let known: ReadonlySet<string> = new Set()
  let reached: readonly string[] = []
  let reachedAddresses: readonly string[] = []
  let failure = ''
  const look = async (): Promise<void> => {
    await device.look()
    const rows = mesh.reached()
    const ids = rows.map(({ id }) => id)
    if (ids.join() !== reached.join()) log.info({ reached: ids, known: mesh.size }, 'hosts reached through the backbone')
    reached = ids
    reachedAddresses = rows.flatMap((row) => row.addresses)
    // A route that can't be made is said once, and tried again.
    const failed = await routes.replace(new Set(reachedAddresses), known).then(() => '', (error: unknown) => asNearcastError(error).message)
    if (failed !== '' && failed !== failure) log.error({ code: 'host.failed' }, failed)
    failure = failed
  }
  const reader = new FeedReader({
    url: config.router,
    identity,
    cacheFile: joinPath(config.stateDir, 'feed.json'),
    program: `backbone ${VERSION}`,
    log,
    apply: async ({ backbone }) => {
      const privateKey = ownKey(backbone.get(config.id), keys, log)
      if (privateKey !== null) device.setPrivateKey(privateKey)
      // Who is taken off doesn't hear it from the feed.
      device.sayFarewell(addresses[0] ?? '', mesh.gone(backbone))
      mesh.apply(backbone)
      if (privateKey !== null) {
        mesh.greet()
        log.info({ publicKey: keys.publicKey }, 'a new key is in use')
      }
      known = new Set([...backbone.values()].flatMap((row) => (row.id === config.id ? [] : row.addresses)))
      await look()
      return []
    },
    // oxlint-disable-next-line require-await -- a throw is to become a rejection
    ask: async (question) => {
      if (question === 'backbone.reaches') return { implementation: device.implementation, reaches: reached }
      if (question === 'backbone.next-key') return { publicKey: keys.offer() }
      throw new NearcastError('feed.ask-failed', `A backbone of this version can't answer "${question}".`)
    },
  })
  backboneMetrics(metrics, {
    path: device.path.name,
    hosts: () => ({ known: mesh.size, reached: reached.length }),
    bytes: () => device.peers().reduce((sum, peer) => ({ received: sum.received + peer.receivedBytes, sent: sum.sent + peer.sentBytes }), { received: 0, sent: 0 }),
    drops: () => device.drops,
    feed: () => ({ state: reader.state, revision: reader.revision }),
  })
  const ready = (): string[] => (lifecycle.state === 'ready' ? [] : [lifecycle.state])
  const admin = config.admin.listen === undefined ? null : await startAdmin({ listen: config.admin.listen, metrics, ready })
  if (admin) lifecycle.started('admin', () => admin.close())
  lifecycle.started('feed reader', () => reader.stop())
  await reader.start()
  const looking = setInterval(() => void look(), LOOK_MS)
  lifecycle.started('looking', () => clearInterval(looking))
  if (lifecycle.state !== 'starting') return
  announceReady(lifecycle)
  log.info({ id: config.id, region: config.region, interface: name, path: device.path.name, pathReason: device.path.reason, addresses, publicKey: keys.publicKey, adminPort: admin?.port ?? null }, 'ready')
  keepCompiled()
}

/** @returns the private key to use from now on, or null: none but the present one */
function ownKey(row: BackboneRow | undefined, keys: BackboneKeys, log: Logger): Uint8Array | null {
  try {
    return row === undefined ? null : keys.follow(row.keys)
  } catch (error) {
    const { code, message } = asNearcastError(error)
    log.error({ code }, message)
    return null
  }
}

type Listeners = Pick<OwnDeviceOptions, 'admit' | 'onFarewell'> & Pick<WgInterfaceOptions, 'onFailure'>

/** @throws NearcastError kernel.unsupported when the kernel's WireGuard is wanted and can't be had; listen.*, host.*, wireguard.* */
async function openDevice({ wireguard, interface: { name, mtu } }: BackboneConfig, keys: BackboneKeys, { admit, onFarewell, onFailure }: Listeners): Promise<BackboneDevice> {
  const target = parseListen(wireguard.listen)
  if (target.kind !== 'tcp') throw new NearcastError('config.invalid', `wireguard.listen: ${wireguard.listen} takes no datagrams.`)
  const options = { name, mtu, listen: target, mark: MARK, privateKey: keys.privateKey() }
  const kernel: Support = wireguard.implementation === 'nearcast' ? { answer: 'no', reason: 'configured' } : await probeKernelWireguard(runCommand)
  if (kernel.answer === 'yes') return WgInterface.open({ ...options, keyFile: keys.file, run: runCommand, nowMs: Date.now, onFailure }, wireguard.implementation === 'kernel' ? 'configured' : 'this kernel has it')
  if (wireguard.implementation === 'kernel') throw new NearcastError('kernel.unsupported', `wireguard.implementation = "kernel" can't be had here: ${kernel.reason} Use "nearcast", or "auto".`)
  return OwnDevice.open({ ...options, path: choosePath(wireguard.path), admit, onFarewell })
}

try {
  // The key is for nobody else to read.
  process.umask(0o077)
  const { values } = parseArgs({ options: { config: { type: 'string' } } })
  await run(loadConfig(backboneConfig, { program: 'BACKBONE', file: values.config }))
} catch (error) {
  exitWith(error)
}
