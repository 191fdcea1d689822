/** What agents do beside carrying: backups and restores, timed; statistics, by their share of a processor. */
import { randomBytes } from 'node:crypto'
import { RespClient } from '../../agent/redis/resp/client.ts'
import type { DataNode } from '../../test/support/data-node.ts'
import { DATABASES, PASSWORD } from '../peers/data-nodes.ts'
import { cpuTime } from '../process-usage.ts'
import type { Scenario } from '../scenario.ts'

const KEYS = 100_000
const VALUE_BYTES = 500
/** As agents do it (agent/main.ts). */
const SAMPLE_INTERVAL_MS = 5000
const SAMPLES = 5
const GOAL_PERCENT = 1

const rowsOf = (place: string, where: string): Scenario['rows'] => [
  { id: `${place}-backup`, name: `backup of ${KEYS.toLocaleString('en')} keys (50 MB), ${where}`, unit: 'ms', goal: null },
  { id: `${place}-restore`, name: `its restore, ${where}, to the first reply`, unit: 'ms', goal: null },
]

export const drill: Scenario = {
  id: 'drill',
  subject: 'keepers',
  peers: [],
  maxRounds: 5,
  rows: [...rowsOf('disk', 'on the disk'), ...rowsOf('bucket', 'in a bucket')],
  async measure({ peer }) {
    const measured: Record<string, number> = {}
    for (const node of peer?.nodes ?? []) {
      const { backupMs, restoreMs } = await drilled(node)
      measured[`${node.id}-backup`] = backupMs
      measured[`${node.id}-restore`] = restoreMs
    }
    return measured
  },
}

async function drilled(node: DataNode): Promise<{ readonly backupMs: number; readonly restoreMs: number }> {
  await said(node, ['EVAL', `redis.call('flushall') for i = 1, ${KEYS} do redis.call('set', 'key:' .. i, string.rep('v', ${VALUE_BYTES})) end return 1`, '0'])
  const place = { service: 'db', backup: 'drill' }
  const key = randomBytes(32).toString('hex')
  const startMs = performance.now()
  const { bytes, sha256, store } = (await answered(node, 'redis.backup', { ...place, key })) as { bytes: number; sha256: string; store?: string }
  const backupMs = performance.now() - startMs
  await said(node, ['FLUSHALL'])
  const beginMs = performance.now()
  await answered(node, 'redis.restore', { target: 'db', ...place, key, bytes, sha256, ...(store !== undefined && { store }) })
  const found = await said(node, ['DBSIZE'])
  const restoreMs = performance.now() - beginMs
  if (found !== KEYS) throw new Error(`${found} keys came back of ${KEYS}`)
  await answered(node, 'redis.backup-remove', { ...place, ...(store !== undefined && { store }) })
  return { backupMs, restoreMs }
}

export const statistics: Scenario = {
  id: 'statistics',
  subject: 'fifty',
  peers: [],
  rows: [{ id: 'share', name: `statistics of ${DATABASES} databases, agent and engines`, unit: '% of a processor', goal: { atMost: 1, against: GOAL_PERCENT } }],
  async measure({ peer }) {
    const [node] = peer?.nodes ?? []
    if (node === undefined) throw new Error('there is no baseline here')
    const services = Array.from({ length: DATABASES }, (_each, index) => `db${index}`)
    const pids = services.map((service) => node.enginePid(service))
    const usedUs = (): number => cpuTime([process.pid, ...pids]).totalUs
    const before = usedUs()
    for (let sample = 0; sample < SAMPLES; sample++) await node.agent.statistics.sample()
    const usOfOne = (usedUs() - before) / SAMPLES
    return { share: (100 * usOfOne) / (SAMPLE_INTERVAL_MS * 1000) }
  },
}

async function answered(node: DataNode, name: string, params: object): Promise<unknown> {
  const answer = await node.agent.answer(name, params)
  if (typeof answer === 'object' && answer !== null && 'refused' in answer) throw new Error(`${name}: ${JSON.stringify(answer.refused)}`)
  return answer
}

async function said(node: DataNode, words: readonly string[]): Promise<number | null> {
  await node.available('db')
  const client = new RespClient(node.engineSocket('db'))
  try {
    await client.command(['AUTH', PASSWORD], 5000)
    const reply = await client.command(words, 60_000)
    if (reply.kind === 'error') throw new Error(reply.text)
    return reply.kind === 'number' ? reply.value : null
  } finally {
    client.close()
  }
}
