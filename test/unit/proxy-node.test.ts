/** One data node as a proxy probes it. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createLogger } from '../../lib/log.ts'
import { Node } from '../../proxy/nearest/node.ts'
import { until } from '../support/until.ts'

test('a node that starts together with the proxy is measured long before the next regular probe, and isn’t judged until then', async () => {
  const server = createServer((socket) => socket.destroy()).listen(0, '::1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  server.close()
  await once(server, 'close')
  const node = new Node(
    { id: 'n', region: 'mad', host: 'elsewhere', hop: 'v1', endpoint: `[::1]:${port}`, keys: [] },
    {
      self: 'proxy/p',
      host: 'h',
      tls: { ca: '', certificate: '', key: '' },
      // Three regular probes would take minutes.
      health: { intervalMs: 60_000, timeoutMs: 1000, failures: 1, successes: 1 },
      log: createLogger('test', 'silent'),
      now: () => performance.now(),
      random: () => 0.5,
    },
  )
  // For the first probe to fail; too short a time would only show less.
  await delay(50)
  expect(node.latency.smoothedMs).toBeNull()
  expect(node.health.healthy).toBe(true)
  const again = createServer((socket) => socket.destroy()).listen(port, '::1')
  await until('it is measured', () => node.latency.smoothedMs !== null)
  expect(node.health.healthy).toBe(true)
  node.close()
  again.close()
})
