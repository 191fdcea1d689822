/** Our whole path: proxy and agent, with the agent's own redis-server behind a password. Both programs' CPU time counts. */
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Program } from '../program.ts'
import { AGENT, DIRECTORY } from '../world.ts'
import { PLANE, proxyIdentity, startProxy, version } from './nearcast.ts'
import { dialerRow, tenantRows, writeState } from './nearcast-state.ts'
import type { Peer } from './peer.ts'

const PASSWORD = 'bench'
const ADMIN_PORT = 6392
const home = (port: number): string => join(DIRECTORY, `agent-${port}`)

const configuration = (port: number): string => `id = "${AGENT}"
host = "bench"
region = "bench"
stateDir = "${DIRECTORY}/agent-${AGENT}"
dataDir = "${home(port)}/data"
router = "https://[::1]:9"
plane = "${PLANE}"
[hop]
listen = "[::1]:${port + 1}"
socket = "${home(port)}/hop.sock"
[admin]
listen = "127.0.0.1:${ADMIN_PORT}"
[log]
level = "warn"
`

export const wholePath: Peer = {
  id: 'whole-path',
  label: 'Nearcast proxy + agent',
  version,
  missing: () => null,
  configuration: (_world, port) => configuration(port),
  async start({ hopKey }, port) {
    mkdirSync(home(port), { recursive: true })
    const redis = {
      passwordSha256: createHash('sha256').update(PASSWORD).digest('hex'),
      replicationSecret: randomBytes(16).toString('hex'),
      maxMemoryBytes: 256 << 20,
      appendFsync: 'everysec',
    }
    await writeState(`agent/${AGENT}`, [...tenantRows(port, redis), dialerRow(proxyIdentity(port), hopKey)])
    const file = join(home(port), 'agent.toml')
    writeFileSync(file, configuration(port))
    const main = new URL('../../agent/main.ts', import.meta.url).pathname
    const agent = await new Program(process.execPath, [main, '--config', file]).accepts({ path: join(home(port), 'data', 'bench', 'data', 'redis.sock') })
    const proxy = await startProxy(port, join(home(port), 'hop.sock'), hopKey)
    return {
      port,
      pids: [proxy.pid, agent.pid],
      password: PASSWORD,
      stop: async () => {
        await proxy.stop()
        await agent.stop()
      },
    }
  },
}
