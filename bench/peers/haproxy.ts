/** HAProxy, one thread (a second one for what is said to have two), splicing where it finds it worthwhile, PROXY v2 on a Unix socket. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { FAILING_NODES, FAILING_PORT, FAILOVER_CONNECT_MS } from '../failing-nodes.ts'
import { Program, firstLine } from '../program.ts'
import { ADDRESS, DIRECTORY } from '../world.ts'
import type { World } from '../world.ts'
import type { Peer } from './peer.ts'

const configuration = ({ backendSocket }: World, port: number): string => `global
  nbthread 2
  maxconn 5000
defaults
  mode tcp
  option splice-auto
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen bench
  bind [::]:${port} v6only backlog 4096 thread 1
  server redis unix@${backendSocket} send-proxy-v2
listen two-threads
  bind [::]:${port + 2} v6only backlog 4096
  server redis unix@${backendSocket} send-proxy-v2
listen failover
  bind [::]:${port + 1} v6only backlog 4096 thread 1
  timeout connect ${FAILOVER_CONNECT_MS}ms
  retries 1
  option redispatch 1
${Object.entries(FAILING_NODES).map(([name, host]) => `  server ${name} [${host}]:${FAILING_PORT} send-proxy-v2\n`).join('')}`

export const haproxy: Peer = {
  id: 'haproxy',
  label: 'HAProxy',
  version: () => /\d+\.\d+\.\d+/.exec(firstLine('haproxy', '-v') ?? '')?.[0] ?? 'unknown',
  missing: () => (firstLine('haproxy', '-v') === null ? 'no haproxy here' : null),
  configuration,
  async start(world, port) {
    const file = join(DIRECTORY, `haproxy-${port}.cfg`)
    writeFileSync(file, configuration(world, port))
    const program = await new Program('haproxy', ['-db', '-f', file]).accepts({ host: ADDRESS, port })
    return { port, failoverPort: port + 1, twoThreadsPort: port + 2, pids: [program.pid], stop: () => program.stop() }
  },
}
