/**
 * The contract of `secure` in lib/plane/plane.ts: the client side of an accepted connection becomes TLS. Every plane
 * that terminates TLS runs this suite.
 */
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { DialTarget, Listener, Plane, PlaneAction, PlaneEvent, TlsServer } from '../../lib/plane/plane.ts'
import { EdgeCa } from '../support/edge-certificates.ts'
import { until } from '../support/until.ts'
import { End } from '../support/wires.ts'

const HANDSHAKE_MS = 3000
const sum = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
const READ_FIRST: PlaneAction = { type: 'read', side: 'client', limitBytes: 16_384 }

export function secureContract(name: string, makePlane: () => Plane): void {
  describe(`${name} plane, client side TLS`, () => {
    let directory: string
    let ca: EdgeCa
    let settings: TlsServer
    let plane: Plane
    let events: PlaneEvent[]
    let server: Server
    let upstreams: End[]
    let sockets: Socket[]
    let descriptors: number

    beforeAll(async () => {
      directory = mkdtempSync(join(tmpdir(), 'nearcast-secure-'))
      ca = await EdgeCa.create(directory)
      settings = { ...(await ca.issue(['cache.example'])), ticketKeys: randomBytes(48), sessionContext: 'a' }
    })

    afterAll(() => rmSync(directory, { recursive: true, force: true }))

    beforeEach(async () => {
      descriptors = readdirSync('/proc/self/fd').length
      plane = makePlane()
      events = []
      upstreams = []
      sockets = []
      server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
        sockets.push(socket)
        upstreams.push(new End(socket, socket))
      }).listen(0, '::1')
      await until('listening', () => server.listening)
    })

    afterEach(async () => {
      await plane.destroy()
      for (const socket of sockets) socket.destroy()
      server.close()
      expect(plane.openConnections).toBe(0)
      await until('no descriptor is left', () => readdirSync('/proc/self/fd').length <= descriptors)
    })

    const target = (): DialTarget => ({ kind: 'tcp', host: '::1', port: Number(Object(server.address()).port) })
    const types = (): string[] => events.map((event) => event.type)
    const find = <Type extends PlaneEvent['type']>(type: Type): Extract<PlaneEvent, { type: Type }> | undefined =>
      events.find((event): event is Extract<PlaneEvent, { type: Type }> => event.type === type)

    /** Looks at the first bytes, goes on as TLS, dials and carries. */
    function listen(tls: TlsServer = settings, timeoutMs = HANDSHAKE_MS, first: readonly PlaneAction[] = [READ_FIRST]): Promise<Listener> {
      const brain = () => {
        let started = first.length === 0
        return {
          on(event: PlaneEvent): readonly PlaneAction[] {
            events.push(event)
            if (event.type === 'accepted') return started ? [{ type: 'secure', side: 'client', server: tls, timeoutMs }] : first
            if (event.type === 'received' && !started) {
              started = true
              return [{ type: 'secure', side: 'client', server: tls, timeoutMs }]
            }
            if (event.type === 'secured') return [{ type: 'dial', target: target(), timeoutMs: 3000 }]
            return event.type === 'dialled' ? [{ type: 'carry' }] : []
          },
        }
      }
      return plane.listen({ target: { kind: 'tcp', host: '::', port: 0 }, brain })
    }

    function tcpClient(listener: Listener): Socket {
      const socket = connect({ host: '::1', port: listener.port, allowHalfOpen: true, noDelay: true })
      socket.on('error', () => undefined)
      sockets.push(socket)
      return socket
    }

    async function client(listener: Listener, options: ConnectionOptions = {}): Promise<End & { readonly socket: TLSSocket }> {
      const tcp = tcpClient(listener)
      const socket = connectTls({ socket: tcp, ca: ca.pem, servername: 'cache.example', ...options })
      const end = new End(socket, tcp)
      await new Promise<void>((resolve, reject) => {
        socket.once('secureConnect', resolve)
        socket.once('error', reject)
      })
      return end as End & { readonly socket: TLSSocket }
    }

    async function carried(listener: Listener, options: ConnectionOptions = {}) {
      const before = upstreams.length
      const end = await client(listener, options)
      await until('an upstream is there', () => upstreams.length > before)
      const upstream = upstreams[before]
      if (!upstream) throw new Error('no upstream')
      return { client: end, upstream }
    }

    test('says what was agreed upon, and carries payload', async () => {
      const ends = await carried(await listen({ ...settings, alpn: ['one', 'two'] }), { ALPNProtocols: ['two'] })
      expect(find('secured')?.session).toEqual({
        serverName: 'cache.example',
        protocol: 'TLSv1.3',
        cipher: expect.stringMatching(/^TLS_/),
        alpn: 'two',
        resumed: false,
      })
      ends.client.socket.write('question')
      await ends.upstream.received(8)
      ends.upstream.socket.write('answer')
      await ends.client.received(6)
      expect([ends.upstream.text, ends.client.text]).toEqual(['question', 'answer'])
      ends.client.socket.end()
      ends.upstream.socket.end()
      await until('closed', () => types().includes('closed'))
      expect(find('closed')?.result).toMatchObject({ bytesUp: 8, bytesDown: 6, endedBy: 'client', how: 'end' })
    })

    test('TLS 1.2 is spoken, too', async () => {
      const ends = await carried(await listen(), { maxVersion: 'TLSv1.2' })
      expect(find('secured')?.session.protocol).toBe('TLSv1.2')
      ends.client.socket.write('x')
      await ends.upstream.received(1)
    })

    test('TLS 1.1 is refused by an alert', async () => {
      const listener = await listen()
      await expect(client(listener, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' })).rejects.toThrow(/protocol version|unsupported protocol/)
      await until('closed', () => types().includes('closed'))
      expect(types().slice(-2)).toEqual(['secure-failed', 'closed'])
      expect(find('secure-failed')?.reason).toBe('handshake')
    })

    test('without looking first', async () => {
      const ends = await carried(await listen(settings, HANDSHAKE_MS, []))
      ends.client.socket.write('x')
      await ends.upstream.received(1)
    })

    test('payload right behind the handshake is carried, whole and in order', async () => {
      const listener = await listen()
      const tcp = tcpClient(listener)
      const socket = connectTls({ socket: tcp, ca: ca.pem, servername: 'cache.example' })
      const end = new End(socket, tcp)
      // Written before the handshake is over: leaves with its last flight.
      socket.write('early, ')
      socket.end('and the end')
      await until('an upstream is there', () => upstreams[0]?.ended === true)
      expect(upstreams[0]?.text).toBe('early, and the end')
      upstreams[0]?.socket.end('answer')
      await until('the answer', () => end.ended)
      expect(end.text).toBe('answer')
    })

    test('half-close is kept, both ways', async () => {
      const listener = await listen()
      const first = await carried(listener)
      first.client.socket.end('question')
      await until('the end arrives upstream', () => first.upstream.ended)
      first.upstream.socket.end('answer')
      await until('the end arrives back', () => first.client.ended)
      expect([first.upstream.text, first.client.text]).toEqual(['question', 'answer'])
      const second = await carried(listener)
      second.upstream.socket.end('bye')
      await until('the end arrives', () => second.client.ended)
      expect(second.client.text).toBe('bye')
    })

    test('a reset of either side while carrying resets the other', async () => {
      const listener = await listen()
      const first = await carried(listener)
      first.client.socket.write('x')
      await first.upstream.received(1)
      first.client.reset()
      await until('the upstream is closed', () => first.upstream.closed)
      expect(first.upstream.errorCode).toBe('ECONNRESET')
      const second = await carried(listener)
      second.upstream.socket.write('y')
      await second.client.received(1)
      second.upstream.reset()
      await until('the client is closed', () => second.client.closed)
      expect(second.client.ended).toBe(false)
    })

    test('bulk both ways, unaltered', async () => {
      const { client: end, upstream } = await carried(await listen())
      const [up, down] = [randomBytes(8 << 20), randomBytes(8 << 20)]
      end.socket.end(up)
      upstream.socket.end(down)
      await until('all has arrived', () => upstream.ended && end.ended)
      expect(sum(Buffer.concat(upstream.chunks))).toBe(sum(up))
      expect(sum(Buffer.concat(end.chunks))).toBe(sum(down))
      expect(find('closed')?.result ?? { bytesUp: up.length }).toMatchObject({ bytesUp: up.length })
    })

    test.each([
      ['garbage', Buffer.from('this is no handshake at all, but long enough to look like one')],
      ['a hello that lies', Buffer.concat([Buffer.from([0x16, 3, 1, 0, 60, 1, 0, 0, 56, 3, 3]), Buffer.alloc(54, 0xff)])],
    ])('%s fails the handshake and ends the connection', async (_what, bytes) => {
      const tcp = tcpClient(await listen())
      const end = new End(tcp, tcp)
      tcp.write(bytes)
      await until('the client is closed', () => end.ended || end.closed)
      tcp.destroy()
      await until('closed', () => types().includes('closed'))
      expect(find('secure-failed')?.reason).toBe('handshake')
      expect(types().filter((type) => type === 'closed')).toHaveLength(1)
      expect(upstreams).toHaveLength(0)
    })

    test('a handshake that is never finished is reset in time', async () => {
      const tcp = tcpClient(await listen(settings, 100))
      const end = new End(tcp, tcp)
      tcp.write(Buffer.from([0x16, 3, 1, 2, 0]))
      await until('the client is closed', () => end.closed)
      expect(end.errorCode).toBe('ECONNRESET')
      await until('closed', () => types().includes('closed'))
      expect(find('secure-failed')?.reason).toBe('timeout')
    })

    test.each(['end', 'reset'] as const)('a client that goes in the middle (%s) is forgotten', async (how) => {
      const tcp = tcpClient(await listen())
      tcp.write(Buffer.from([0x16, 3, 1, 2, 0]))
      await until('the handshake has begun', () => types().includes('received'))
      if (how === 'end') tcp.end()
      else tcp.resetAndDestroy()
      await until('closed', () => types().includes('closed'), 2000)
      expect(find('secure-failed')?.reason).toBe('closed')
    })

    test('a slow hello, byte by byte, is fine', async () => {
      const listener = await listen()
      const front = createServer((socket) => {
        const back = tcpClient(listener)
        sockets.push(socket)
        let slow = 40
        socket.on('error', () => undefined)
        socket.on('data', (data: Buffer) => {
          let chunk = data
          for (; slow > 0 && chunk.length > 1; slow--, chunk = chunk.subarray(1)) back.write(chunk.subarray(0, 1))
          back.write(chunk)
        })
        back.on('data', (chunk) => socket.write(chunk))
      }).listen(0, '::1')
      await until('listening', () => front.listening)
      const ends = await carried({ ...listener, port: Number(Object(front.address()).port) })
      ends.client.socket.write('x')
      await ends.upstream.received(1)
      front.close()
    })

    test('sessions resume with the same ticket keys and context only', async () => {
      const first = await client(await listen())
      expect(first.socket.isSessionReused()).toBe(false)
      const session = await new Promise<Buffer>((resolve) => void first.socket.once('session', resolve))
      const resumed = async (tls: TlsServer): Promise<boolean> => (await client(await listen(tls), { session })).socket.isSessionReused()
      // Another object, another listener: the keys are what counts.
      expect(await resumed({ ...settings })).toBe(true)
      expect(await resumed({ ...settings, ticketKeys: randomBytes(48) })).toBe(false)
      expect(await resumed({ ...settings, sessionContext: 'b' })).toBe(false)
    })

    test('client certificates: named when they are ours, else refused', async () => {
      const clients = await EdgeCa.create(directory, 'clients')
      const listener = await listen({ ...settings, clientCa: clients.pem, sessionContext: 'clients' })
      const good = await clients.issue(['app-1'])
      await carried(listener, { cert: good.certificate, key: good.key })
      expect(find('secured')?.session.clientCertificate).toMatchObject({ commonName: 'app-1', fingerprint256: expect.stringMatching(/^[0-9A-F:]{95}$/) })
      const stranger = await (await EdgeCa.create(directory, 'strangers')).issue(['app-1'])
      const expired = await clients.issue(['app-2'], { expired: true })
      for (const each of [undefined, stranger, expired]) {
        events.length = 0
        // TLS 1.3 tells a refused client only after its own handshake.
        const end = await client(listener, each && { cert: each.certificate, key: each.key }).catch(() => null)
        if (end) await until('refused', () => end.closed || end.ended)
        await until('closed', () => types().includes('closed'))
        expect(find('secure-failed')?.reason).toBe('client-certificate')
      }
      expect(upstreams).toHaveLength(1)
    })

    test('cut in the middle of a handshake: one closed, nothing else', async () => {
      const tcp = tcpClient(await listen())
      tcp.write(Buffer.from([0x16, 3, 1, 2, 0]))
      await until('the handshake has begun', () => types().includes('received'))
      expect(plane.cut(1)).toBe(true)
      await until('closed', () => types().includes('closed'))
      expect(types()).not.toContain('secure-failed')
    })
  })
}
