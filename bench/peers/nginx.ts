/** nginx's stream module, one process, `proxy_protocol on` (PROXY v1, the only one that it writes) on a Unix socket. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { FAILING_NODES, FAILING_PORT, FAILOVER_CONNECT_MS } from '../failing-nodes.ts'
import { Program, firstLine } from '../program.ts'
import { ADDRESS, DIRECTORY } from '../world.ts'
import type { World } from '../world.ts'
import type { Peer } from './peer.ts'

/** Debian keeps it apart; elsewhere it is built in. */
const MODULE = '/usr/lib/nginx/modules/ngx_stream_module.so'

const configuration = ({ backendSocket }: World, port: number): string => `${existsSync(MODULE) ? `load_module ${MODULE};\n` : ''}user root;
daemon off;
master_process off;
pid ${home(port)}/nginx.pid;
error_log stderr error;
events {
  worker_connections 16000;
}
stream {
  server {
    listen [::]:${port} ipv6only=on backlog=4096;
    proxy_pass unix:${backendSocket};
    proxy_protocol on;
    proxy_timeout 1h;
    tcp_nodelay on;
  }
  upstream failing {
${Object.values(FAILING_NODES).map((host) => `    server [${host}]:${FAILING_PORT} max_fails=0;\n`).join('')}  }
  server {
    listen [::]:${port + 1} ipv6only=on backlog=4096;
    proxy_pass failing;
    proxy_protocol on;
    proxy_connect_timeout ${FAILOVER_CONNECT_MS}ms;
  }
}
`

const home = (port: number): string => join(DIRECTORY, `nginx-${port}`)

export const nginx: Peer = {
  id: 'nginx',
  label: 'nginx stream',
  version: () => /\d+\.\d+\.\d+/.exec(firstLine('nginx', '-v') ?? '')?.[0] ?? 'unknown',
  missing: () => (firstLine('nginx', '-v') === null ? 'no nginx here' : null),
  configuration,
  async start(world, port) {
    mkdirSync(home(port), { recursive: true })
    const file = join(home(port), 'nginx.conf')
    writeFileSync(file, configuration(world, port))
    const program = await new Program('nginx', ['-e', 'stderr', '-p', home(port), '-c', file]).accepts({ host: ADDRESS, port })
    return { port, failoverPort: port + 1, pids: [program.pid], stop: () => program.stop() }
  },
}
