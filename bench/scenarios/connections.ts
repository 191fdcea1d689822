/** A new connection for each request: accept, isolation, dial, header, one GET, close. */
import { load } from '../benchmark-client.ts'
import { cpuTime } from '../process-usage.ts'
import type { Scenario } from '../scenario.ts'

export const connections: Scenario = {
  id: 'connections',
  subject: 'nearcast',
  peers: ['haproxy', 'nginx', 'pipe', 'portable'],
  rows: [{ id: 'cpu', name: 'new connection + request + close', unit: 'us CPU/connection', goal: { atMost: 1, against: ['haproxy'] } }],
  async measure({ peer, quick }) {
    if (!peer) throw new Error('there is no baseline here')
    const requests = quick ? 1000 : 2500
    const before = cpuTime(peer.pids)
    await load(peer, { connections: 50, requests, keepAlive: false })
    const after = cpuTime(peer.pids)
    return { cpu: (after.totalUs - before.totalUs) / requests }
  },
}
