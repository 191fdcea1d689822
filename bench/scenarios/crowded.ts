/** Small requests while somebody else moves bulk through the same program: what one tenant's traffic costs another's latency. */
import { percentile } from '../../lib/distribution.ts'
import { load } from '../benchmark-client.ts'
import { PacedClient } from '../paced-client.ts'
import type { RunningPeer } from '../peers/peer.ts'
import type { Scenario } from '../scenario.ts'
import { ADDRESS, DIRECT_PORT } from '../world.ts'
import { bulk } from './bulk.ts'

const CONNECTIONS = 20
const PER_SECOND = 500
const BULK_CONNECTIONS = 2
/** 160 MiB; again and again as long as it takes. */
const BULK_REQUESTS = 20

export const crowded: Scenario = {
  id: 'crowded',
  subject: 'nearcast',
  peers: ['haproxy', 'nginx', 'pipe', 'portable'],
  baseline: ['p50', 'p99'],
  maxRounds: 10,
  rows: [
    { id: 'p50', name: 'added latency beside bulk, p50', unit: 'us', goal: null, against: ['haproxy'] },
    { id: 'p99', name: 'added latency beside bulk, p99', unit: 'us', goal: null, against: ['haproxy'] },
  ],
  ...(bulk.prepare && { prepare: bulk.prepare }),
  async measure({ peer, quick }) {
    const place = peer ? { host: ADDRESS, port: peer.port } : { host: '::1', port: DIRECT_PORT }
    const client = await PacedClient.open({ ...place, connections: CONNECTIONS, perSecond: PER_SECOND, durationMs: quick ? 500 : 1000 })
    const over = new AbortController()
    const moving = peer && moveBulk(peer, over.signal)
    try {
      const latenciesMs = await client.run()
      return { p50: percentile(latenciesMs, 0.5) * 1000, p99: percentile(latenciesMs, 0.99) * 1000 }
    } finally {
      over.abort()
      client.close()
      await moving
    }
  },
}

async function moveBulk(peer: RunningPeer, over: AbortSignal): Promise<void> {
  while (!over.aborted) await load(peer, { connections: BULK_CONNECTIONS, requests: BULK_REQUESTS, command: ['GET', 'bulk'] })
}
