/**
 * A development cluster from nothing to ready: the world, its network, the router, then all agents and proxies at once,
 * then organizations and databases through the API, like any other client. Each step is told to `progress`.
 */
import { randomBytes } from 'node:crypto'
import { closeSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import { NearcastError } from '../../lib/errors.ts'
import type { ListeningSocket } from '../../lib/kernel/listen.ts'
import { ApiClient } from '../api-client.ts'
import type { RedisObject } from '../api-objects.ts'
import { anyObject, joinToken, listOf, orgObject, redisObject } from '../api-objects.ts'
import { fleetLatencies } from '../latency/report.ts'
import { appHostAddress } from './app-address.ts'
import { EdgeCertificates } from './edge-certificates.ts'
import { RUN_DIRECTORY } from './inside-protocol.ts'
import { Links, relaySpec } from './links.ts'
import { appAddressCommands, planNetwork } from './network-plan.ts'
import { NETEM_PROBE, TUN_PROBE, ipScript, networkScript } from './network-script.ts'
import type { ProgramState } from './kept-program.ts'
import { isHeld } from './kept-program.ts'
import { programFile } from './program-file.ts'
import type { PlannedProgram } from './programs.ts'
import { PROGRAM_ENVIRONMENT, adminSocket, logFile, planAgent, planBackbone, planForwarder, planGateway, planProxy, planRouter } from './programs.ts'
import type { Topology } from './topology.ts'
import { FIRST_INHERITED_FD, World } from './world.ts'

const READY_TIMEOUT_MS = 45_000
/** A cluster whose proxies measure for longer stands all the same. */
const MEASURED_TIMEOUT_MS = 10_000
const MEASURED_INTERVAL_MS = 100
const TOKEN_BYTES = 32

export interface ClusterOptions {
  readonly topology: Topology
  /** These are opened outside; the cluster takes their descriptors over and closes them here. */
  readonly api: ListeningSocket
  readonly forward: ListeningSocket
  /** UDP, one for each gateway of the topology. */
  readonly gateways: readonly ListeningSocket[]
  readonly progress: (step: string) => void
}

export interface AppAddress {
  readonly id: string
  readonly org: string
  readonly region: string
  readonly address: string
}

export interface ServiceName {
  readonly name: string
  readonly address: string
}

export class Cluster {
  readonly topology: Topology
  readonly world: World
  readonly links: Links
  readonly apiUrl: string
  readonly token: string
  readonly forwardPort: number
  readonly client: ApiClient
  /** organization -> its network's /48 */
  readonly networks = new Map<string, string>()
  readonly orgIds = new Map<string, string>()
  appAddresses: readonly AppAddress[] = []
  databases: readonly RedisObject[] = []
  readonly edge: EdgeCertificates
  /** Why there are no gateways and no backbone, though the topology wants some; null when there are. */
  noTun: string | null = null
  readonly #gatewayPorts: readonly number[]
  readonly #progress: (step: string) => void
  readonly #names = new Map<string, readonly ServiceName[]>()

  private constructor(options: ClusterOptions, world: World, links: Links, edge: EdgeCertificates, token: string) {
    this.topology = options.topology
    this.world = world
    this.links = links
    this.edge = edge
    this.token = token
    this.apiUrl = `http://127.0.0.1:${options.api.port}`
    this.forwardPort = options.forward.port
    this.#gatewayPorts = options.gateways.map(({ port }) => port)
    this.client = new ApiClient({ url: this.apiUrl, token })
    this.#progress = options.progress
  }

  /** The world with its network; nothing runs in it yet. @throws NearcastError dev.* */
  static async open(options: ClusterOptions): Promise<Cluster> {
    const { topology, api, forward, gateways, progress } = options
    const fds = [api, forward, ...gateways].map(({ fd }) => fd)
    progress('namespaces')
    const world = await World.open(fds).finally(() => fds.forEach((fd) => closeSync(fd)))
    try {
      const kind = (await world.call('script', { text: NETEM_PROBE })).trim() === 'yes' ? 'netem' : 'relay'
      progress(`network: ${topology.hosts.length} hosts, ${topology.appHosts.length} app hosts, ${topology.links.length} links (${kind})`)
      await world.call('script', { text: networkScript(planNetwork(topology, kind)) })
      // `cat /run/nearcast/hosts/gru-1` on a host: the underlay's address book.
      await world.call('write', { files: topology.hosts.map(({ id, address }) => ({ path: `${RUN_DIRECTORY}/hosts/${id}`, text: `${address}\n` })) })
      const links = new Links(world, topology, kind)
      const base = { env: PROGRAM_ENVIRONMENT, logFile: logFile('links/relay') }
      await links.start((list) => relaySpec(base, process.execPath, programFile('cli/dev/link-relay'), list))
      const edge = await EdgeCertificates.create(world, () => topology.hosts.map(({ id }) => adminSocket(`${id}/proxy`)))
      return new Cluster(options, world, links, edge, `ncb_${randomBytes(TOKEN_BYTES).toString('base64url')}`)
    } catch (error) {
      await world.close()
      throw error
    }
  }

  /** Resolves when every program is ready and every demo database answered for. @throws NearcastError */
  async start(): Promise<void> {
    this.#progress('router')
    await this.#run([planRouter(this.topology, FIRST_INHERITED_FD, this.token)])
    this.#progress(`organizations: ${this.topology.orgs.join(', ')}`)
    for (const name of this.topology.orgs) await this.#createOrg(name)
    await this.#addressAppHosts()
    await this.#startPrograms()
    await this.#createDatabases()
    await this.#startForwarder()
    this.#progress('latencies')
    await this.#measured()
  }

  async #createOrg(name: string): Promise<void> {
    const org = await this.client.post('/v1/orgs', { name }, orgObject)
    const prefix = org.networks[0]?.prefix
    if (prefix === undefined) throw new NearcastError('dev.failed', `The registry gave ${name} no network.`)
    this.networks.set(name, prefix)
    this.orgIds.set(name, org.id)
  }

  async #addressAppHosts(): Promise<void> {
    this.appAddresses = this.topology.appHosts.map((app) => ({
      id: app.id,
      org: app.org,
      region: app.region,
      address: appHostAddress(this.topology, app, this.networks.get(app.org) ?? ''),
    }))
    const scripts = this.topology.appHosts.map((app, index) => {
      const address = this.appAddresses[index]?.address ?? ''
      return ipScript(app.id, appAddressCommands(address)) + ipScript(app.host, [`route add ${this.networks.get(app.org)} dev ${app.ingress}`])
    })
    await this.world.call('script', { text: scripts.join('') })
  }

  async #startPrograms(): Promise<void> {
    const { topology, networks } = this
    const agents = topology.hosts.filter(({ agent }) => agent)
    this.noTun = topology.gateways.length === 0 && !topology.backbone ? null : await this.#lacksTun()
    const gateways = this.noTun === null ? topology.gateways : []
    const onBackbone = topology.backbone && this.noTun === null ? topology.hosts : []
    this.#progress(`${agents.length} agents, ${topology.hosts.length} proxies, ${gateways.length} gateways, ${onBackbone.length === 0 ? 'no backbone' : 'backbone'}${this.noTun === null ? '' : ` (${this.noTun})`}`)
    const joining = [
      ...agents.map((host) => ({ host, kind: 'agent' as const })),
      ...topology.hosts.map((host) => ({ host, kind: 'proxy' as const })),
      ...gateways.map((host) => ({ host, kind: 'gateway' as const })),
      ...onBackbone.map((host) => ({ host, kind: 'backbone' as const })),
    ]
    const planned = await Promise.all(
      joining.map(async ({ host, kind }) => {
        const { token } = await this.client.post('/v1/join-tokens', { kind, id: host.id, region: host.region, host: host.id }, joinToken)
        if (kind === 'agent') return planAgent(topology, host, token)
        if (kind === 'proxy') return planProxy(topology, host, token, networks)
        if (kind === 'backbone') return planBackbone(topology, host, token)
        const index = topology.gateways.indexOf(host)
        return planGateway(topology, host, token, { fd: FIRST_INHERITED_FD + 2 + index, port: this.#gatewayPorts[index] ?? 0 }, await this.edge.gateway(host.address))
      }),
    )
    await this.#run(planned)
  }

  /** Why there can be no TUN interface in here; null when there can. */
  async #lacksTun(): Promise<string | null> {
    const said = (await this.world.call('script', { text: TUN_PROBE })).trim()
    return said === '' ? null : `no TUN interface: ${said}`
  }

  async #createDatabases(): Promise<void> {
    const { databases } = this.topology
    if (databases.length === 0) return
    this.#progress(`databases: ${databases.map(({ org, name }) => `${org}/${name}`).join(', ')}`)
    this.databases = await Promise.all(
      databases.map(({ org, ...body }) => this.client.post(`/v1/orgs/${encodeURIComponent(org)}/redis`, { ...body, tls: { policy: 'auto' } }, redisObject)),
    )
  }

  /** Until every proxy has measured every node a connection may go to a farther one. */
  async #measured(): Promise<void> {
    const deadlineMs = performance.now() + MEASURED_TIMEOUT_MS
    while (performance.now() < deadlineMs) {
      const { proxies } = await this.client.get('/v1/latency', fleetLatencies)
      if (proxies.length === this.topology.hosts.length && proxies.every(({ nodes }) => nodes.every(({ rtt }) => rtt !== null))) return
      await delay(MEASURED_INTERVAL_MS)
    }
  }

  /** The first demo database, from its organization's app host in its own region. */
  async #startForwarder(): Promise<void> {
    const [demo] = this.topology.databases
    const [database] = this.databases
    const app = this.topology.appHosts.find(({ org, region }) => org === demo?.org && region === demo.region)
    if (database === undefined || app === undefined) return
    await this.world.call('keep', { program: planForwarder(app, FIRST_INHERITED_FD + 1, database.address, database.port) })
  }

  async #run(planned: readonly PlannedProgram[]): Promise<void> {
    await this.world.call('write', { files: planned.flatMap(({ files }) => files) })
    for (const { spec } of planned) await this.world.call('keep', { program: spec })
    await Promise.all(planned.map(({ spec, adminSocket: socket }) => this.#ready(spec.id, socket)))
  }

  async #ready(id: string, socket: string): Promise<void> {
    try {
      await this.world.call('ready', { id, socket, timeoutMs: READY_TIMEOUT_MS })
    } catch (error) {
      // The log is gone with the cluster: what it said last has to be told now.
      const tail = await this.world.call('script', { text: `tail -n 5 ${logFile(id)}` }).catch(() => '')
      const message = error instanceof Error ? error.message : String(error)
      throw new NearcastError('dev.failed', tail === '' ? message : `${message}\n${tail.trimEnd()}`, { cause: error })
    }
  }

  /**
   * Every service of an organization that has an address, for its app hosts' hosts files. While the router is away, those
   * known last: names are no reason not to enter a host.
   */
  async names(org: string): Promise<readonly ServiceName[]> {
    if (isHeld(await this.routerState())) return this.#names.get(org) ?? this.#demoNames(org)
    const names = await this.#askNames(org)
    this.#names.set(org, names)
    return names
  }

  /** The API's listener is ours and stays open while the router is stopped: a request would wait in its queue. */
  async routerState(): Promise<ProgramState> {
    const id = `${this.topology.router.id}/router`
    return (await this.world.call('list', {})).find((program) => program.id === id)?.state ?? 'stopped'
  }

  #demoNames(org: string): ServiceName[] {
    return this.databases.filter((_, index) => this.topology.databases[index]?.org === org).map(({ name, address }) => ({ name, address }))
  }

  async #askNames(org: string): Promise<ServiceName[]> {
    const [databases, addresses, services] = await Promise.all([
      this.client.get(`/v1/orgs/${encodeURIComponent(org)}/redis`, listOf(redisObject)),
      this.client.get(`/v1/orgs/${encodeURIComponent(org)}/addresses`, listOf(anyObject)),
      this.client.get(`/v1/orgs/${encodeURIComponent(org)}/services`, listOf(z.looseObject({ id: z.string(), name: z.string() }))),
    ])
    const named = new Map(databases.map(({ name, address }) => [address, name]))
    for (const { address, service } of addresses) {
      const name = services.find((each) => each.id === service || each.name === service)?.name
      if (name !== undefined && typeof address === 'string') named.set(address, name)
    }
    await this.edge.certify([...named.values()])
    return [...named].map(([address, name]) => ({ name, address }))
  }

  /** Nothing is left when this resolves. Idempotent. */
  close(): Promise<void> {
    return this.world.close()
  }
}
