/** Cancel requests on their way: real sockets, servers that answer, refuse, are silent, or aren't there. */
import { afterEach, expect, test } from 'vitest'
import type { NetworkId } from '../../lib/address.ts'
import { parseIpv6 } from '../../lib/address.ts'
import { STATUS } from '../../lib/hop/protocol.ts'
import { createLogger } from '../../lib/log.ts'
import type { SignedOpening } from '../../proxy/headers.ts'
import { Cancellations } from '../../proxy/postgres/cancellations.ts'
import type { CancelQuestion } from '../../proxy/postgres/postgres-connection.ts'
import { freePort } from '../support/foreign-proxy.ts'
import { LineServer } from '../support/line-server.ts'
import type { LineServerOptions } from '../support/line-server.ts'
import { until } from '../support/until.ts'

const MESSAGE = Buffer.from('00000010 04d2162e 0000002a deadbeef'.replaceAll(' ', ''), 'hex')
const ENDPOINT = { ip: parseIpv6('fdaa:0:1:2::5'), port: 1 }
const ROUTE = { network: 1 as NetworkId, org: 'o', service: 'pg', address: 'fdaa:0:1:0:1::9', generation: 1 }
const QUESTION: CancelQuestion = { kind: 'cancel', route: ROUTE, source: ENDPOINT, destination: ENDPOINT, message: MESSAGE }
const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

async function server(options: LineServerOptions = {}): Promise<LineServer> {
  const made = await new LineServer(options).start()
  closing.push(() => made.stop())
  return made
}

interface Place {
  readonly port: number
  readonly signed: boolean
}

/** `carrying`: of the places, those that carry connections. null: no session with that one. */
function scene(places: Readonly<Record<string, Place | null>>, carrying: readonly string[] = []) {
  const log: Record<string, unknown>[] = []
  const sessions: [string, Uint8Array | null][] = []
  const cancellations = new Cancellations({
    carrying: () => carrying,
    holding: () => Object.keys(places),
    opening: (node): SignedOpening | null => {
      const place = places[node]
      if (!place) return null
      return { target: { kind: 'tcp', host: '127.0.0.1', port: place.port }, bytes: Buffer.from('HEADER'), expectsStatus: place.signed, session: Buffer.from(node) }
    },
    session: (node, refused) => Promise.resolve(sessions.push([node, refused])),
    timeoutMs: () => 1000,
    log: createLogger('proxy', 'info', { write: (line) => void log.push(JSON.parse(line) as Record<string, unknown>) }),
  })
  return { cancellations, log, sessions }
}

const ok = (byte: number): LineServerOptions => ({ answer: (bytes) => (bytes.toString('latin1') === 'HEADER' ? Buffer.of(byte) : null), endsAfter: 6 + MESSAGE.length })

test('a foreign node gets header and request in one write; it is done when that one closes', async () => {
  const foreign = await server({ endsAfter: 6 + MESSAGE.length })
  const { cancellations, log } = scene({ foreign: { port: foreign.port, signed: false } })
  expect(await cancellations.send(QUESTION)).toBe(1)
  expect(foreign.connections.map((chunks) => chunks.map(String))).toEqual([[`HEADER${MESSAGE.toString()}`]])
  expect(log).toMatchObject([{ msg: 'cancel request', nodes: ['foreign'], taken: 1 }])
})

test('an agent gets the request after its status byte, not before', async () => {
  const agent = await server(ok(STATUS.ok))
  const { cancellations } = scene({ agent: { port: agent.port, signed: true } })
  expect(await cancellations.send(QUESTION)).toBe(1)
  expect(agent.connections[0]?.map((chunk) => chunk.toString('hex'))).toEqual([Buffer.from('HEADER').toString('hex'), MESSAGE.toString('hex')])
})

test('only the nodes that carry the service are told, while there are any', async () => {
  const [near, far] = [await server(ok(STATUS.ok)), await server(ok(STATUS.ok))]
  const { cancellations } = scene({ near: { port: near.port, signed: true }, far: { port: far.port, signed: true } }, ['far', 'far'])
  expect(await cancellations.send(QUESTION)).toBe(1)
  expect([near.connections.length, far.connections.length]).toEqual([0, 1])
})

test('an unknown session is opened again, once, and named', async () => {
  const agent = await server({ answer: () => Buffer.of(STATUS.unknownSession) })
  const { cancellations, sessions } = scene({ agent: { port: agent.port, signed: true } })
  expect(await cancellations.send(QUESTION)).toBe(0)
  expect(sessions).toEqual([['agent', null], ['agent', Buffer.from('agent')]])
  expect(agent.connections.length).toBe(2)
})

test('nodes that refuse, are silent, are gone or without a session fail alone, and in time; no key in the log', async () => {
  const [refusing, silent, well] = [await server(ok(STATUS.refused)), await server(), await server(ok(STATUS.ok))]
  const places = { refusing: { port: refusing.port, signed: true }, silent: { port: silent.port, signed: true }, gone: { port: await freePort(), signed: true }, sessionless: null, well: { port: well.port, signed: true } }
  const { cancellations, log } = scene(places)
  expect(await cancellations.send(QUESTION)).toBe(1)
  const failed = log.filter((line) => String(line['msg']).startsWith('a cancel request'))
  expect(new Set(failed.map((line) => line['node']))).toEqual(new Set(['refusing', 'silent', 'gone', 'sessionless']))
  // The ones that did not say yes have not seen the key.
  for (const each of [refusing, silent]) expect(each.said).toEqual(['HEADER'])
  expect(JSON.stringify(log)).not.toContain('deadbeef')
})

test('no more than so many at once', async () => {
  const silent = await server()
  const { cancellations, log } = scene({ silent: { port: silent.port, signed: true } })
  const sent = Array.from({ length: 257 }, () => cancellations.send(QUESTION))
  await Promise.all(sent)
  await until('the servers are asked', () => silent.connections.length > 0)
  expect(log.filter((line) => String(line['msg']).startsWith('too many')).length).toBe(1)
  expect(await cancellations.send(QUESTION)).toBe(0)
  expect(log.filter((line) => String(line['msg']).startsWith('too many')).length).toBe(1)
})
