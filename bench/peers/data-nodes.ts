/**
 * Agents without a proxy, built as main.ts builds them, in the bench's own process: for what is asked of an agent rather than
 * sent through it. Engines are processes of their own, as always.
 */
import { KEY, addressChange, databaseRow, DataNode, dialerChange } from '../../test/support/data-node.ts'
import { startS3Server } from '../../test/support/s3-server.ts'
import { version } from './nearcast.ts'
import type { Peer, RunningPeer } from './peer.ts'

export const DATABASES = 50
export const PASSWORD = 'bench'
const MEMORY_BYTES = 256 << 20

async function nodeWith(id: string, services: readonly string[], redis: Record<string, unknown> = {}): Promise<DataNode> {
  const node = await new DataNode({ id, redis: { healthIntervalMs: 1000, ...redis } }).listen()
  const placements = [{ node: id, role: 'primary' as const }]
  await node.feed(dialerChange('proxy/bench', KEY), ...services.flatMap((service, index) => [addressChange(`fdaa:0:1:0:1::${(index + 2).toString(16)}`, service), databaseRow(service, placements, PASSWORD, { maxMemoryBytes: MEMORY_BYTES })]))
  for (const service of services) await node.available(service)
  return node
}

function peer(named: Pick<Peer, 'id' | 'label'>, start: () => Promise<{ readonly nodes: readonly DataNode[]; readonly stop?: () => Promise<void> }>): Peer {
  return {
    ...named,
    version,
    missing: () => null,
    configuration: () => '# as agents are by default\n',
    async start(_world, port): Promise<RunningPeer> {
      const { nodes, stop } = await start()
      return {
        port,
        pids: [],
        nodes,
        stop: async () => {
          for (const node of nodes) await node.close()
          await stop?.()
        },
      }
    },
  }
}

/** One keeps its backups on its disk, the other in a bucket of this machine. */
export const keepers = peer({ id: 'keepers', label: 'Nearcast agents with backups' }, async () => {
  const s3 = await startS3Server()
  const nodes = [await nodeWith('disk', ['db']), await nodeWith('bucket', ['db'], { backupBucket: s3.url, backupKeyFile: s3.keyFile })]
  return { nodes, stop: () => s3.close() }
})

export const fifty = peer({ id: 'fifty', label: `Nearcast agent with ${DATABASES} databases` }, async () => ({ nodes: [await nodeWith('fifty', Array.from({ length: DATABASES }, (_each, index) => `db${index}`))] }))
