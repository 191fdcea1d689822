/** The parts of `nearcast dev` that need no cluster. */
import { randomInt } from 'node:crypto'
import { createConnection, createServer } from 'node:net'
import type { Socket } from 'node:net'
import { once } from 'node:events'
import { afterEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { NearcastError } from '../../lib/errors.ts'
import { askCluster } from '../../cli/dev/control-client.ts'
import { clustersAmong, controlSocket } from '../../cli/dev/control-protocol.ts'
import { ControlServer } from '../../cli/dev/control-server.ts'
import { DelayQueue } from '../../cli/dev/delay-queue.ts'
import { hostsFile } from '../../cli/dev/enter.ts'
import { userNamespaceAdvice } from '../../cli/dev/user-namespaces.ts'

function frame(byte: number, length = 10): Uint8Array {
  return new Uint8Array(length).fill(byte)
}

describe('DelayQueue', () => {
  test('frames leave after their delay, in order', () => {
    const queue = new DelayQueue(1000)
    queue.push(frame(1), 0, 10)
    queue.push(frame(2), 5, 10)
    expect(queue.nextDueMs).toBe(10)
    expect(queue.take(9.9)).toBeNull()
    expect(queue.take(10)?.[0]).toBe(1)
    expect(queue.take(10)).toBeNull()
    expect(queue.take(15)?.[0]).toBe(2)
    expect(queue.nextDueMs).toBeNull()
  })

  test('a falling delay never overtakes', () => {
    const queue = new DelayQueue(1000)
    queue.push(frame(1), 0, 100)
    queue.push(frame(2), 1, 1)
    expect(queue.take(50)).toBeNull()
    expect([queue.take(100)?.[0], queue.take(100)?.[0]]).toEqual([1, 2])
  })

  test('bounded in bytes: the newest is lost and counted, and room comes back', () => {
    const queue = new DelayQueue(25)
    expect([queue.push(frame(1), 0, 1), queue.push(frame(2), 0, 1), queue.push(frame(3), 0, 1)]).toEqual([true, true, false])
    expect(queue.dropped).toBe(1)
    queue.take(1)
    expect(queue.push(frame(4), 1, 1)).toBe(true)
    queue.clear()
    expect([queue.bytes, queue.nextDueMs, queue.take(1e9)]).toEqual([0, null, null])
  })

  test('as a plain list would, whatever happens', () => {
    const seed = randomInt(2 ** 31)
    let state = seed
    const random = (below: number): number => (state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff) % below
    const queue = new DelayQueue(2000)
    const naive: { byte: number; dueMs: number; length: number }[] = []
    let now = 0
    let last = 0
    for (let step = 0; step < 20_000; step++) {
      now += random(4)
      if (random(5) < 3) {
        const [byte, delay, length] = [random(256), random(60), 1 + random(40)]
        const held = naive.reduce((sum, each) => sum + each.length, 0)
        const accepted = queue.push(frame(byte, length), now, delay)
        expect(accepted, `seed ${seed} step ${step}`).toBe(held + length <= 2000)
        if (accepted) naive.push({ byte, dueMs: (last = Math.max(last, now + delay)), length })
      } else {
        const expected = (naive[0]?.dueMs ?? Number.POSITIVE_INFINITY) <= now ? naive.shift() : undefined
        expect(queue.take(now)?.[0], `seed ${seed} step ${step}`).toBe(expected?.byte)
      }
    }
    expect(queue.dropped).toBeGreaterThan(0)
  })
})

describe('control socket', () => {
  const name = `test-${process.pid}`
  const open: { close(): unknown }[] = []
  afterEach(() => {
    for (const each of open.splice(0)) each.close()
  })

  test('a question, an answer; errors keep their code', async () => {
    const asked: unknown[] = []
    open.push(
      await ControlServer.open(name, async (request) => {
        asked.push(request)
        if (request.operation === 'restore') throw new NearcastError('dev.unknown-target', 'No such thing.')
        return { done: true }
      }),
    )
    expect(await askCluster(name, { operation: 'info' }, z.object({ done: z.boolean() }))).toEqual({ done: true })
    await expect(askCluster(name, { operation: 'restore' }, z.unknown())).rejects.toMatchObject({ code: 'dev.unknown-target', message: 'No such thing.' })
    await expect(askCluster(name, { operation: 'status' }, z.string())).rejects.toMatchObject({ code: 'dev.failed' })
    expect(asked).toHaveLength(3)
  })

  test('one cluster of a name; without one the error says what to do', async () => {
    open.push(await ControlServer.open(name, () => Promise.resolve(null)))
    await expect(ControlServer.open(name, () => Promise.resolve(null))).rejects.toMatchObject({ code: 'dev.running' })
    await expect(askCluster(`${name}-x`, { operation: 'info' }, z.unknown())).rejects.toMatchObject({ code: 'dev.not-running', message: expect.stringMatching(new RegExp(`${name}.*: set NEARCAST_CLUSTER=`)) })
    await expect(askCluster('No Name', { operation: 'info' }, z.unknown())).rejects.toMatchObject({ code: 'cli.usage' })
  })

  test.each(['nonsense\n', '{"operation":"reboot"}\n', '{"operation":"steer","target":"a/b","verb":"crash"}\n', 'x'.repeat(2 << 20)])('hostile line %#', async (line) => {
    let obeyed = 0
    open.push(await ControlServer.open(name, () => Promise.resolve(obeyed++)))
    const socket: Socket = createConnection(controlSocket(name))
    let answer = ''
    socket.on('data', (data: Buffer) => (answer += data.toString())).on('error', () => {})
    socket.end(line)
    // A reset counts as a close here.
    await new Promise((resolve) => {
      socket.on('close', resolve)
    })
    if (answer !== '') expect(JSON.parse(answer)).toMatchObject({ ok: false })
    expect(obeyed).toBe(0)
  })

  test('an answer that never ends, or none, is an error', async () => {
    const server = createServer((socket) => socket.on('error', () => {}).on('data', () => socket.end('{"ok":')))
    server.listen(controlSocket(name))
    await once(server, 'listening')
    open.push(server)
    await expect(askCluster(name, { operation: 'info' }, z.unknown())).rejects.toMatchObject({ code: 'dev.not-running' })
  })
})

test("a user's running clusters, by their sockets", () => {
  const sockets = ['@nearcast/7/two', '/run/x', '@nearcast/7/one', '@nearcast/70/three', '@nearcast/7/one'].map((path) => `0000000000000000: 00000002 00000000 00010000 0001 01 4711 ${path}`)
  const text = ['Num       RefCount Protocol Flags    Type St Inode Path', ...sockets, ''].join('\n')
  expect(clustersAmong(text, 7)).toEqual(['one', 'two'])
})

test("an app host's hosts file holds its organization's names and itself", () => {
  const text = hostsFile({ id: 'acme-mad', address: 'fdaa:0:1:0:2:0:1:2' }, [{ name: 'cache', address: 'fdaa:0:1:0:1::1' }])
  expect(text.split('\n')).toEqual(['127.0.0.1 localhost', '::1 localhost', 'fdaa:0:1:0:2:0:1:2 acme-mad', 'fdaa:0:1:0:1::1 cache.flycast', ''])
})

test.each([
  [{ 'kernel/unprivileged_userns_clone': '0' }, 'kernel.unprivileged_userns_clone=1'],
  [{ 'kernel/unprivileged_userns_clone': '1', 'kernel/apparmor_restrict_unprivileged_userns': '1' }, 'apparmor_restrict_unprivileged_userns=0'],
  [{ 'user/max_user_namespaces': '0' }, 'user.max_user_namespaces=15000'],
  [{ 'user/max_user_namespaces': '15000' }, 'docker run'],
] as const)('where user namespaces are forbidden the advice fits: %#', (values: Record<string, string>, advice) => {
  expect(userNamespaceAdvice((file) => values[file] ?? null)).toContain(advice)
})
