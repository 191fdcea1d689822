/**
 * THE contract of lib/plane/plane.ts: every plane runs this suite, over each transport. A plane that passes may replace
 * another without its brains noticing.
 */
import { readdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Brain, CarryResult, DialTarget, ListenOptions, Listener, ListenTarget, Plane, PlaneAction, PlaneEvent } from '../../lib/plane/plane.ts'
import { formatIpv6 } from '../../lib/address.ts'
import { bulkPeer } from '../support/bulk-peer.ts'
import { deafServer } from '../support/deaf-server.ts'
import { until } from '../support/until.ts'
import { PROXY_IDENTITY, Wires } from '../support/wires.ts'
import type { End, Transport } from '../support/wires.ts'

const MIB = 1 << 20
const GIB = 1 << 30
const DIAL_TIMEOUT_MS = 3000
const CARRY: PlaneAction = { type: 'carry' }

type Script = (event: PlaneEvent, id: number) => readonly PlaneAction[] | undefined

export function planeContract(name: string, makePlane: () => Plane, transports: readonly Transport[] = ['tcp', 'unix', 'tls']): void {
  describe.each<Transport>(transports)(`${name} plane over %s`, (transport) => {
    /** A Unix socket has no RST and no route. */
    const onNetwork = transport === 'unix' ? undefined : test
    const onTls = transport === 'tls' ? test : undefined
    let plane: Plane
    let wires: Wires
    let listenTarget: ListenTarget
    let descriptors: number
    let events: PlaneEvent[]

    beforeEach(() => {
      descriptors = openDescriptors()
      plane = makePlane()
      wires = new Wires(transport)
      listenTarget = wires.listenTarget()
      events = []
    })

    afterEach(async () => {
      await plane.destroy()
      wires.close()
      expect(plane.openConnections).toBe(0)
      await until('no descriptor is left', () => openDescriptors() <= descriptors)
    })

    function listen(script: Script, options: Partial<ListenOptions> = {}): Promise<Listener> {
      const brain = (id: number): Brain => ({
        on(event) {
          events.push(event.type === 'received' ? { ...event, bytes: Uint8Array.from(event.bytes) } : event)
          return script(event, id) ?? []
        },
      })
      return plane.listen({ target: listenTarget, brain, ...options })
    }

    async function carried(rates?: readonly string[]): Promise<{ client: End; upstream: End }> {
      const ends: End[] = []
      const target = await wires.server((end) => ends.push(end))
      const listener = await listen(carrier(target, rates))
      const client = await wires.client(listener, listenTarget)
      return { client, upstream: await first(ends) }
    }

    const result = async (): Promise<CarryResult> => {
      await until('closed', () => events.some((event) => event.type === 'closed'))
      const closed = events.find((event) => event.type === 'closed')
      if (closed?.type !== 'closed') throw new Error('no result')
      return closed.result
    }
    const types = (): string[] => events.map((event) => event.type)

    test('tells who came', async () => {
      const listener = await listen(() => undefined)
      await wires.client(listener, listenTarget)
      await until('accepted', () => events.length === 1)
      const [accepted] = events
      if (accepted?.type !== 'accepted') throw new Error('not accepted')
      if (transport === 'unix') {
        expect(accepted).toMatchObject({ source: null, destination: null, peer: { kind: 'process', uid: process.getuid?.(), pid: process.pid } })
        return
      }
      expect(accepted.destination?.port).toBe(listener.port)
      expect(accepted.source && formatIpv6(accepted.source.ip)).toBe('::1')
      expect(accepted.destination && formatIpv6(accepted.destination.ip)).toBe('::1')
      expect(accepted.peer).toEqual(transport === 'tls' ? { kind: 'certificate', identity: PROXY_IDENTITY, serial: expect.stringMatching(/^[0-9A-F]+$/) as unknown } : { kind: 'anonymous' })
    })

    test('half-close: the client ends first and still gets the answer', async () => {
      const { client, upstream } = await carried()
      client.socket.end('question')
      await until('the FIN arrives upstream', () => upstream.ended)
      expect(upstream.text).toBe('question')
      expect(client.ended).toBe(false)
      upstream.socket.end('answer')
      await until('the FIN arrives back', () => client.ended)
      expect(client.text).toBe('answer')
      expect(await result()).toMatchObject({ bytesUp: 8, bytesDown: 6, endedBy: 'client', how: 'end' })
    })

    test('half-close: the server ends first and still gets the rest', async () => {
      const { client, upstream } = await carried()
      upstream.socket.end('bye')
      await until('the FIN arrives at the client', () => client.ended)
      expect(client.text).toBe('bye')
      client.socket.write('still ')
      client.socket.end('here')
      await until('the FIN arrives upstream', () => upstream.ended)
      expect(upstream.text).toBe('still here')
      expect(await result()).toMatchObject({ bytesUp: 10, bytesDown: 3, endedBy: 'upstream', how: 'end' })
    })

    test.each(['client', 'upstream'] as const)('a rate holds the %s back: the mean, every byte, and the end behind them', async (side) => {
      const rate = 4_000_000
      // Both names count; the other direction and other names are free.
      plane.setRate('wide', { bytesPerSecondUp: 50_000_000, bytesPerSecondDown: 50_000_000 })
      plane.setRate('narrow', side === 'client' ? { bytesPerSecondUp: rate } : { bytesPerSecondDown: rate })
      const { client, upstream } = await carried(['wide', 'narrow'])
      const [sender, receiver] = side === 'client' ? [client, upstream] : [upstream, client]
      const bytes = 3_000_000
      const begun = performance.now()
      sender.socket.end(Buffer.alloc(bytes, 7))
      receiver.socket.end('free')
      await until('the other direction', () => sender.ended)
      expect(sender.text).toBe('free')
      await until('all of it', () => receiver.ended)
      const seconds = (performance.now() - begun) / 1000
      expect(receiver.receivedBytes).toBe(bytes)
      // At most 0.1 s was saved up, and one chunk passes first. A busy machine may take longer, never less.
      expect(seconds).toBeGreaterThan((bytes - rate * 0.1 - 64 * 1024) / rate / 1.1)
      expect(plane.rateWaits('narrow')?.[side === 'client' ? 'up' : 'down']).toBeGreaterThan(5)
      expect(await result()).toMatchObject(side === 'client' ? { bytesUp: bytes, bytesDown: 4, how: 'end' } : { bytesUp: 4, bytesDown: bytes, how: 'end' })
    })

    test('a rate that begins while bytes are carried holds them back from there on', async () => {
      const { client, upstream } = await carried(['late'])
      client.socket.write('free')
      await until('what came before', () => upstream.receivedBytes === 4)
      const rate = 2_000_000
      plane.setRate('late', { bytesPerSecondUp: rate })
      const bytes = 1_000_000
      const begun = performance.now()
      client.socket.end(Buffer.alloc(bytes, 7))
      await until('all of it', () => upstream.ended)
      expect((performance.now() - begun) / 1000).toBeGreaterThan((bytes - rate * 0.1 - 2 * 64 * 1024) / rate / 1.1)
      expect(plane.rateWaits('late')?.up).toBeGreaterThan(0)
      expect(upstream.receivedBytes).toBe(4 + bytes)
      client.socket.destroy()
      upstream.socket.destroy()
      plane.setRate('late', null)
    })

    test('connections share a rate in turn; those of another name are not delayed; the rate of open ones can be changed', async () => {
      plane.setRate('limited', { bytesPerSecondUp: 400_000 })
      const names = ['limited', 'limited', 'limited', 'free']
      const ends: End[] = []
      const target = await wires.server((end) => ends.push(end))
      const listener = await listen((event, id) => carrier(target, [names[id - 1] ?? ''])(event, id))
      const clients: End[] = []
      for (const [index] of names.entries()) {
        clients.push(await wires.client(listener, listenTarget))
        await until('its upstream', () => ends.length === index + 1)
      }
      const bytes = 2_000_000
      for (const client of clients) client.socket.write(Buffer.alloc(bytes))
      const [one, two, three, free] = ends
      if (!one || !two || !three || !free) throw new Error('no upstream')
      await until('the free one is done', () => free.receivedBytes === bytes)
      const limited = [one, two, three]
      const sum = (): number => limited.reduce((total, end) => total + end.receivedBytes, 0)
      expect(sum()).toBeLessThan(bytes)
      await until('all three move', () => limited.every((end) => end.receivedBytes > 0))
      // In turn: nobody has more than two chunks more than another (a third of slack for how TLS cuts them).
      const counts = limited.map((end) => end.receivedBytes)
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThan(200_000)
      plane.setRate('limited', null)
      await until('the rest follows', () => sum() === 3 * bytes)
      expect(plane.rateWaits('limited')).toBeNull()
    })

    onNetwork?.('a sender that is held back by a rate: its reset still arrives, and a cut leaves nothing', async () => {
      plane.setRate('slow', { bytesPerSecondUp: 1000 })
      const { client, upstream } = await carried(['slow'])
      client.socket.write(Buffer.alloc(300_000))
      await until('it waits', () => (plane.rateWaits('slow')?.up ?? 0) > 0)
      client.reset()
      await until('the other is closed', () => upstream.closed)
      expect(upstream.errorCode).toBe('ECONNRESET')
      expect(await result()).toMatchObject({ endedBy: 'client', how: 'reset' })
    })

    test.each(['client', 'upstream'] as const)('a reset of the %s while carrying resets the other', async (side) => {
      const { client, upstream } = await carried()
      client.socket.write('x')
      upstream.socket.write('y')
      await Promise.all([client.received(1), upstream.received(1)])
      const [breaker, other] = side === 'client' ? [client, upstream] : [upstream, client]
      breaker.reset()
      if (transport === 'unix') {
        await until('the end arrives', () => other.ended)
        other.socket.destroy()
        await result()
        return
      }
      await until('the other is closed', () => other.closed)
      expect(other.errorCode).toBe('ECONNRESET')
      expect(other.ended).toBe(false)
      expect(await result()).toMatchObject({ bytesUp: 1, bytesDown: 1, endedBy: side, how: 'reset' })
    })

    test('reset refuses without reading or dialling', async () => {
      const listener = await listen(() => [{ type: 'reset' }])
      const client = await wires.client(listener, listenTarget)
      client.socket.write('never read')
      await until('the client is closed', () => client.closed || client.ended)
      if (transport !== 'unix') expect(client.errorCode).toBe('ECONNRESET')
      expect(await result()).toMatchObject({ bytesUp: 0, bytesDown: 0, endedBy: 'local', how: 'reset' })
      expect(types()).toEqual(['accepted', 'closed'])
    })

    test('nothing is read before it is asked for', async () => {
      let asked = false
      const listener = await listen((event) => {
        if (event.type === 'accepted') return [{ type: 'timer', name: 'later', afterMs: 100 }]
        if (event.type !== 'timer') return undefined
        asked = true
        return [{ type: 'read', side: 'client', limitBytes: 100 }]
      })
      const client = await wires.client(listener, listenTarget)
      client.socket.write('hello')
      await until('received', () => types().includes('received'))
      expect(asked).toBe(true)
      expect(types()).toEqual(['accepted', 'timer', 'received'])
    })

    test('held bytes grow until consumed, and reading stops at the limit', async () => {
      const limitBytes = 1000
      const listener = await listen((event) => {
        if (event.type === 'accepted') return [{ type: 'read', side: 'client', limitBytes }]
        if (event.type === 'received' && event.bytes.length < limitBytes) return [{ type: 'consume', side: 'client', bytes: 1 }]
        return undefined
      })
      const client = await wires.client(listener, listenTarget)
      client.socket.write('abc')
      await until('the first arrival', () => types().includes('received'))
      client.socket.write('d')
      await until('the second arrival', () => types().filter((type) => type === 'received').length === 2)
      expect(events.map((event) => (event.type === 'received' ? Buffer.from(event.bytes).toString() : null)).slice(1)).toEqual(['abc', 'bcd'])
      client.socket.write(Buffer.alloc(16 * MIB))
      await until('the sender is stopped', () => isStopped(client))
      const held = Math.max(...events.map((event) => (event.type === 'received' ? event.bytes.length : 0)))
      expect(held).toBeGreaterThanOrEqual(limitBytes)
      expect(held).toBeLessThanOrEqual(limitBytes + 65_536)
    })

    test('before carrying, FIN is `ended` and is kept; a reset of the client ends it', async () => {
      const ends: End[] = []
      const target = await wires.server((end) => ends.push(end))
      const listener = await listen((event) => {
        if (event.type === 'accepted') return [{ type: 'read', side: 'client', limitBytes: 100 }]
        if (event.type === 'ended') return [dialTo(target)]
        return event.type === 'dialled' ? [CARRY] : undefined
      })
      const client = await wires.client(listener, listenTarget)
      client.socket.end('all')
      const upstream = await first(ends)
      await until('the FIN arrives', () => upstream.ended)
      expect(upstream.text).toBe('all')
      upstream.socket.end('done')
      await until('answered', () => client.ended)
      expect(client.text).toBe('done')
      expect(await result()).toMatchObject({ bytesUp: 3, bytesDown: 4, endedBy: 'client', how: 'end' })

      events = []
      const other = await wires.client(listener, listenTarget)
      other.socket.write('x')
      await until('received', () => types().includes('received'))
      other.reset()
      if (transport === 'unix') return
      expect(await result()).toMatchObject({ endedBy: 'client', how: 'reset' })
      expect(types()).toEqual(['accepted', 'received', 'failed', 'closed'])
    })

    onNetwork?.('a client that resets while nothing is read from it is noticed', async () => {
      const listener = await listen(() => undefined)
      const client = await wires.client(listener, listenTarget)
      client.socket.write('unread')
      await until('accepted', () => types().includes('accepted'))
      client.reset()
      expect(await result()).toMatchObject({ endedBy: 'client', how: 'reset' })
    })

    onNetwork?.('a client that has ended and resets while nothing is sent to it is noticed', async () => {
      const { client, upstream } = await carried()
      client.socket.end('question')
      await until('the FIN arrives upstream', () => upstream.ended)
      client.reset()
      const resetAtMs = performance.now()
      await until('a second is over', () => performance.now() - resetAtMs > 1000)
      // What is said to somebody who has gone isn't carried.
      upstream.socket.end('too late')
      expect(await result()).toMatchObject({ bytesUp: 8, bytesDown: 0, endedBy: 'client', how: 'reset' })
    })

    test('an upstream that breaks before carrying is `failed`; the next dial serves', async () => {
      const ends: End[] = []
      const broken = await wires.server((end) => (transport === 'unix' ? end.socket.destroy() : end.reset()))
      const good = await wires.server((end) => ends.push(end))
      let dials = 0
      const next = (): PlaneAction[] => {
        dials++
        return [dialTo(good)]
      }
      const listener = await listen((event) => {
        if (event.type === 'accepted') return [dialTo(broken)]
        if (event.type === 'dialled') return dials === 0 ? [{ type: 'read', side: 'upstream', limitBytes: 1 }] : [CARRY]
        return event.type === 'failed' || event.type === 'ended' || event.type === 'dial-failed' ? next() : undefined
      })
      const client = await wires.client(listener, listenTarget)
      client.socket.write('hi')
      const upstream = await first(ends)
      await upstream.received(2)
      client.reset()
      upstream.socket.destroy()
      await result()
    })

    test('the header and what was read leave in one write', async () => {
      const ends: End[] = []
      const target = await wires.server((end) => ends.push(end))
      const header = Buffer.from('HEADER ')
      const listener = await listen((event) => {
        if (event.type === 'accepted') return [{ type: 'read', side: 'client', limitBytes: 100 }]
        if (event.type === 'received') return [{ type: 'consume', side: 'client', bytes: 2 }, dialTo(target)]
        return event.type === 'dialled' ? [{ type: 'write', side: 'upstream', bytes: header }, { type: 'write', side: 'upstream', bytes: header }, CARRY] : undefined
      })
      const client = await wires.client(listener, listenTarget)
      client.socket.write('--early')
      const upstream = await first(ends)
      await upstream.received(19)
      expect(upstream.chunks.map(String)).toEqual(['HEADER HEADER early'])
      client.socket.end()
      upstream.socket.end()
      expect(await result()).toMatchObject({ bytesUp: 5, bytesDown: 0 })
    })

    test('a server that speaks first: status byte consumed, the rest carried', async () => {
      const target = await wires.server((end) => {
        end.socket.on('data', () => {
          if (end.text === 'HELLO') end.socket.end('\0+greeting')
        })
      })
      const listener = await listen((event) => {
        if (event.type === 'accepted') return [dialTo(target)]
        if (event.type === 'dialled') return [{ type: 'write', side: 'upstream', bytes: Buffer.from('HELLO') }, { type: 'read', side: 'upstream', limitBytes: 1 }]
        return event.type === 'received' ? [{ type: 'consume', side: 'upstream', bytes: 1 }, CARRY] : undefined
      })
      const client = await wires.client(listener, listenTarget)
      await client.received(9)
      expect(client.text).toBe('+greeting')
      client.socket.end()
      expect(await result()).toMatchObject({ bytesUp: 0, bytesDown: 9, how: 'end' })
    })

    test('writes may follow a dial at once', async () => {
      const ends: End[] = []
      const target = await wires.server((end) => ends.push(end))
      const listener = await listen((event) => (event.type === 'accepted' ? [dialTo(target), { type: 'write', side: 'upstream', bytes: Buffer.from('soon') }] : undefined))
      await wires.client(listener, listenTarget)
      await (await first(ends)).received(4)
    })

    test('a slow reader stops its sender, each way', async () => {
      const { client, upstream } = await carried()
      for (const [from, to] of [[client, upstream], [upstream, client]] as const) {
        to.socket.pause()
        const bytes = 64 * MIB
        from.socket.write(Buffer.alloc(bytes, 1))
        await until('the sender is stopped', () => isStopped(from), 15_000)
        expect(from.socket.writableLength).toBeGreaterThan(0)
        to.socket.resume()
        await to.received(bytes)
      }
      client.socket.end()
      upstream.socket.end()
      expect(await result()).toMatchObject({ bytesUp: 64 * MIB, bytesDown: 64 * MIB })
    })

    onNetwork?.('a stalled peer: the reset of its sender still arrives', async () => {
      const { client, upstream } = await carried()
      upstream.socket.pause()
      client.socket.write(Buffer.alloc(64 * MIB))
      await until('the sender is stopped', () => isStopped(client), 15_000)
      client.reset()
      expect(await result()).toMatchObject({ endedBy: 'client', how: 'reset' })
      upstream.socket.resume()
      await until('the reset arrives', () => upstream.closed)
      expect(upstream.errorCode).toBe('ECONNRESET')
    })

    test(`1 GiB (TCP; else a quarter) each way at once, by checksum`, { timeout: 60_000 }, async () => {
      const bytes = transport === 'tcp' ? GIB : GIB / 4
      const peer = await bulkPeer(wires, bytes)
      try {
        const target = peer.target
        const listener = await listen(carrier(target))
        peer.connect(listener.port, listenTarget)
        const report = await peer.report
        expect(report.received).toEqual({ client: bytes, upstream: bytes })
        expect(report.checksums.clientReceived).toBe(report.checksums.upstreamSent)
        expect(report.checksums.upstreamReceived).toBe(report.checksums.clientSent)
        expect(await result()).toMatchObject({ bytesUp: bytes, bytesDown: bytes, how: 'end' })
      } finally {
        await peer.close()
      }
    })

    test('nothing is lost when a sender closes with bytes in flight', async () => {
      const { client, upstream } = await carried()
      upstream.socket.pause()
      const bytes = 8 * MIB
      client.socket.end(Buffer.alloc(bytes, 7))
      await until('bytes are in flight', () => client.socket.bytesWritten > 0)
      upstream.socket.resume()
      await until('the FIN arrives', () => upstream.ended)
      expect(upstream.receivedBytes).toBe(bytes)
      upstream.socket.end()
      expect(await result()).toMatchObject({ bytesUp: bytes, how: 'end' })
    })

    test('the last words of a server that closes on a talking client arrive', async () => {
      // Closing on unread input makes the server's own kernel drop what it hasn't sent: over TCP that is what the other
      // end's first window (64 KiB) didn't take, and no plane in between can save it. Unix sockets keep all.
      const words = 'x'.repeat(transport === 'unix' ? 100_000 : 60_000)
      const target = await wires.server((end) => {
        end.socket.pause()
        end.socket.end(words, () => end.socket.destroy())
      })
      const listener = await listen(carrier(target))
      const client = await wires.client(listener, listenTarget, true)
      client.socket.write('one')
      await until('dialled', () => types().includes('dialled'))
      client.socket.write('two')
      client.socket.write('three')
      client.socket.resume()
      await client.received(words.length)
      client.socket.end()
      await result()
    })

    test('close flushes, ends, and survives a client that goes on talking', async () => {
      const bytes = 2 * MIB
      const listener = await listen((event) => (event.type === 'accepted' ? [{ type: 'write', side: 'client', bytes: Buffer.alloc(bytes) }, { type: 'close' }] : undefined))
      const client = await wires.client(listener, listenTarget, true)
      client.socket.write('talking')
      await until('accepted', () => types().includes('accepted'))
      client.socket.write('still talking')
      client.socket.resume()
      await until('the FIN arrives', () => client.ended)
      expect(client.receivedBytes).toBe(bytes)
      expect(client.errorCode).toBe(null)
      client.socket.end()
      expect(await result()).toMatchObject({ endedBy: 'local', how: 'end' })
    })

    test('a client that takes nothing of what a brain says again and again is broken', async () => {
      const say: PlaneAction[] = [{ type: 'write', side: 'client', bytes: Buffer.alloc(64 << 10) }, { type: 'ask', question: null }]
      const listener = await listen((event) => (event.type === 'accepted' || event.type === 'answered' ? say : undefined), {
        answer: () => new Promise((resolve) => setImmediate(resolve)),
      })
      await wires.client(listener, listenTarget, true)
      expect(await result()).toMatchObject({ endedBy: 'client', how: 'error' })
    })

    test('a refused dial, then the next one', async () => {
      const gone: DialTarget = transport === 'unix' ? { kind: 'unix', path: wires.path() } : { kind: 'tcp', host: '::1', port: await closedPort() }
      expect(await firstFailure(gone)).toBe('refused')
    })

    onNetwork?.('an unreachable dial, then the next one', async () => {
      expect(await firstFailure({ kind: 'tcp', host: '255.255.255.255', port: 9 })).toBe('unreachable')
    })

    onNetwork?.('a dial that nobody answers, then the next one', async () => {
      const deaf = await deafServer()
      try {
        expect(await firstFailure({ kind: 'tcp', host: '127.0.0.1', port: deaf.port }, 150)).toBe('timeout')
      } finally {
        deaf.close()
      }
    })

    onTls?.('TLS: accepted and silent, the wrong name, a plain server: each fails the dial', async () => {
      const silent = createServer((socket) => socket.resume().on('error', () => undefined)).listen(0, '::1')
      const talking = createServer((socket) => socket.resume().on('error', () => undefined).end('220 smtp.example ESMTP\r\n')).listen(0, '::1')
      const target = await wires.server(() => undefined)
      if (target.kind !== 'tcp' || !target.tls) throw new Error('no TLS')
      const portOf = (server: typeof silent): number => Object(server.address()).port
      try {
        await until('both listen', () => silent.listening && talking.listening)
        expect(await firstFailure({ ...target, port: portOf(silent) }, 150)).toBe('timeout')
        expect(await firstFailure({ ...target, port: portOf(talking) })).toBe('tls')
        for (const identity of ['nearcast://agent/mad-2', 'nearcast://agent/mad-', 'nearcast://agent/mad-11']) {
          expect(await firstFailure({ ...target, tls: { ...target.tls, identity } })).toBe('tls')
        }
      } finally {
        silent.close()
        talking.close()
      }
    })

    /** The reason of the first dial, after a second one has served. */
    async function firstFailure(target: DialTarget, timeoutMs = DIAL_TIMEOUT_MS): Promise<unknown> {
      const ends: End[] = []
      const good = await wires.server((end) => ends.push(end))
      events = []
      listenTarget = wires.listenTarget()
      const listener = await listen((event) => {
        if (event.type === 'accepted') return [{ type: 'dial', target, timeoutMs }]
        if (event.type === 'dial-failed') return [dialTo(good)]
        return event.type === 'dialled' ? [CARRY] : undefined
      })
      const client = await wires.client(listener, listenTarget)
      client.socket.end('served')
      const upstream = await first(ends)
      await until('served', () => upstream.ended)
      upstream.socket.end()
      await result()
      const failures = events.filter((event) => event.type === 'dial-failed')
      expect(failures).toHaveLength(1)
      return failures[0]?.reason
    }

    test('timers run once, restart and end with the connection', async () => {
      const listener = await listen((event) => {
        if (event.type === 'accepted') {
          return [
            { type: 'timer', name: 'cancelled', afterMs: 1 },
            { type: 'cancel-timer', name: 'cancelled' },
            { type: 'timer', name: 'restarted', afterMs: 1 },
            { type: 'timer', name: 'restarted', afterMs: 20 },
            { type: 'timer', name: 'last', afterMs: 60 },
            { type: 'timer', name: 'never', afterMs: 10_000 },
          ]
        }
        return event.type === 'timer' && event.name === 'last' ? [{ type: 'reset' }] : undefined
      })
      await wires.client(listener, listenTarget)
      await result()
      expect(events.map((event) => (event.type === 'timer' ? event.name : event.type))).toEqual(['accepted', 'restarted', 'last', 'closed'])
    })

    test('asks, and is answered also when the answer fails', async () => {
      const questions = ['good', 'bad', 'worse'].map((question): PlaneAction => ({ type: 'ask', question }))
      const listener = await listen((event) => (event.type === 'accepted' ? questions : undefined), {
        answer(id, question) {
          if (question === 'worse') throw new Error('thrown')
          return question === 'good' ? Promise.resolve(`${id} knows`) : Promise.reject(new Error('rejected'))
        },
      })
      await wires.client(listener, listenTarget)
      await until('three answers', () => types().filter((type) => type === 'answered').length === 3)
      expect(events).toContainEqual({ type: 'answered', question: 'good', answer: '1 knows' })
      expect(events).toContainEqual({ type: 'answered', question: 'bad', answer: undefined })
      expect(events).toContainEqual({ type: 'answered', question: 'worse', answer: undefined })
    })

    test('cut resets both sides once', async () => {
      const { client, upstream } = await carried()
      client.socket.write('abc')
      await upstream.received(3)
      expect(plane.cut(1)).toBe(true)
      await until('both ends', () => (client.closed || client.ended) && (upstream.closed || upstream.ended))
      if (transport !== 'unix') expect([client.errorCode, upstream.errorCode]).toEqual(['ECONNRESET', 'ECONNRESET'])
      expect(await result()).toMatchObject({ bytesUp: 3, bytesDown: 0, endedBy: 'local', how: 'cut' })
      expect(plane.cut(1)).toBe(false)
      expect(plane.cut(99)).toBe(false)
      expect(types().filter((type) => type === 'closed')).toHaveLength(1)
    })

    test('a brain that throws costs its own connection only', async () => {
      const listener = await listen((event, id) => {
        if (event.type === 'accepted' && id === 1) throw new Error('a defect')
        return undefined
      })
      const client = await wires.client(listener, listenTarget)
      await until('the client is closed', () => client.closed || client.ended)
      expect(await result()).toMatchObject({ endedBy: 'local', how: 'reset' })
      await wires.client(listener, listenTarget)
      await until('the next is accepted', () => types().filter((type) => type === 'accepted').length === 2)
    })

    test('beyond maxConnections: reset at once and counted, free again afterwards', async () => {
      const listener = await listen(() => undefined, { maxConnections: 2 })
      await wires.client(listener, listenTarget)
      await wires.client(listener, listenTarget)
      const third = await wires.client(listener, listenTarget).catch(() => null)
      if (third) await until('the third is closed', () => third.closed || third.ended)
      expect(listener.rejected.limit).toBe(1)
      expect(plane.openConnections).toBe(2)
      plane.cut(1)
      await until('one has gone', () => plane.openConnections === 1)
      await wires.client(listener, listenTarget)
      await until('another is in', () => plane.openConnections === 2)
    })

    test('closing a listener leaves open connections alone', async () => {
      const ends: End[] = []
      const target = await wires.server((end) => ends.push(end))
      const listener = await listen(carrier(target))
      const client = await wires.client(listener, listenTarget)
      const upstream = await first(ends)
      await listener.close()
      await listener.close()
      await expect(wires.client(listener, listenTarget)).rejects.toThrow()
      client.socket.write('alive')
      await upstream.received(5)
    })

    test('destroy cuts what is open, in any state, and may be repeated', async () => {
      const ends: End[] = []
      const target = await wires.server((end) => ends.push(end))
      let count = 0
      const listener = await listen((event) => {
        if (event.type === 'accepted') return count++ === 0 ? [dialTo(target)] : [{ type: 'timer', name: 'x', afterMs: 60_000 }, { type: 'ask', question: 1 }]
        return event.type === 'dialled' ? [CARRY] : undefined
      }, { answer: () => new Promise(() => undefined) })
      const client = await wires.client(listener, listenTarget)
      await first(ends)
      await wires.client(listener, listenTarget)
      await until('both are in', () => plane.openConnections === 2)
      await Promise.all([plane.destroy(), plane.destroy()])
      await plane.destroy()
      await until('the client is closed', () => client.closed || client.ended)
      expect(plane.openConnections).toBe(0)
      expect(types().filter((type) => type === 'closed')).toHaveLength(2)
    })

    test('many at once, and many quick ones: each ends with exactly one `closed`', { timeout: 60_000 }, async () => {
      const [atOnce, quick] = transport === 'tls' ? [100, 200] : [300, 2000]
      const target = await wires.server((end) => {
        end.socket.on('data', (chunk) => end.socket.write(chunk))
        end.socket.on('end', () => end.socket.end())
      })
      const listener = await listen(carrier(target))
      const clients = await Promise.all(Array.from({ length: atOnce }, () => wires.client(listener, listenTarget)))
      for (const [index, client] of clients.entries()) client.socket.end(`hello ${index}`)
      await until('all are echoed', () => clients.every((client, index) => client.ended && client.text === `hello ${index}`), 20_000)
      const one = async (): Promise<void> => {
        const client = await wires.client(listener, listenTarget)
        client.socket.end('q')
        await until('echoed', () => client.ended && client.text === 'q')
      }
      let left = quick
      await Promise.all(
        Array.from({ length: 20 }, async () => {
          while (left-- > 0) await one()
        }),
      )
      await until('all have gone', () => plane.openConnections === 0)
      expect(types().filter((type) => type === 'closed')).toHaveLength(atOnce + quick)
    })
  })
}

