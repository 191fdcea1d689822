/**
 * A primary and a replica on two nodes, joined by the hop (Unix socket or mutual TLS) and by bridges inside the engines'
 * network namespaces. Real Redis on both ends.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { RespClient } from '../../agent/redis/resp/client.ts'
import type { Change, NodeRow } from '../../lib/feed/messages.ts'
import type { HopTls } from '../../lib/plane/plane.ts'
import { createTestCa } from '../support/certificates.ts'
import { addressChange, databaseRow, DataNode, dialerChange, KEY } from '../support/data-node.ts'
import { HopDialer } from '../support/hop-dialer.ts'
import { until } from '../support/until.ts'

const A = 'fdaa:0:1:0:1::2'
const PLACEMENTS = [
  { node: 'mad', role: 'primary' as const },
  { node: 'gru', role: 'replica' as const },
]
const nodes: DataNode[] = []
const closing: (() => void)[] = []

afterEach(async () => {
  for (const close of closing.splice(0)) close()
  await Promise.all(nodes.splice(0).map((node) => node.close()))
})

async function dataNode(id: string, tls?: HopTls): Promise<DataNode> {
  const node = new DataNode({ id, ...(tls && { tls }) })
  nodes.push(node)
  return node.listen()
}

/** How others dial it: by socket from `socketHost`, else by TLS. */
function nodeChange(node: DataNode, socketHost: string | null, keys: NodeRow['keys'] = [{ epoch: 1, key: KEY }]): Change {
  const endpoint = `[::1]:${node.port === 0 ? 1 : node.port}`
  const row: NodeRow = { id: node.id, region: node.id, host: socketHost ?? 'elsewhere', hop: 'signed-v2', endpoint, socket: node.socket, keys }
  return { table: 'nodes', key: node.id, row }
}

async function say(node: DataNode, service: string, password: string, ...words: string[]): Promise<string> {
  const client = new RespClient(node.engineSocket(service))
  try {
    await client.command(['AUTH', password], 5000)
    const reply = await client.command(words, 5000)
    return reply.kind === 'text' || reply.kind === 'error' ? reply.text : reply.kind === 'number' ? String(reply.value) : reply.kind
  } finally {
    client.close()
  }
}

/** Two nodes with one database, the replica available. */
async function pair(identities?: { mad: HopTls; gru: HopTls }): Promise<{ mad: DataNode; gru: DataNode }> {
  const mad = await dataNode('mad', identities?.mad)
  const gru = await dataNode('gru', identities?.gru)
  expect(await mad.feed(dialerChange('agent/gru'), dialerChange('proxy/mad-1'), databaseRow('db', PLACEMENTS, 'pw'), addressChange(A, 'db'))).toEqual([])
  expect(await say(mad, 'db', 'pw', 'SET', 'k', 'from before')).toBe('OK')
  const host = identities === undefined ? 'gru-host' : null
  expect(await gru.feed(nodeChange(mad, host), dialerChange('proxy/mad-1'), databaseRow('db', PLACEMENTS, 'pw'), addressChange(A, 'db'))).toEqual([])
  await gru.available('db')
  return { mad, gru }
}

test('a replica copies over the hop, follows, and refuses writes', async () => {
  const { mad, gru } = await pair()
  expect(await say(gru, 'db', 'pw', 'GET', 'k')).toBe('from before')
  await say(mad, 'db', 'pw', 'SET', 'k', 'later')
  await expect.poll(() => say(gru, 'db', 'pw', 'GET', 'k')).toBe('later')
  const proxy = await new HopDialer({ path: gru.socket, agent: 'gru' }).open()
  closing.push(() => proxy.close())
  expect(await proxy.command('db', A, 'pw', 'SET k x')).toMatch(/^-READONLY/)
  expect(await proxy.command('db', A, 'pw', 'GET k')).toBe('$5\r\nlater\r\n')
  expect(await gru.metric('nearcast_agent_replication_link_up{service="db"}')).toBe(1)
  expect(await mad.metric('nearcast_agent_connections_total{service="db",purpose="replication"}')).toBe(1)
})

