/** Our whole path: proxy and agent, with the agent's own redis-server behind a password. */
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Program } from '../program.ts'
import { AGENT, DIRECTORY } from '../world.ts'
import { PLANE, proxyIdentity, startProxy, version } from './nearcast.ts'
import { crowdRows, dialerRow, tenantRows, writeState } from './nearcast-state.ts'
import type { Peer } from './peer.ts'

const PASSWORD = 'bench'
/** From the proxy's port: the agent's hop, beyond those of all programs, and its metrics. */
const [HOP_OFFSET, ADMIN_OFFSET] = [50, 3]
const home = (port: number): string => join(DIRECTORY, `agent-${port}`)
const MAIN = new URL('../../agent/main.ts', import.meta.url).pathname

interface Kind extends Pick<Peer, 'id' | 'label'> {
  /** Whose CPU time counts. */
  readonly counts: 'both' | 'agent'
  /** Of the database's plan. */
  readonly limits?: object
  /** A database beside it, with such limits. */
  readonly neighbour?: { readonly limits: object }
  /** So many databases more. */
  readonly crowd?: number
  /** Further lines under [redis]. */
  readonly redis?: string
}

const configuration = (port: number, redis: string): string => `id = "${AGENT}"
host = "bench"
region = "bench"
stateDir = "${home(port)}/state"
dataDir = "${home(port)}/data"
router = "https://[::1]:9"
plane = "${PLANE}"
[hop]
listen = "[::1]:${port + HOP_OFFSET}"
socket = "${home(port)}/hop.sock"
[redis]
outliveAgent = false
${redis}
[admin]
listen = "127.0.0.1:${port + ADMIN_OFFSET}"
[log]
level = "warn"
`

function pathOf({ counts, limits, neighbour, crowd = 0, redis = '', ...named }: Kind): Peer {
  return {
    ...named,
    version,
    missing: () => null,
    configuration: (_world, port) => configuration(port, redis),
    async start({ hopKey }, port) {
      mkdirSync(home(port), { recursive: true })
      const database = {
        passwordSha256: createHash('sha256').update(PASSWORD).digest('hex'),
        replicationSecret: randomBytes(16).toString('hex'),
        maxMemoryBytes: 256 << 20,
        appendFsync: 'everysec',
        ...(limits && { limits }),
      }
      const databases = { own: database, ...(neighbour && { neighbour: { ...database, ...neighbour } }) }
      // Several agents of one name, each with a state of its own.
      renameSync(await writeState(`agent/${AGENT}`, [...tenantRows(port, databases), ...crowdRows(port, crowd, database), dialerRow(proxyIdentity(port), hopKey)]), join(home(port), 'state'))
      const file = join(home(port), 'agent.toml')
      writeFileSync(file, configuration(port, redis))
      const agent = await new Program(process.execPath, [MAIN, '--config', file]).accepts({ path: join(home(port), 'data', 'bench', 'data', 'redis.sock') })
      const proxy = await startProxy(port, join(home(port), 'hop.sock'), hopKey, PLANE, crowdRows(port, crowd))
      return {
        port,
        pids: counts === 'both' ? [proxy.pid, agent.pid] : [agent.pid],
        password: PASSWORD,
        metricsPort: port + ADMIN_OFFSET,
        dataDir: join(home(port), 'data'),
        stop: async () => {
          await proxy.stop()
          await agent.stop()
        },
      }
    },
  }
}

export const wholePath = pathOf({ id: 'whole-path', label: 'Nearcast proxy + agent', counts: 'both' })
export const agentPassing = pathOf({ id: 'agent', label: 'Nearcast agent', counts: 'agent' })
/** A limit that nobody meets: what is said is read all the same. */
export const agentReading = pathOf({ id: 'agent-reading', label: 'Nearcast agent, reading', counts: 'agent', limits: { commandsPerSecond: 10_000_000 } })
export const agentResting = pathOf({ id: 'agent-resting', label: 'Nearcast agent, resting', counts: 'agent', redis: 'idleStopMinutes = 0.001' })
/** Its neighbour's scripts may run for a second. */
export const agentCrowded = pathOf({ id: 'agent-crowded', label: 'Nearcast agent, two databases', counts: 'agent', neighbour: { limits: { scriptMs: 1000 } } })
/** With `bench` itself a thousand. */
export const agentThousand = pathOf({ id: 'agent-thousand', label: 'Nearcast agent, 1,000 databases', counts: 'agent', crowd: 999, redis: 'idleStopMinutes = 0.001' })