/** Dials at once and carries. */
function carrier(target: DialTarget, rates?: readonly string[]): Script {
  return (event) => {
    if (event.type === 'accepted') return [dialTo(target)]
    return event.type === 'dialled' ? [rates ? { type: 'carry', rates } : CARRY] : undefined
  }
}

function dialTo(target: DialTarget): PlaneAction {
  return { type: 'dial', target, timeoutMs: DIAL_TIMEOUT_MS }
}

async function first(ends: readonly End[]): Promise<End> {
  await until('an upstream is there', () => ends.length > 0)
  const [end] = ends
  if (!end) throw new Error('no upstream')
  return end
}

function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length
}

const lastSeen = new WeakMap<End, { sent: number; sinceMs: number }>()

/** Has bytes to send and sent none for 150 ms. */
function isStopped(end: End): boolean {
  const sent = end.socket.bytesWritten - end.socket.writableLength
  const queued = Object(Reflect.get(end.socket, '_handle')).writeQueueSize ?? 0
  const progress = sent - Number(queued)
  const seen = lastSeen.get(end)
  if (seen?.sent !== progress) {
    lastSeen.set(end, { sent: progress, sinceMs: performance.now() })
    return false
  }
  return end.socket.writableLength > 0 && performance.now() - seen.sinceMs > 150
}

/** A port that was free a moment ago. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '::1')
  await until('listening', () => server.listening)
  const port: number = Object(server.address()).port
  await new Promise((resolve) => server.close(resolve))
  return port
}
