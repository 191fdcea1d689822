/**
 * The programs of a cluster: their configuration files as TOML and how each is started. Pure.
 */
import { formatConfig } from '../../lib/config.ts'
import { RUN_DIRECTORY } from './inside-protocol.ts'
import type { ProgramSpec } from './kept-program.ts'
import { programFile } from './program-file.ts'
import type { AppHost, Host, Topology } from './topology.ts'

export type ProgramKind = 'router' | 'agent' | 'proxy' | 'gateway' | 'backbone'

/** Those that are a part of another's house. */
const ROUTERS: Partial<Record<ProgramKind, string>> = { gateway: 'router/gateway/main', backbone: 'router/backbone/main' }

/** Certificates of all proxies: they share process 1's file system. */
export const TLS_DIRECTORY = `${RUN_DIRECTORY}/tls`
/** Of the CA that signs them. */
export const EDGE_CA = `${RUN_DIRECTORY}/edge-ca.pem`
const FEED_PORT = 7300
export const HOP_PORT = 7400
const WIREGUARD_PORT = 51820
export const BACKBONE_PORT = 51821
const GATEWAY_INTERFACE = 'nearcast-wg'

export interface ProgramFile {
  readonly path: string
  readonly text: string
}

export interface PlannedProgram {
  readonly spec: ProgramSpec
  readonly files: readonly ProgramFile[]
  readonly adminSocket: string
}

/** `mad-1/proxy` */
export function adminSocket(id: string): string {
  return `${RUN_DIRECTORY}/state/${id}/admin.sock`
}

function stateDirectory(host: Pick<Host, 'id'>, kind: ProgramKind): string {
  return `${RUN_DIRECTORY}/state/${host.id}/${kind}`
}

export function logFile(id: string): string {
  return `${RUN_DIRECTORY}/logs/${id.replace('/', '-')}.log`
}

export function agentDataDirectory(host: Pick<Host, 'id'>): string {
  return `${stateDirectory(host, 'agent')}/data`
}

export function hopSocket(host: Host): string {
  return `${RUN_DIRECTORY}/state/${host.id}/hop.sock`
}

export const PROGRAM_ENVIRONMENT: Readonly<Record<string, string>> = {
  PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin',
  LANG: 'C.UTF-8',
  HOME: `${RUN_DIRECTORY}/tmp`,
  TMPDIR: `${RUN_DIRECTORY}/tmp`,
  // Three agents and four proxies load the same modules: what one has compiled the others take, at the next start, too.
  NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] ?? `${RUN_DIRECTORY}/tmp/compile-cache`,
}

interface Extra {
  readonly env?: Readonly<Record<string, string>>
  readonly fds?: readonly number[]
  readonly files?: readonly ProgramFile[]
}

function plan(host: Host, kind: ProgramKind, configuration: Record<string, unknown>, extra: Extra = {}): PlannedProgram {
  const id = `${host.id}/${kind}`
  const directory = stateDirectory(host, kind)
  const socket = adminSocket(id)
  const path = `${RUN_DIRECTORY}/config/${host.id}-${kind}.toml`
  return {
    adminSocket: socket,
    files: [{ path, text: formatConfig({ ...configuration, admin: { listen: `unix:${socket}` } }) }, { path: `${directory}/.made`, text: '' }, ...(extra.files ?? [])],
    spec: {
      id,
      namespace: host.id,
      command: [process.execPath, programFile(ROUTERS[kind] ?? `${kind}/main`), '--config', path],
      env: { ...PROGRAM_ENVIRONMENT, ...extra.env },
      ...(extra.fds && { fds: extra.fds }),
      logFile: logFile(id),
    },
  }
}

/** To try limits with: small ones, a cache, and one without. */
const PLANS = [
  { name: 'small', maxMemoryBytes: 16 << 20, maxClients: 20, commandsPerSecond: 100, commandsPerDay: 10_000, requestBytes: 1 << 20, scriptMs: 1000 },
  { name: 'cache', maxMemoryBytes: 64 << 20, eviction: true, maxClients: 1000 },
  { name: 'large', maxMemoryBytes: 1 << 30 },
]

/** `apiFd` is process 1's descriptor of the API's listener; the router gets it as 3. */
export function planRouter(topology: Topology, apiFd: number, bootstrapToken: string): PlannedProgram {
  const host = topology.router
  const configuration = {
    id: 'main',
    stateDir: stateDirectory(host, 'router'),
    api: { listen: 'fd:3' },
    feed: { listen: `[::]:${FEED_PORT}`, advertise: `[${host.address}]:${FEED_PORT}` },
    plans: PLANS,
  }
  return plan(host, 'router', configuration, { fds: [apiFd], env: { NEARCAST_BOOTSTRAP_TOKEN: bootstrapToken } })
}

