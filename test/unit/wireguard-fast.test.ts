/** The fast path without an interface: which path is taken and why; datagrams in rows by loopback, against Node's own socket. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { afterEach, expect, test } from 'vitest'
import { bindUdp } from '../../lib/kernel/listen.ts'
import { choosePath, probeFastPath } from '../../lib/wireguard/path.ts'
import type { Endpoint } from '../../lib/wireguard/bind.ts'
import { SegmentedUdpBind } from '../../lib/wireguard/segmented-udp-bind.ts'
import type { UdpBindOptions } from '../../lib/wireguard/udp-bind.ts'
import { Random, testSeed } from '../support/random.ts'
import { until } from '../support/until.ts'

const random = new Random(testSeed('wireguard-fast'))
const support = probeFastPath()
const able = support.answer === 'yes'
const named = (name: string): string => `${name}${able ? '' : ` (skipped: ${support.reason})`}`

const open: SegmentedUdpBind[] = []
afterEach(async () => {
  for (const bind of open.splice(0)) await bind.close()
})

interface Heard {
  readonly datagram: Buffer
  readonly from: Endpoint
}

async function opened(options: UdpBindOptions): Promise<{ readonly bind: SegmentedUdpBind; readonly heard: Heard[] }> {
  const bind = new SegmentedUdpBind(options)
  const heard: Heard[] = []
  await bind.open((datagram, from) => heard.push({ datagram: Buffer.from(datagram), from }))
  open.push(bind)
  return { bind, heard }
}

test('the path: what is configured, else what this machine has, with the reason', () => {
  const no = { answer: 'no', reason: 'seccomp' } as const
  expect(choosePath('portable', () => expect.unreachable())).toEqual({ name: 'portable', reason: 'configured' })
  expect(choosePath('auto', () => ({ answer: 'yes' }))).toEqual({ name: 'fast', reason: 'this kernel has it' })
  expect(choosePath('fast', () => ({ answer: 'yes' }))).toEqual({ name: 'fast', reason: 'configured' })
  expect(choosePath('auto', () => no)).toEqual({ name: 'portable', reason: 'seccomp' })
  expect(choosePath('auto', () => ({ answer: 'unknown', reason: 'no sockets' }))).toEqual({ name: 'portable', reason: 'no sockets' })
  expect(() => choosePath('fast', () => no)).toThrowError(expect.objectContaining({ code: 'wireguard.path-unavailable' }))
})

test.skipIf(!able).each([['127.0.0.1', { ipv4: '127.0.0.1', ipv6: null }], ['::1', { ipv4: null, ipv6: '::1' }]])(named('rows of every shape at %s arrive as the datagrams that they were, in their order'), async (host, options) => {
  const { bind, heard } = await opened(options)
  const other = await opened(options)
  const to = { host, port: other.bind.port }
  for (let round = 0; round < 40; round++) {
    const size = 1 + random.below(1500)
    const sent = Array.from({ length: 1 + random.below(70) }, () => Buffer.from(random.bytes(random.below(6) > 0 ? size : 1 + random.below(1500))))
    for (const datagram of sent) {
      const room = random.below(2) === 0 ? bind.room(datagram.length, to) : null
      room?.set(datagram)
      bind.send(room ?? datagram, to)
    }
    await until('all arrived', () => other.heard.length >= sent.length)
    expect(other.heard.splice(0).map(({ datagram, from }) => [datagram.toString('hex'), from.host, from.port])).toEqual(sent.map((datagram) => [datagram.toString('hex'), host, bind.port]))
  }
  // An end point that was heard is one that can be answered, and it is the same object each time.
  bind.send(Buffer.from('question'), to)
  await until('it came', () => other.heard.length === 1)
  for (const text of ['first', 'second']) if (other.heard[0]) other.bind.send(Buffer.from(text), other.heard[0].from)
  await until('both came back', () => heard.length === 2)
  expect(heard.map(({ datagram }) => datagram.toString())).toEqual(['first', 'second'])
  expect(heard[0]?.from).toBe(heard[1]?.from)
})

test.skipIf(!able)(named('with Node’s own socket, by a descriptor that was bound elsewhere'), async () => {
  const { fd, port } = bindUdp('127.0.0.1', 0)
  const { bind, heard } = await opened({ fd })
  expect(bind.port).toBe(port)
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const got: string[] = []
  socket.on('message', (data) => got.push(data.toString()))
  const to = { host: '127.0.0.1', port: socket.address().port }
  for (const text of ['aaaa', 'bbbb', 'cc', 'dddd']) bind.send(Buffer.from(text), to)
  await until('all came', () => got.length === 4)
  expect(got).toEqual(['aaaa', 'bbbb', 'cc', 'dddd'])
  socket.send('hello', port, '127.0.0.1')
  await until('it was heard', () => heard.length === 1)
  expect(heard[0]).toMatchObject({ datagram: Buffer.from('hello'), from: to })
  socket.close()
})

test.skipIf(!able)(named('several senders at once are told apart; what can’t be sent is lost, without an error'), async () => {
  const target = await opened({ ipv4: '127.0.0.1', ipv6: null })
  const to = { host: '127.0.0.1', port: target.bind.port }
  const senders = await Promise.all(Array.from({ length: 5 }, () => opened({ ipv4: '127.0.0.1', ipv6: null })))
  for (let index = 0; index < 50; index++) senders[index % 5]?.bind.send(Buffer.from(String(index % 5)), to)
  await until('all came', () => target.heard.length === 50)
  for (const { datagram, from } of target.heard) expect(from.port).toBe(senders[Number(datagram.toString())]?.bind.port)
  const [sender] = senders
  for (const endpoint of [{ host: '::1', port: 9 }, { host: '127.0.0.1', port: 0 }, { host: '127.0.0.1', port: 70_000 }, { host: '240.0.0.1', port: 9 }, { host: 'not an address', port: 9 }]) {
    expect(sender?.bind.room(10, endpoint)?.length ?? null).toBe(endpoint.host === '240.0.0.1' ? 10 : null)
    sender?.bind.send(Buffer.from('lost'), endpoint)
  }
  sender?.bind.send(Buffer.alloc(70_000), to)
  sender?.bind.send(new Uint8Array(0), to)
  sender?.bind.send(Buffer.from('last'), to)
  await until('the last one came', () => target.heard.length === 51)
  expect(target.heard.at(-1)?.datagram.toString()).toBe('last')
})

test.skipIf(!able)(named('a port that is taken is said to be; one that is closed is free again, and sends nothing'), async () => {
  const { bind } = await opened({})
  expect(bind.port).toBeGreaterThan(0)
  await expect(new SegmentedUdpBind({ port: bind.port }).open(() => undefined)).rejects.toThrowError(expect.objectContaining({ code: 'listen.in-use' }))
  const { port } = bind
  bind.send(Buffer.from('on its way'), { host: '127.0.0.1', port: 9 })
  await bind.close()
  await bind.close()
  bind.send(Buffer.from('nobody sends it'), { host: '127.0.0.1', port: 9 })
  await opened({ port })
})