test('over mutual TLS as well', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'nearcast-ca-'))
  try {
    const ca = createTestCa(directory)
    const { gru } = await pair({ mad: ca.issue('nearcast://agent/mad'), gru: ca.issue('nearcast://agent/gru') })
    expect(await say(gru, 'db', 'pw', 'GET', 'k')).toBe('from before')
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})

test('a replica that never had its data is unavailable and says why', async () => {
  const gru = await dataNode('gru')
  expect(await gru.feed(databaseRow('db', PLACEMENTS, 'pw'))).toEqual([])
  await until('the reason', () => gru.unavailable['db'] === 'replica.syncing')
  expect(await gru.metric('nearcast_agent_replication_link_up{service="db"}')).toBe(0)
})

test('without its primary a replica goes on answering, and follows again when that is back', async () => {
  const { mad, gru } = await pair()
  process.kill(mad.enginePid('db'), 'SIGSTOP')
  await until('the primary is unavailable', () => mad.unavailable['db'] !== undefined)
  process.kill(mad.enginePid('db'), 'SIGKILL')
  await expect.poll(() => gru.metric('nearcast_agent_replication_link_up{service="db"}'), { timeout: 5000 }).toBe(0)
  expect(await say(gru, 'db', 'pw', 'GET', 'k')).toBe('from before')
  expect(gru.unavailable).toEqual({})
  await mad.available('db')
  await say(mad, 'db', 'pw', 'SET', 'k', 'after')
  await expect.poll(() => say(gru, 'db', 'pw', 'GET', 'k'), { timeout: 8000 }).toBe('after')
})

test('a replica that had its data has it after a restart without its primary; one whose copy was cut short has not', async () => {
  const { mad, gru } = await pair()
  const noted = join(gru.dataDir, 'db', 'copied')
  await until('the copy is noted', () => existsSync(noted))
  await mad.feed({ table: 'services', key: 'db', row: null })
  const restart = async (): Promise<void> => {
    const pid = gru.enginePid('db')
    process.kill(pid, 'SIGKILL')
    await until('another engine runs', () => ![0, pid].includes(gru.enginePid('db')))
    await until('it answers', () => gru.agent.tenants.supervisors.get('db')?.answers === true)
  }
  await restart()
  await gru.available('db')
  expect(await say(gru, 'db', 'pw', 'GET', 'k')).toBe('from before')

  rmSync(noted)
  await restart()
  expect(gru.unavailable).toEqual({ db: 'replica.syncing' })
})

test('an agent that holds no replica, or signs with another key, gets no copy', async () => {
  const mad = await dataNode('mad')
  await mad.feed(dialerChange('agent/gru'), dialerChange('agent/ams', '11'.repeat(32)), databaseRow('db', PLACEMENTS, 'pw'))
  const refusal = async (dialer: string, key?: string): Promise<number | null> => {
    const hop = await new HopDialer({ path: mad.socket, agent: 'mad', dialer, ...(key !== undefined && { key }) }).open()
    closing.push(() => hop.close())
    return hop.connect('db', '::', { purpose: 'replication', generation: 0 }).status()
  }
  expect(await refusal('agent/gru')).toBe(0)
  expect(await refusal('agent/gru', '22'.repeat(32))).toBe(2)
  expect(await refusal('agent/ams', '11'.repeat(32))).toBe(2)
  await expect.poll(() => mad.metric('nearcast_agent_refused_total{reason="no-replica"}')).toBe(1)
})

test('a replica becomes the primary under its open connections, and a primary a replica', async () => {
  const { mad, gru } = await pair()
  const pid = gru.enginePid('db')
  const turned = [
    { node: 'gru', role: 'primary' as const },
    { node: 'mad', role: 'replica' as const },
  ]
  await gru.feed(dialerChange('agent/mad'), databaseRow('db', turned, 'pw'))
  await expect.poll(() => say(gru, 'db', 'pw', 'SET', 'k', 'turned')).toBe('OK')
  expect(gru.enginePid('db')).toBe(pid)
  await mad.feed(nodeChange(gru, 'mad-host'), databaseRow('db', turned, 'pw'))
  await expect.poll(() => say(mad, 'db', 'pw', 'GET', 'k'), { timeout: 8000 }).toBe('turned')
  expect(await say(mad, 'db', 'pw', 'SET', 'k', 'x')).toMatch(/^READONLY/)
  expect(gru.unavailable).toEqual({})
})
