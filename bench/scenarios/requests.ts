/** Small requests over kept connections: both cores saturated, and calmly on a machine that has time. */
import { percentile } from '../../lib/distribution.ts'
import { load } from '../benchmark-client.ts'
import { PacedClient } from '../paced-client.ts'
import { cpuTime } from '../process-usage.ts'
import type { Scenario } from '../scenario.ts'
import { ADDRESS, DIRECT_PORT, SECOND } from '../world.ts'

const PEERS = ['haproxy', 'nginx', 'pipe', 'portable']
const CONNECTIONS = 50
const PER_SECOND = 2000

export const saturated: Scenario = {
  id: 'saturated',
  subject: 'nearcast',
  peers: PEERS,
  rows: [
    { id: 'cpu', name: 'small requests, cores saturated', unit: 'us CPU/request', goal: { atMost: 0.85, against: ['haproxy'] } },
    { id: 'user', name: 'of it in user space', unit: 'us CPU/request', goal: null, against: ['haproxy'] },
  ],
  async measure({ peer, quick }) {
    if (!peer) throw new Error('there is no baseline here')
    const requests = quick ? 10_000 : 20_000
    const before = cpuTime(peer.pids)
    await load(peer, { connections: CONNECTIONS, requests })
    const after = cpuTime(peer.pids)
    return { cpu: (after.totalUs - before.totalUs) / requests, user: (after.userUs - before.userUs) / requests }
  },
}

/** The same on two threads: two networks, as each of them meets one thread of ours. */
export const twoThreads: Scenario = {
  id: 'two-threads',
  subject: 'nearcast',
  peers: ['haproxy'],
  rows: [{ id: 'cpu', name: 'small requests, cores saturated, two threads', unit: 'us CPU/request', goal: { atMost: 0.85, against: ['haproxy'] } }],
  async measure({ peer, quick }) {
    if (peer?.twoThreadsPort === undefined) throw new Error('there are no two threads here')
    const requests = quick ? 5000 : 10_000
    const port = peer.twoThreadsPort
    const before = cpuTime(peer.pids)
    await Promise.all([ADDRESS, SECOND.address].map((host) => load({ host, port }, { connections: CONNECTIONS / 2, requests })))
    const after = cpuTime(peer.pids)
    return { cpu: (after.totalUs - before.totalUs) / (2 * requests) }
  },
}

export const wholePathRequests: Scenario = {
  ...saturated,
  id: 'whole-path',
  subject: 'whole-path',
  peers: ['haproxy'],
  maxRounds: 10,
  rows: [{ id: 'cpu', name: 'small requests, proxy + agent', unit: 'us CPU/request', goal: null, against: ['haproxy'] }],
}

export const calm: Scenario = {
  id: 'calm',
  subject: 'nearcast',
  peers: PEERS,
  baseline: ['p50', 'p99'],
  rows: [
    { id: 'cpu', name: 'small requests, idle machine', unit: 'us CPU/request', goal: { atMost: 1, against: ['haproxy'] } },
    { id: 'p50', name: 'added latency, p50', unit: 'us', goal: null, against: ['haproxy'] },
    { id: 'p99', name: 'added latency, p99', unit: 'us', goal: { atMost: 1, against: ['haproxy'] } },
  ],
  async measure({ peer, quick }) {
    const place = peer ? { host: ADDRESS, port: peer.port } : { host: '::1', port: DIRECT_PORT }
    const client = await PacedClient.open({ ...place, connections: CONNECTIONS, perSecond: PER_SECOND, durationMs: quick ? 500 : 1000 })
    try {
      const pids = peer?.pids ?? []
      const before = cpuTime(pids)
      const latenciesMs = await client.run()
      const after = cpuTime(pids)
      return {
        cpu: (after.totalUs - before.totalUs) / latenciesMs.length,
        p50: percentile(latenciesMs, 0.5) * 1000,
        p99: percentile(latenciesMs, 0.99) * 1000,
      }
    } finally {
      client.close()
    }
  },
}
