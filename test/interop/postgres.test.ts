/**
 * A real PostgreSQL behind the whole path (proxy's brain and plane, hop, agent), as psql sees it: plain, TLS, and Ctrl-C.
 * A second node answers like a PostgreSQL and remembers: what must not come to it doesn't.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { NetworkId } from '../../lib/address.ts'
import type { NodeRow, ServiceRow } from '../../lib/feed/messages.ts'
import { createLogger } from '../../lib/log.ts'
import { PortablePlane } from '../../lib/plane/portable.ts'
import type { ConnectionRecord } from '../../proxy/connection-record.ts'
import { Entrance } from '../../proxy/entrance.ts'
import { Turnstile } from '../../proxy/limits/turnstile.ts'
import { Nearest } from '../../proxy/nearest/nearest.ts'
import { Nodes } from '../../proxy/nearest/nodes.ts'
import { Reception } from '../../proxy/reception.ts'
import { addressChange, backendRow, DataNode, dialerChange, KEY } from '../support/data-node.ts'
import { LineServer } from '../support/line-server.ts'
import { postgresPrograms, PostgresServer, whyNoPostgres } from '../support/postgres-server.ts'
import { NO_TLS } from '../support/tls-edge.ts'
import { until } from '../support/until.ts'

const missing = whyNoPostgres()
const now = (): number => performance.now()
/** Two services of one PostgreSQL: `tls` by TCP, where it offers TLS, and `plain` by its Unix socket, where it doesn't. */
const SERVICES = ['tls', 'plain'] as const
type Service = (typeof SERVICES)[number]

