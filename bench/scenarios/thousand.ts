/**
 * A node that holds 1,000 databases, of which 50 are in use: what they take of memory and processors. All have run once; those that
 * rest are files, and their row counts the processes that are left of them.
 */
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { enginePids } from '../engines.ts'
import { crowdAddress } from '../peers/nearcast-state.ts'
import type { RunningPeer } from '../peers/peer.ts'
import { cpuTime, memoryKb, residentKb } from '../process-usage.ts'
import type { Scenario } from '../scenario.ts'

const DATABASES = 1000
const ACTIVE = 50
const ALL_REST_TIMEOUT_MS = 180_000
const POLL_MS = 250
const IDLE_MS = 10_000
/** Requests of each database in use. */
const PER_SECOND = 10
const BUSY_MS = 5000

const name = (text: string): string => `${DATABASES.toLocaleString('en')} databases, ${text}`

export const thousand: Scenario = {
  id: 'thousand',
  subject: 'agent-thousand',
  peers: [],
  maxRounds: 1,
  rows: [
    { id: 'idle', name: name('all resting: processor time of the agent'), unit: '% of a processor', goal: null },
    { id: 'parked', name: name('all resting: processes of engines'), unit: 'processes', goal: { atMost: 0, against: 1 } },
    { id: 'resident', name: name(`${ACTIVE} in use: resident memory of agent and engines`), unit: 'MB', goal: null },
    { id: 'proportional', name: '… what is shared counted once', unit: 'MB', goal: null },
    { id: 'each', name: '… of it per database in use, resident', unit: 'MB', goal: null },
    { id: 'quiet', name: name(`${ACTIVE} connected and silent: agent and engines`), unit: '% of a processor', goal: null },
    { id: 'busy', name: name(`${ACTIVE} in use, ${PER_SECOND} requests a second each: agent and engines`), unit: '% of a processor', goal: null },
  ],
  async measure({ peer }) {
    if (!peer) throw new Error('there is no baseline here')
    const { pids, dataDir = '' } = peer
    await allRest(peer)
    const idle = await share(pids, IDLE_MS)
    const parked = enginePids(dataDir).length
    const sockets = await Promise.all(Array.from({ length: ACTIVE }, (_each, index) => opened(peer, crowdAddress(index))))
    try {
      const engines = enginePids(dataDir)
      if (engines.length !== ACTIVE) throw new Error(`${engines.length} engines run for ${ACTIVE} databases in use`)
      const all = [...pids, ...engines]
      const quiet = await share(all, IDLE_MS)
      const asking = setInterval(() => {
        for (const socket of sockets) socket.write('GET none\r\n')
      }, 1000 / PER_SECOND)
      const busy = await share(all, BUSY_MS)
      clearInterval(asking)
      return { idle, parked, resident: residentKb(all) / 1024, proportional: memoryKb(all) / 1024, each: residentKb(engines) / 1024 / ACTIVE, quiet, busy }
    } finally {
      for (const socket of sockets) socket.destroy()
    }
  },
}

/** Percent of one processor. */
async function share(pids: readonly number[], ms: number): Promise<number> {
  const [before, beganMs] = [cpuTime(pids).totalUs, performance.now()]
  await delay(ms)
  return (cpuTime(pids).totalUs - before) / 10 / (performance.now() - beganMs)
}

async function allRest({ metricsPort = 0, dataDir = '' }: RunningPeer): Promise<void> {
  const deadlineMs = performance.now() + ALL_REST_TIMEOUT_MS
  while (performance.now() < deadlineMs) {
    const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text()
    if (text.match(/^nearcast_agent_engine_resting\{.*\} 1$/gm)?.length === DATABASES && enginePids(dataDir).length === 0) return
    await delay(POLL_MS)
  }
  throw new Error('not all engines rest')
}

async function opened({ port, password = '' }: RunningPeer, host: string): Promise<Socket> {
  const socket = connect({ host, port, noDelay: true })
  socket.write(`AUTH ${password}\r\n`)
  const [said] = (await once(socket, 'data')) as [Buffer]
  if (said.toString('latin1') !== '+OK\r\n') throw new Error(`a database in use said ${said.toString('latin1')}`)
  return socket.on('data', () => undefined).on('error', () => undefined)
}
