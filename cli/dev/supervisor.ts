/**
 * `nearcast dev`: opens what the outside sees (API, 127.0.0.1:16379, control socket), builds the cluster, obeys commands,
 * and ends everything when it is asked to, when the cluster ends, or when its starter ends.
 */
import { NearcastError } from '../../lib/errors.ts'
import type { WantedPlane } from '../../lib/plane/wanted.ts'
import { bindUdp, listenTcp } from '../../lib/kernel/listen.ts'
import type { ListeningSocket } from '../../lib/kernel/listen.ts'
import { Cluster } from './cluster.ts'
import type { ClusterInfo } from './control-client.ts'
import type { ControlRequest } from './control-protocol.ts'
import { ControlServer } from './control-server.ts'
import { Faults } from './faults.ts'
import { captureLinks } from './line-capture.ts'
import { readTopology } from './topology-file.ts'
import { requireUserNamespaces } from './user-namespaces.ts'

export const FORWARD_PORT = 16_379
export const FORWARD_HOST = '127.0.0.1'

export interface DevOptions {
  readonly cluster: string
  readonly topologyFile: string | undefined
  /** Instead of the topology's. */
  readonly plane: WantedPlane | undefined
  /** 0 lets the kernel pick one. */
  readonly apiPort: number
  readonly progress: (step: string) => void
  /** Something the user should know, like another port than usual. */
  readonly notice: (text: string) => void
}

export class Supervisor {
  readonly cluster: Cluster
  readonly #control: ControlServer
  readonly #down: Promise<'down'>

  private constructor(cluster: Cluster, control: ControlServer, down: Promise<'down'>) {
    this.cluster = cluster
    this.#control = control
    this.#down = down
  }

  /** @throws NearcastError dev.*, topology.*, config.*, listen.in-use */
  static async start(options: DevOptions, signal: AbortSignal): Promise<Supervisor> {
    const { plane } = options
    const topology = { ...readTopology(options.topologyFile), ...(plane && { plane }) }
    requireUserNamespaces()
    const down = Promise.withResolvers<'down'>()
    let open: Cluster | undefined
    let started = false
    // The name is taken first: of two that start at once, one learns that the other runs.
    const control = await ControlServer.open(options.cluster, (request) => {
      if (request.operation === 'down') down.resolve('down')
      else if (open === undefined || !started) throw new NearcastError('dev.not-running', `The cluster "${options.cluster}" is still starting; ask again in a moment.`)
      else return obey(open, faults, request, options.cluster)
      return Promise.resolve(null)
    })
    try {
      const api = listenTcp(FORWARD_HOST, options.apiPort)
      const forward = listenPreferred(FORWARD_PORT, options.notice)
      const gateways = topology.gateways.map(() => bindUdp(FORWARD_HOST, 0))
      open = await Cluster.open({ topology, api, forward, gateways, progress: options.progress })
    } catch (error) {
      control.close()
      throw error
    }
    const cluster = open
    const faults = new Faults(cluster)
    try {
      await Promise.race([cluster.start(), interrupted(signal, down.promise), cluster.world.ended.then(failed)])
    } catch (error) {
      control.close()
      await cluster.close()
      throw error
    }
    started = true
    return new Supervisor(cluster, control, down.promise)
  }

  /** Resolves when the cluster has been asked to end, with null, or has ended by itself, with the reason. */
  async ended(signal: AbortSignal): Promise<string | null> {
    const asked = Promise.race([this.#down, aborted(signal)]).then(() => null)
    return Promise.race([asked, this.cluster.world.ended])
  }

  /** Nothing is left when this resolves. Idempotent. */
  async stop(): Promise<void> {
    this.#control.close()
    await this.cluster.close()
  }
}

function listenPreferred(port: number, notice: (text: string) => void): ListeningSocket {
  try {
    return listenTcp(FORWARD_HOST, port)
  } catch (error) {
    if (!(error instanceof NearcastError) || error.code !== 'listen.in-use') throw error
    const other = listenTcp(FORWARD_HOST, 0)
    notice(`${FORWARD_HOST}:${port} is taken by another program; the demo database is on ${FORWARD_HOST}:${other.port} instead.`)
    return other
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

async function interrupted(signal: AbortSignal, down: Promise<'down'>): Promise<never> {
  await Promise.race([aborted(signal), down])
  throw new NearcastError('dev.failed', 'Ended before the cluster was ready.')
}

function failed(reason: string): never {
  throw new NearcastError('dev.failed', `The cluster ended: ${reason}.`)
}

async function obey(cluster: Cluster, faults: Faults, request: ControlRequest, name: string): Promise<unknown> {
  switch (request.operation) {
    case 'info':
      return info(cluster, name)
    case 'status':
      return { programs: await cluster.world.call('list', {}), links: cluster.links.status, faults: faults.status }
    case 'steer':
      return faults.steer(request.target, request.verb)
    case 'break':
      return faults.break(request.target, request.on)
    case 'blackhole':
      return faults.blackhole(request.target, request.on)
    case 'link':
      return cluster.links.change(request.link, request.change)
    case 'restore':
      return faults.restore(request.target)
    case 'names':
      return cluster.names(request.org)
    case 'capture':
      return captureLinks(cluster, request.seconds, request.text)
    default:
      return null
  }
}

async function info(cluster: Cluster, name: string): Promise<ClusterInfo> {
  const { topology } = cluster
  return {
    cluster: name,
    api: cluster.apiUrl,
    token: cluster.token,
    router: await cluster.routerState(),
    insidePid: cluster.world.insidePid,
    forwardPort: cluster.forwardPort,
    edgeCa: cluster.edge.ca,
    regions: topology.regions.map(({ id, hosts }) => ({ id, hosts: hosts.map((host) => host.id) })),
    appHosts: topology.appHosts.map(({ id, org, region, host }) => ({
      id,
      org,
      orgId: cluster.orgIds.get(org) ?? '',
      region,
      host,
      address: cluster.appAddresses.find((app) => app.id === id)?.address ?? '',
    })),
  }
}