function joining(topology: Topology, host: Host, kind: ProgramKind, token: string): { readonly keys: Record<string, unknown>; readonly file: ProgramFile } {
  const path = `${stateDirectory(host, kind)}/join-token`
  const keys = {
    id: host.id,
    host: host.id,
    region: host.region,
    stateDir: stateDirectory(host, kind),
    router: `https://[${topology.router.address}]:${FEED_PORT}`,
    joinTokenFile: path,
  }
  return { keys, file: { path, text: `${token}\n` } }
}

export function planAgent(topology: Topology, host: Host, token: string): PlannedProgram {
  const { keys, file } = joining(topology, host, 'agent', token)
  const hop = { listen: `[::]:${HOP_PORT}`, advertise: `[${host.address}]:${HOP_PORT}`, socket: hopSocket(host) }
  // Any server that a user starts on a host can be put behind an address, and a Redis imported, as long as it listens on that
  // host's own loopback.
  const own = ['127.0.0.1:*', '[::1]:*']
  const backends = { allow: own, checkIntervalMs: 500 }
  const redis = { idleStopMinutes: topology.idleStopMinutes, importFrom: own }
  return plan(host, 'agent', { ...keys, dataDir: agentDataDirectory(host), hop, backends, plane: topology.plane, redis }, { files: [file] })
}

/** Quicker than the defaults, so that what is broken and mended on purpose shows within seconds. */
const QUICK_HEALTH = { intervalMs: 500, timeoutMs: 1500, failures: 2, successes: 2 }

/** `networks`: organization -> its network's /48. */
export function planProxy(topology: Topology, host: Host, token: string, networks: ReadonlyMap<string, string>): PlannedProgram {
  const { keys, file } = joining(topology, host, 'proxy', token)
  const apps = topology.appHosts.filter((app) => app.host === host.id).map((app) => ({ interface: app.ingress, network: networks.get(app.org) ?? '' }))
  const ingress = topology.gateways.includes(host) ? [...apps, { interface: GATEWAY_INTERFACE, network: 'gateway' }] : apps
  return plan(host, 'proxy', { ...keys, manageHost: true, ingress, plane: topology.plane, dataThreads: topology.dataThreads, health: QUICK_HEALTH, tls: { directory: TLS_DIRECTORY } }, { files: [file] })
}

/** `outside`: a UDP socket of the machine's own network, as process 1's descriptor, and its port. `tls`: PEM, for the host's address. */
export function planGateway(
  topology: Topology,
  host: Host,
  token: string,
  outside: { readonly fd: number; readonly port: number },
  tls: { readonly certificate: string; readonly key: string },
): PlannedProgram {
  const { keys, file } = joining(topology, host, 'gateway', token)
  // From the machine itself, and from inside the cluster.
  const advertise = [`127.0.0.1:${outside.port}`, `[${host.address}]:${WIREGUARD_PORT}`]
  const wireguard = { listen: ['fd:3', `[::]:${WIREGUARD_PORT}`] }
  const directory = stateDirectory(host, 'gateway')
  const websocket = { listen: '[::]:443', certificate: `${directory}/tls.pem`, key: `${directory}/tls.key`, advertise: `wss://[${host.address}]/` }
  const files = [file, { path: websocket.certificate, text: tls.certificate }, { path: websocket.key, text: tls.key }]
  const neighbours = { advertise: `[${host.address}]:${WIREGUARD_PORT}` }
  return plan(host, 'gateway', { ...keys, advertise, neighbours, wireguard, websocket, tun: { name: GATEWAY_INTERFACE } }, { files, fds: [outside.fd] })
}

export function planBackbone(topology: Topology, host: Host, token: string): PlannedProgram {
  const { keys, file } = joining(topology, host, 'backbone', token)
  return plan(host, 'backbone', { ...keys, advertise: `[${host.address}]:${BACKBONE_PORT}`, wireguard: { listen: `[::]:${BACKBONE_PORT}` } }, { files: [file] })
}

export function planForwarder(app: AppHost, listenFd: number, address: string, port: number): ProgramSpec {
  return {
    id: `${app.id}/forwarder`,
    namespace: app.id,
    command: [process.execPath, programFile('cli/dev/forwarder'), '3', address, String(port)],
    env: PROGRAM_ENVIRONMENT,
    fds: [listenFd],
    logFile: logFile(`${app.id}/forwarder`),
  }
}
