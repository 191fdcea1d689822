/**
 * Ours: the proxy as it runs in production, with isolation, limits, counters, health probes and header signing on. The
 * packet filter of the host stays out, for all alike; one log line per connection is off, as it is for the others.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Program } from '../program.ts'
import { DIRECTORY } from '../world.ts'
import { nodeRow, tenantRows, writeState } from './nearcast-state.ts'
import type { Peer } from './peer.ts'

const proxyId = (port: number): string => `bench-${port}`

const configuration = (port: number): string => `id = "${proxyId(port)}"
host = "bench"
region = "bench"
stateDir = "${DIRECTORY}/proxy-${proxyId(port)}"
router = "https://[::1]:9"
manageHost = false
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

/** The proxy alone, in front of the agent on `socket`. */
export async function startProxy(port: number, socket: string, key: string): Promise<Program> {
  await writeState(`proxy/${proxyId(port)}`, [...tenantRows(port), nodeRow(socket, key)])
  const file = join(DIRECTORY, `${proxyId(port)}.toml`)
  writeFileSync(file, configuration(port))
  const words = process.env['NEARCAST_BENCH_NODE']?.split(' ') ?? []
  const main = new URL('../../proxy/main.ts', import.meta.url).pathname
  return await new Program(process.execPath, [...words, main, '--config', file]).accepts({ host: '::', port })
}

export const proxyIdentity = (port: number): string => `proxy/${proxyId(port)}`

export const nearcast: Peer = {
  id: 'nearcast',
  label: 'Nearcast proxy',
  version,
  missing: () => null,
  configuration: (_world, port) => configuration(port),
  async start({ backendSocket, hopKey }, port) {
    const program = await startProxy(port, backendSocket, hopKey)
    return { port, pids: [program.pid], stop: () => program.stop() }
  },
}
