/** Bulk: values of 8 MiB, half a gigabyte a round, from Redis to the client. */
import { execFileSync } from 'node:child_process'
import { load } from '../benchmark-client.ts'
import { cpuTime } from '../process-usage.ts'
import type { Scenario } from '../scenario.ts'

const VALUE_BYTES = 8 << 20

export const bulk: Scenario = {
  id: 'bulk',
  subject: 'nearcast',
  peers: ['haproxy', 'nginx', 'pipe', 'portable'],
  rows: [{ id: 'cpu', name: 'bulk', unit: 'ms CPU/GB', goal: { atMost: 1, against: ['haproxy', 'nginx'] } }],
  // oxlint-disable-next-line require-await -- a throw is to become a rejection
  async prepare({ redisSocket }) {
    execFileSync('redis-cli', ['-s', redisSocket, '-x', 'SET', 'bulk'], { input: Buffer.alloc(VALUE_BYTES, 'n'), stdio: ['pipe', 'ignore', 'inherit'] })
  },
  async measure({ peer, quick }) {
    if (!peer) throw new Error('there is no baseline here')
    const requests = (quick ? 1 << 28 : 1 << 29) / VALUE_BYTES
    const before = cpuTime(peer.pids)
    await load(peer, { connections: 4, requests, command: ['GET', 'bulk'] })
    const after = cpuTime(peer.pids)
    return { cpu: (after.totalUs - before.totalUs) / 1000 / ((requests * VALUE_BYTES) / 1e9) }
  },
}
