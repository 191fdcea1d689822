/** What the agent costs, passing bytes on and reading them, and how soon a resting database answers. */
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { enginePids } from '../engines.ts'
import { load } from '../benchmark-client.ts'
import { cpuTime } from '../process-usage.ts'
import type { RunningPeer } from '../peers/peer.ts'
import type { Scenario } from '../scenario.ts'
import { drill, statistics } from './agents.ts'
import { ADDRESS } from '../world.ts'
import { neighbours } from './neighbours.ts'
import { thousand } from './thousand.ts'

const CONNECTIONS = 50
const REST_TIMEOUT_MS = 20_000
const POLL_MS = 50

function requests(id: string, subject: string, command: 'get' | 'set', name: string, atMost: number): Scenario {
  return {
    id,
    subject,
    peers: ['haproxy'],
    rows: [{ id: 'cpu', name, unit: 'us CPU/request', goal: { atMost, against: ['haproxy'] } }],
    async measure({ peer, quick }) {
      if (!peer) throw new Error('there is no baseline here')
      const count = quick ? 10_000 : 20_000
      const before = cpuTime(peer.pids)
      await load(peer, { connections: CONNECTIONS, requests: count, command: ['-t', command] })
      return { cpu: (cpuTime(peer.pids).totalUs - before.totalUs) / count }
    },
  }
}

function revival(keys: number, goalMs: number | null): Scenario {
  let filled = false
  return {
    id: `revival-${keys}`,
    subject: 'agent-resting',
    peers: [],
    maxRounds: 10,
    rows: [{ id: 'ms', name: `resting with ${keys.toLocaleString('en')} keys, to the first reply`, unit: 'ms', goal: goalMs === null ? null : { atMost: 1, against: goalMs } }],
    async measure({ peer }) {
      if (!peer) throw new Error('there is no baseline here')
      if (!filled) await answer(peer, `EVAL "redis.call('flushall') for i = 1, ${keys} do redis.call('set', 'key:' .. i, 'a value of some length ' .. i) end return 'OK'" 0`)
      filled = true
      await rested(peer)
      const startMs = performance.now()
      await answer(peer, 'PING')
      return { ms: performance.now() - startMs }
    },
  }
}

/** By the agent's own account, and its engine's process has ended. */
async function rested({ metricsPort = 0, dataDir = '' }: RunningPeer): Promise<void> {
  const deadlineMs = performance.now() + REST_TIMEOUT_MS
  while (performance.now() < deadlineMs) {
    const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text()
    if (/^nearcast_agent_engine_resting\{service="bench"\} 1$/m.test(text) && enginePids(dataDir).length === 0) return
    await delay(POLL_MS)
  }
  throw new Error('the engine does not rest')
}

/** Of a connection of its own. */
function answer({ port, password = '' }: RunningPeer, line: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const socket = connect({ host: ADDRESS, port })
  let said = ''
  socket.on('data', (chunk: Buffer) => {
    said += chunk.toString('latin1')
    if (!/^\+OK\r\n[^]+\r\n$/.test(said)) return
    socket.destroy()
    if (/^\+OK\r\n[+$]/.test(said)) resolve()
    else reject(new Error(said))
  })
  socket.on('error', reject)
  socket.on('close', () => reject(new Error(`the connection ended: ${said}`)))
  socket.write(`AUTH ${password}\r\n${line}\r\n`)
  return promise
}

export const REDIS_SCENARIOS: readonly Scenario[] = [
  requests('get', 'agent', 'get', 'GET through the agent', 1),
  requests('get-read', 'agent-reading', 'get', 'GET, read on its way', 2),
  requests('set', 'agent', 'set', 'SET through the agent', 1),
  requests('set-read', 'agent-reading', 'set', 'SET, read on its way', 2),
  revival(0, null),
  revival(10_000, 20),
  revival(100_000, null),
  neighbours,
  drill,
  statistics,
  thousand,
]
