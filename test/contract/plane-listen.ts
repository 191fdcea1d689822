/**
 * The contract of listening: who gets in by mutual TLS, which places can be had, and what their errors are. Every plane
 * runs this suite.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import type { ConnectionOptions } from 'node:tls'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Brain, HopTls, Listener, Plane } from '../../lib/plane/plane.ts'
import { HOP_ALPN } from '../../lib/hop/protocol.ts'
import { createTestCa } from '../support/certificates.ts'
import { until } from '../support/until.ts'

const SILENT_BRAIN = (): Brain => ({ on: () => [] })

export function listenContract(name: string, makePlane: () => Plane): void {
  describe(`${name} plane, listening`, () => {
    let plane: Plane
    let directory: string

    beforeEach(() => {
      plane = makePlane()
      directory = mkdtempSync(join(tmpdir(), 'nearcast-listen-'))
    })

    afterEach(async () => {
      await plane.destroy()
      rmSync(directory, { recursive: true, force: true })
    })

    /** Resolves with whether the server's TLS let the client in. TLS 1.3 tells a refused client only after its handshake. */
    function handshake(listener: Listener, options: ConnectionOptions): Promise<boolean> {
      return new Promise((resolve) => {
        const socket = connectTls({ host: '::1', port: listener.port, checkServerIdentity: () => undefined, ...options })
        socket.on('error', () => resolve(false))
        socket.on('close', () => resolve(false))
        const { openConnections } = plane
        until('accepted', () => plane.openConnections > openConnections || socket.destroyed).then(
          () => resolve(!socket.destroyed),
          () => resolve(false),
        )
      })
    }

    test('mutual TLS lets in who has our certificate, one identity and our protocol; all else is counted', async () => {
      const ca = createTestCa(directory)
      const good = ca.issue('nearcast://proxy/mad-1')
      const brains: number[] = []
      const listener = await plane.listen({
        target: { kind: 'tcp', host: '::', port: 0, tls: ca.issue('nearcast://agent/mad-1') },
        brain: (id) => {
          brains.push(id)
          return SILENT_BRAIN()
        },
      })
      const foreign = createTestCa(directory, 'foreign').issue('nearcast://proxy/mad-1')
      const refused: ConnectionOptions[] = [
        { ca: good.ca, ALPNProtocols: [HOP_ALPN] },
        { ...client(foreign), ca: good.ca },
        client(ca.issue('nearcast://proxy/mad-1', 'nearcast://proxy/ams-1')),
        client(ca.issue('https://example.com/')),
        { ...client(good), ALPNProtocols: [] },
        { ...client(good), ALPNProtocols: ['h2'] },
        { ...client(good), maxVersion: 'TLSv1.2' },
      ]
      for (const [index, options] of refused.entries()) {
        expect(await handshake(listener, options)).toBe(false)
        await until('counted', () => listener.rejected.handshake === index + 1)
      }
      expect(brains).toEqual([])
      expect(await handshake(listener, client(good))).toBe(true)
      expect(brains).toEqual([1])
      expect(listener.rejected).toEqual({ limit: 0, handshake: refused.length })
    })

    test('half handshakes are bounded in time and number', async () => {
      const listener = await plane.listen({
        target: { kind: 'tcp', host: '::', port: 0, tls: createTestCa(directory).issue('nearcast://agent/mad-1') },
        brain: SILENT_BRAIN,
        handshakeTimeoutMs: 200,
        maxHandshakes: 2,
      })
      const closed: string[] = []
      for (let count = 0; count < 3; count++) {
        connect({ host: '::1', port: listener.port }).on('error', () => undefined).on('close', () => closed.push('closed'))
      }
      await until('all are closed', () => closed.length === 3)
      expect(listener.rejected).toEqual({ limit: 1, handshake: 2 })
      const garbage = connect({ host: '::1', port: listener.port }).on('error', () => undefined)
      garbage.write('PING\r\n')
      await until('garbage is reset', () => garbage.destroyed)
      expect(listener.rejected.handshake).toBe(3)
    })

    test('a place that is taken, forbidden or not ours: three codes', async () => {
      const listener = await plane.listen({ target: { kind: 'tcp', host: '::1', port: 0 }, brain: SILENT_BRAIN })
      const listen = (target: Parameters<Plane['listen']>[0]['target']): Promise<Listener> => plane.listen({ target, brain: SILENT_BRAIN })
      await expect(listen({ kind: 'tcp', host: '::1', port: listener.port })).rejects.toMatchObject({ code: 'listen.in-use' })
      await expect(listen({ kind: 'tcp', host: 'fdaa:0:1::1', port: 0 })).rejects.toMatchObject({ code: 'listen.failed' })
      await expect(listen({ kind: 'unix', path: join(directory, 'missing', 'a.sock') })).rejects.toMatchObject({ code: expect.stringMatching(/^listen\.(denied|failed)$/) })
      const path = join(directory, 'live.sock')
      await listen({ kind: 'unix', path })
      await expect(listen({ kind: 'unix', path })).rejects.toMatchObject({ code: 'listen.in-use' })
    })

    test('`::` is IPv6 only', async () => {
      const listener = await plane.listen({ target: { kind: 'tcp', host: '::', port: 0 }, brain: SILENT_BRAIN })
      const error = await new Promise<NodeJS.ErrnoException>((resolve) => connect({ host: '127.0.0.1', port: listener.port }).on('error', resolve))
      expect(error.code).toBe('ECONNREFUSED')
    })

    test('a socket file that a killed process left behind is taken over', async () => {
      const path = join(directory, 'left.sock')
      const program = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
      const child = spawn(process.execPath, ['-e', program], { stdio: 'ignore' })
      await new Promise((resolve) => child.once('exit', resolve))
      await plane.listen({ target: { kind: 'unix', path }, brain: SILENT_BRAIN })
      connect({ path }).on('error', () => undefined)
      await until('accepted', () => plane.openConnections === 1)
    })

    test('listens on an inherited descriptor', async () => {
      const server = createServer().listen(0, '::1')
      await until('listening', () => server.listening)
      const fd: number = Object(Reflect.get(server, '_handle')).fd
      const child = spawn(process.execPath, [join(import.meta.dirname, '../support/fd-listener.ts'), plane.name], { stdio: ['ignore', 'pipe', 'inherit', fd] })
      try {
        const port = await new Promise<number>((resolve) => child.stdout?.once('data', (line: Buffer) => resolve(Number(line))))
        server.close()
        const socket = connect({ host: '::1', port })
        let text = ''
        socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
        await until('served', () => text === 'inherited')
        socket.destroy()
      } finally {
        child.kill('SIGKILL')
      }
    })
  })
}

function client(tls: HopTls): ConnectionOptions {
  return { ca: tls.ca, cert: tls.certificate, key: tls.key, ALPNProtocols: [HOP_ALPN] }
}