describe.skipIf(missing !== null)(`PostgreSQL behind an address${missing === null ? '' : ` (skipped: ${missing})`}`, () => {
  let pg: PostgresServer
  let mad: DataNode
  let ams: DataNode
  const other = new LineServer({ answer: () => 'N' })
  const plane = new PortablePlane()
  const records: ConnectionRecord[] = []
  const log: Record<string, unknown>[] = []
  const logger = createLogger('proxy', 'debug', { write: (line) => void log.push(JSON.parse(line) as Record<string, unknown>) })
  const ports = new Map<Service, number>()
  const onEnd = (record: ConnectionRecord): void => void records.push(record)
  /** Who holds both services, as the proxy knows it. */
  let holders: ServiceRow['placements'] = [{ node: 'mad', role: 'peer' }]
  let nodes: Nodes

  beforeAll(async () => {
    pg = new PostgresServer()
    mad = new DataNode({ id: 'mad', backends: { allow: ['127.0.0.1:*', `unix:${pg.directory}/*`] } })
    ams = new DataNode({ id: 'ams', backends: { allow: ['127.0.0.1:*'] } })
    await Promise.all([pg.start(), other.start(), mad.listen(), ams.listen()])
    for (const [node, place] of [['mad', { tls: `127.0.0.1:${pg.port}`, plain: `unix:${pg.socket}` }], ['ams', { tls: `127.0.0.1:${other.port}`, plain: `127.0.0.1:${other.port}` }]] as const) {
      const rows = SERVICES.flatMap((service) => [backendRow(service, place[service], 'none', 'postgres', node)])
      const failed = await (node === 'mad' ? mad : ams).feed(dialerChange('proxy/p'), ...rows, addressChange('::1', 'tls'))
      expect(failed).toEqual([])
    }
    await serve()
  }, 30_000)

  afterAll(async () => {
    await plane.destroy()
    nodes?.close()
    await Promise.all([mad.close(), ams.close(), other.stop(), pg.stop()])
  })

  /** The proxy, less the host and the feed: every client is of one network, each port one service. */
  async function serve(): Promise<void> {
    const health = { intervalMs: 200, timeoutMs: 1000, failures: 3, successes: 1 }
    nodes = new Nodes({ self: 'proxy/p', host: 'h', tls: { ca: '', certificate: '', key: '' }, health, log: logger, now, random: () => 0.5 })
    for (const node of [mad, ams]) {
      const row: NodeRow = { id: node.id, region: node.id, host: 'h', hop: 'signed-v2', endpoint: '[::1]:1', socket: node.socket, keys: [{ epoch: 1, key: KEY }] }
      nodes.put(node.id, row)
    }
    const nearest = new Nearest({ settings: { hysteresisPercent: 20, hysteresisMs: 1 }, host: 'h', region: 'r', nodes, placements: () => holders })
    const turnstile = new Turnstile({ queueLength: 0, queueMs: 1, now, onHit: () => undefined })
    const entrance = new Entrance({
      decide: (_source, _destination, port) => {
        const service = SERVICES.find((each) => ports.get(each) === port) ?? 'tls'
        // The agents know one address; the generation stays, the service is the header's.
        return { allowed: true, route: { address: '::1', generation: 1, network: 1 as NetworkId, org: 'o', service, name: service, kind: 'postgres', port, placements: holders } }
      },
      maxConnections: 100,
      perNetworkConnections: 100,
      turnstile,
      onHit: () => undefined,
    })
    const dial = { connectTimeoutMs: 3000, deadlineMs: 10_000 }
    const reception = new Reception({
      self: 'proxy/p', entrance, turnstile, revocations: { judge: () => undefined }, nearest, nodes, dial, tls: NO_TLS, now, onDial: () => undefined, onEnd, log: logger,
    })
    for (const service of SERVICES) {
      const listener = await plane.listen({ target: { kind: 'tcp', host: '::1', port: 0 }, brain: (id) => reception.brain(id), answer: (id, question) => reception.answer(id, question) })
      ports.set(service, listener.port)
    }
    await until('both nodes are measured', () => ['mad', 'ams'].every((id) => nodes.get(id)?.reachable === true && nodes.get(id)?.latency.smoothedMs !== null))
  }

  /** The agents check that the address is the service's: it follows what is asked next. */
  async function turnTo(service: Service): Promise<void> {
    for (const node of [mad, ams]) await node.feed(addressChange('::1', service))
  }

  function psql(service: Service, sslmode: string, query: string): { child: ChildProcess; ended: Promise<{ code: number; out: string }> } {
    const place = `host=::1 port=${ports.get(service) ?? 0} user=demo dbname=postgres sslmode=${sslmode} gssencmode=disable`
    const child = spawn(join(postgresPrograms ?? '', 'psql'), ['-XAtq', '-c', query, place], { stdio: ['ignore', 'pipe', 'pipe'] })
    let out = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (out += chunk.toString()))
    return { child, ended: new Promise((resolve) => child.on('close', (code) => resolve({ code: code ?? -1, out: out.trim() }))) }
  }

  const running = async (marker: string): Promise<boolean> => (await pg.ask(`select count(*) from pg_stat_activity where query like '%${marker}%' and pid <> pg_backend_pid() and state = 'active'`)) === '1'

  async function whenRunning(marker: string): Promise<void> {
    await expect.poll(() => running(marker), { timeout: 10_000, interval: 20 }).toBe(true)
  }

  test('psql with TLS from end to end: the proxy carries what it can not read', async () => {
    await turnTo('tls')
    const { code, out } = await psql('tls', 'require', "select ssl, 'hello' from pg_stat_ssl where pid = pg_backend_pid()").ended
    expect([out, code]).toEqual(['t|hello', 0])
    await until('the record', () => records.length > 0)
    expect(records.at(-1)).toMatchObject({ outcome: 'carried', node: 'mad', route: { service: 'tls' } })
  })

  test('where TLS is refused, psql goes on in the clear or gives up, as it was told', async () => {
    await turnTo('plain')
    expect(await psql('plain', 'prefer', 'select 1').ended).toEqual({ code: 0, out: '1' })
    expect(await psql('plain', 'disable', 'select 2').ended).toEqual({ code: 0, out: '2' })
    expect((await psql('plain', 'require', 'select 3').ended).out).toMatch(/does not support SSL/)
  })

  test.each([['tls', 'require'], ['plain', 'disable']] as const)('Ctrl-C in psql (%s) cancels the query, although another node is the nearest by now', async (service, sslmode) => {
    await turnTo(service)
    holders = [{ node: 'mad', role: 'peer' }]
    const { child, ended } = psql(service, sslmode, `select 'slow-${service}', pg_sleep(30)`)
    await whenRunning(`slow-${service}`)
    holders = [{ node: 'ams', role: 'peer' }]
    const startedMs = performance.now()
    child.kill('SIGINT')
    expect((await ended).out).toMatch(/canceling statement due to user request/)
    expect(performance.now() - startedMs).toBeLessThan(10_000)
    await expect.poll(() => records.filter(({ outcome }) => outcome === 'cancel-request').length).toBeGreaterThan(0)
    expect(log.findLast((line) => line['msg'] === 'cancel request')).toMatchObject({ service, nodes: ['mad'], taken: 1 })
    expect(other.said.some((text) => text.startsWith('\0\0\0\x10'))).toBe(false)
    holders = [{ node: 'mad', role: 'peer' }]
  })

  test('a CancelRequest behind a refused SSLRequest is found, too', async () => {
    await turnTo('plain')
    holders = [{ node: 'mad', role: 'peer' }]
    const session = new Raw(ports.get('plain') ?? 0)
    const parameters = Buffer.from('user\0demo\0database\0postgres\0\0')
    session.socket.write(Buffer.concat([be32(8 + parameters.length), be32(196_608), parameters]))
    await until('the key', () => session.key() !== null)
    const key = session.key() ?? Buffer.alloc(8)
    session.socket.write(simpleQuery("select 'raw-slow', pg_sleep(30)"))
    await whenRunning('raw-slow')
    holders = [{ node: 'ams', role: 'peer' }, { node: 'mad', role: 'peer' }]
    const cancel = new Raw(ports.get('plain') ?? 0)
    cancel.socket.write(Buffer.concat([be32(8), be32(80_877_103)]))
    await until('the refusal', () => cancel.received.toString() === 'N')
    cancel.socket.write(Buffer.concat([be32(16), be32(80_877_102), key]))
    await until('the query is cancelled', () => session.received.includes('57014'))
    await until('the cancel connection ends', () => cancel.ended)
    session.socket.destroy()
    cancel.socket.destroy()
    holders = [{ node: 'mad', role: 'peer' }]
  })

  test('where no node carries the service, every node that holds it is told; a wrong key harms nobody', async () => {
    await turnTo('plain')
    await until('nobody is connected', () => nodes.get('mad')?.connections === 0 && nodes.get('ams')?.connections === 0)
    holders = [{ node: 'ams', role: 'peer' }, { node: 'mad', role: 'peer' }]
    const cancel = new Raw(ports.get('plain') ?? 0)
    const message = Buffer.concat([be32(16), be32(80_877_102), be32(1), be32(2)])
    cancel.socket.write(message)
    await until('the other node has it', () => other.said.includes(message.toString('latin1')))
    await until('the end', () => cancel.ended)
    expect(log.findLast((line) => line['msg'] === 'cancel request')).toMatchObject({ service: 'plain', taken: 2 })
    holders = [{ node: 'mad', role: 'peer' }]
    expect(await psql('plain', 'disable', 'select 4').ended).toEqual({ code: 0, out: '4' })
  })

  test('an agent that has forgotten our session gets the request again', async () => {
    await turnTo('plain')
    await until('nobody is connected', () => nodes.get('mad')?.connections === 0)
    const session = nodes.get('mad')?.session?.session
    // A session that the agent never opened.
    session?.fill(0)
    const before = log.length
    const unknown = 'nearcast_agent_refused_total{reason="unknown-session"}'
    const refusedBefore = (await mad.metric(unknown)) ?? 0
    const cancel = new Raw(ports.get('plain') ?? 0)
    cancel.socket.write(Buffer.concat([be32(16), be32(80_877_102), be32(1), be32(2)]))
    await until('the end', () => cancel.ended)
    expect(log.slice(before).find((line) => line['msg'] === 'cancel request')).toMatchObject({ nodes: ['mad'], taken: 1 })
    await expect.poll(() => mad.metric(unknown)).toBe(refusedBefore + 1)
  })

  test('checks leave no line in PostgreSQL’s log, and no key stands in ours', () => {
    expect(pg.log).not.toMatch(/could not accept SSL connection|unsupported frontend protocol|incomplete startup packet/)
    expect(JSON.stringify(log)).not.toContain('message')
  })
})

function be32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

function simpleQuery(text: string): Buffer {
  return Buffer.concat([Buffer.from('Q'), be32(4 + text.length + 1), Buffer.from(`${text}\0`)])
}

/** PostgreSQL's protocol, byte by byte. */
class Raw {
  readonly socket: Socket
  received: Buffer = Buffer.alloc(0)
  ended = false

  constructor(port: number) {
    this.socket = connect({ host: '::1', port, noDelay: true })
    this.socket.on('data', (chunk: Buffer) => (this.received = Buffer.concat([this.received, chunk])))
    this.socket.on('end', () => (this.ended = true))
    this.socket.on('error', () => {})
  }

  /** BackendKeyData: process id and key, once the server has sent them. */
  key(): Buffer | null {
    for (let offset = 0; offset + 5 <= this.received.length; offset += 1 + this.received.readUInt32BE(offset + 1)) {
      if (this.received[offset] === 'K'.charCodeAt(0)) return this.received.subarray(offset + 5, offset + 13)
    }
    return null
  }
}
