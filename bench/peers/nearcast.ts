/**
 * Ours: the proxy as it runs in production, with isolation, limits, counters, health probes and header signing on. The
 * packet filter of the host stays out, for all alike; one log line per connection is off, as it is for the others.
 *
 * On the plane that a user with this kernel would choose; the portable one beside it, where that is another.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Change } from '../../lib/feed/messages.ts'
import { probeIoUring } from '../../lib/kernel/io-uring-probe.ts'
import { FAILOVER_ADDRESS, FAILOVER_CONNECT_MS } from '../failing-nodes.ts'
import { Program } from '../program.ts'
import { DIRECTORY } from '../world.ts'
import { failoverRows, nodeRow, secondNetworkRows, tenantRows, writeState } from './nearcast-state.ts'
import type { Peer } from './peer.ts'

const proxyId = (port: number): string => `bench-${port}`

type PlaneName = 'uring' | 'portable'

const support = probeIoUring()
export const PLANE: PlaneName = support.answer === 'yes' ? 'uring' : 'portable'

const configuration = (port: number, plane: PlaneName): string => `id = "${proxyId(port)}"
host = "bench"
region = "bench"
stateDir = "${DIRECTORY}/proxy-${proxyId(port)}"
router = "https://[::1]:9"
manageHost = false
plane = "${plane}"
dataThreads = 2
[dial]
connectTimeoutMs = ${FAILOVER_CONNECT_MS}
[limits]
maxConnections = 20000
perNetworkConnections = 20000
[log]
level = "warn"
`

export function version(): string {
  const { version: ours } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
  return `${ours} on Node ${process.version}`
}

/** The proxy alone, in front of the agent on `socket`. `further`: rows of more databases. */
export async function startProxy(port: number, socket: string, key: string, plane = PLANE, further: readonly Change[] = []): Promise<Program> {
  await writeState(`proxy/${proxyId(port)}`, [...tenantRows(port), ...further, nodeRow(socket, key), ...secondNetworkRows(), ...failoverRows(port + 1)])
  const file = join(DIRECTORY, `${proxyId(port)}.toml`)
  writeFileSync(file, configuration(port, plane))
  const words = process.env['NEARCAST_BENCH_NODE']?.split(' ') ?? []
  const main = new URL('../../proxy/main.ts', import.meta.url).pathname
  const program = await new Program(process.execPath, [...words, main, '--config', file]).accepts({ host: '::', port })
  return await program.accepts({ host: FAILOVER_ADDRESS, port: port + 1 })
}

export const proxyIdentity = (port: number): string => `proxy/${proxyId(port)}`

function proxyOn(plane: PlaneName, named: Pick<Peer, 'id' | 'label' | 'missing'>): Peer {
  return {
    ...named,
    version: () => `${version()}, ${plane}`,
    configuration: (_world, port) => configuration(port, plane),
    async start({ backendSocket, hopKey }, port) {
      const program = await startProxy(port, backendSocket, hopKey, plane)
      return { port, failoverPort: port + 1, ...(plane === 'uring' && { twoThreadsPort: port }), pids: [program.pid], stop: () => program.stop() }
    },
  }
}

export const nearcast = proxyOn(PLANE, { id: 'nearcast', label: 'Nearcast proxy', missing: () => null })

export const portable = proxyOn('portable', {
  id: 'portable',
  label: 'Nearcast, portable plane',
  missing: () => (support.answer === 'yes' ? null : `it is the only plane here (${support.reason})`),
})
