/**
 * A data node inside the test's process: the agent as main.ts builds it, fed by the test instead of a router, with real
 * engines. Its hop is a Unix socket (and TLS when an identity is given).
 */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { agentConfig } from '../../agent/config.ts'
import { buildAgent } from '../../agent/main.ts'
import type { Agent } from '../../agent/main.ts'
import type { FailedService } from '../../lib/feed/reader.ts'
import { FeedTable } from '../../lib/feed/reader.ts'
import type { AddressRow, Change, DialerRow, ServiceRow } from '../../lib/feed/messages.ts'
import { Lifecycle } from '../../lib/lifecycle.ts'
import { createLogger } from '../../lib/log.ts'
import type { HopTls } from '../../lib/plane/plane.ts'
import { ENGINE_SERVER } from './engine-server.ts'
import { until } from './until.ts'

export interface DataNodeOptions {
  readonly id: string
  /** As in agent.toml. */
  readonly redis?: Record<string, unknown>
  readonly hop?: Record<string, unknown>
  readonly backends?: Record<string, unknown>
  /** Its hop listens with TLS too. */
  readonly tls?: HopTls
  readonly dataDir?: string
  /** How it stops. */
  readonly leaveEngines?: () => boolean
}

const NO_TLS: HopTls = { ca: '', certificate: '', key: '' }

export class DataNode {
  readonly id: string
  readonly directory: string
  readonly dataDir: string
  readonly socket: string
  readonly table = new FeedTable()
  readonly agent: Agent
  readonly log: Record<string, unknown>[] = []
  /** As the router heard it last. */
  unavailable: Readonly<Record<string, string>> = {}
  port = 0
  readonly #lifecycle = new Lifecycle()
  readonly #options: DataNodeOptions

  constructor(options: DataNodeOptions) {
    this.#options = options
    this.id = options.id
    this.directory = mkdtempSync(join(tmpdir(), 'nearcast-node-'))
    this.dataDir = options.dataDir ?? join(this.directory, 'data')
    this.socket = join(this.directory, 'hop.sock')
    const config = agentConfig.parse({
      id: options.id,
      host: `${options.id}-host`,
      region: options.id,
      stateDir: this.directory,
      dataDir: this.dataDir,
      router: 'https://[::1]:1',
      hop: { ...options.hop },
      backends: { checkIntervalMs: 100, checkTimeoutMs: 2000, ...options.backends },
      // Whatever ends the test ends its engines.
      redis: { server: ENGINE_SERVER, outliveAgent: false, healthIntervalMs: 250, stopTimeoutMs: 2000, ...options.redis },
    })
    const write = (line: string): void => void this.log.push(JSON.parse(line) as Record<string, unknown>)
    this.agent = buildAgent({
      config,
      tls: options.tls ?? NO_TLS,
      log: createLogger('agent', 'info', { write }),
      lifecycle: this.#lifecycle,
      publish: (unavailable) => (this.unavailable = unavailable),
      revision: () => 1,
      leaveEngines: options.leaveEngines ?? (() => false),
    })
  }

  async listen(): Promise<this> {
    const { tls } = this.#options
    await this.agent.ingress.listen({ kind: 'unix', path: this.socket })
    if (tls !== undefined) this.port = await this.agent.ingress.listen({ kind: 'tcp', host: '::1', port: 0, tls })
    return this
  }

  /** As one revision of the feed. */
  feed(...changes: Change[]): Promise<FailedService[]> {
    const { applied, rejected } = this.table.apply(changes)
    if (rejected.length > 0) throw new Error(JSON.stringify(rejected))
    return this.agent.apply(this.table, applied)
  }

  async available(service: string): Promise<void> {
    await until(`${service} is available on ${this.id}`, () => this.agent.tenants.supervisors.get(service)?.reason === null)
  }

  enginePid(service: string): number {
    return this.agent.tenants.supervisors.get(service)?.pid ?? 0
  }

  engineSocket(service: string): string {
    return join(this.dataDir, service, 'data', 'redis.sock')
  }

  /** Value of a line of /metrics that begins with `series`. */
  async metric(series: string): Promise<number | null> {
    const line = (await this.agent.metrics.metrics.text()).split('\n').find((each) => each.startsWith(`${series} `))
    return line === undefined ? null : Number(line.slice(series.length + 1))
  }

  /** @returns the parts that did not stop. */
  stop(): Promise<string[]> {
    return this.#lifecycle.stop()
  }

  async close(): Promise<void> {
    const late = await this.stop()
    rmSync(this.directory, { recursive: true, force: true })
    if (late.length > 0) throw new Error(`did not stop: ${late.join(', ')}`)
  }
}

export const KEY = '5a'.repeat(32)

export function databaseRow(id: string, placements: ServiceRow['placements'], password: string, changes: Partial<NonNullable<ServiceRow['redis']>> = {}): Change {
  const passwordSha256 = createHash('sha256').update(password).digest('hex')
  const redis = { passwordSha256, replicationSecret: `replication of ${id}`, maxMemoryBytes: 32 << 20, appendFsync: 'everysec' as const, ...changes }
  const row: ServiceRow = { id, org: 'o', name: id, kind: 'redis', port: 6379, placements, redis }
  return { table: 'services', key: id, row }
}

export function backendRow(id: string, target: string | null, proxyHeader: 'none' | 'v1' | 'v2' = 'none', kind: 'tcp' | 'postgres' = 'tcp', node = 'mad'): Change {
  const backend = target === null ? {} : { backend: { target, proxyHeader } }
  const row: ServiceRow = { id, org: 'o', name: id, kind, port: 6379, placements: [{ node, role: 'peer' }], ...backend }
  return { table: 'services', key: id, row }
}

export function addressChange(address: string, service: string, generation = 1): Change {
  const row: AddressRow = { address, network: 1, generation, service }
  return { table: 'addresses', key: address, row }
}

export function dialerChange(id: string, key = KEY): Change {
  const row: DialerRow = { id, kind: id.startsWith('proxy/') ? 'proxy' : 'agent', region: 'mad', host: 'h', keys: [{ epoch: 1, key }] }
  return { table: 'dialers', key: id, row }
}
