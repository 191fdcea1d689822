/**
 * What breaks planes that talk to the kernel themselves: descriptors that are used again at once, buffers that run out,
 * resets in swarms, cancellations at any moment. At the end everything is back where it began.
 */
import { randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { probeIoUring } from '../../lib/kernel/io-uring-probe.ts'
import type { Brain, DialTarget, Listener, PlaneAction, PlaneEvent } from '../../lib/plane/plane.ts'
import { UringPlane } from '../../lib/plane/uring/uring.ts'
import { churnPeer } from '../support/churn-peer.ts'
import { Random, testSeed } from '../support/random.ts'
import { until } from '../support/until.ts'
import { Wires } from '../support/wires.ts'
import type { End } from '../support/wires.ts'

const support = probeIoUring()
const CHURN = Number(process.env['NEARCAST_CHURN'] ?? 20_000)
const CARRY: PlaneAction = { type: 'carry' }
/** More than there are buffers. */
const STALLED = 24
const FEW_BUFFERS = { bufferBytes: 4096, segmentBuffers: 16, maxSegments: 1, lent: 4, maxLent: 8 }

describe.skipIf(support.answer === 'no')(`uring plane under strain${support.answer === 'no' ? `: io_uring is ${support.kind}: ${support.reason}` : ''}`, () => {
  let plane: UringPlane
  let wires: Wires
  let descriptors: number
  let accepted: number
  let closed: number

  beforeEach(() => {
    descriptors = openDescriptors()
    wires = new Wires('tcp')
    accepted = closed = 0
  })

  afterEach(async () => {
    await plane.destroy()
    expect(plane.use).toMatchObject({ users: 0, buffers: 0 })
    wires.close()
    await until('no descriptor is left', () => openDescriptors() <= descriptors)
  })

  function listen(script: (event: PlaneEvent, id: number) => readonly PlaneAction[] | undefined): Promise<Listener> {
    const brain = (id: number): Brain => {
      let ends = 0
      return {
        on(event) {
          if (event.type === 'accepted') accepted++
          if (event.type === 'closed' && ends++ === 0) closed++
          else if (ends > 0) throw new Error('An event behind the last one.')
          return script(event, id) ?? []
        },
      }
    }
    return plane.listen({ target: { kind: 'tcp', host: '::', port: 0 }, brain })
  }

  /** Nothing but the listener uses the ring, nothing is held, nobody was told what wasn't theirs. */
  async function quiet(): Promise<void> {
    await until('all have gone', () => plane.openConnections === 0 && plane.use.users === 1, 15_000)
    expect(plane.use).toMatchObject({ users: 1, buffers: 0, stale: 0 })
    expect(closed).toBe(accepted)
  }

  async function serves(listener: Listener, ends: readonly End[]): Promise<void> {
    const before = ends.length
    const client = await wires.client(listener, { kind: 'tcp', host: '::', port: 0 })
    client.socket.end('still here')
    await until('served', () => ends[before]?.ended === true)
    ends[before]?.socket.end('yes')
    await until('answered', () => client.ended)
    expect([ends[before]?.text, client.text]).toEqual(['still here', 'yes'])
  }

  test(`${CHURN} short connections: descriptors are used again, and each gets its own answer`, { timeout: 60_000 + CHURN * 2 }, async () => {
    plane = new UringPlane()
    const peer = await churnPeer({ seed: testSeed('churn'), connections: CHURN, atOnce: 64 })
    try {
      const listener = await listen(carrier(peer.target))
      const report = await peer.run(listener.port)
      expect(report).toEqual({ answered: CHURN, wrong: [] })
      await quiet()
      expect(accepted).toBe(CHURN)
      expect(plane.use.bufferBytes).toBeLessThanOrEqual(32 << 20)
      expect(openDescriptors() - descriptors).toBeLessThan(40)
    } finally {
      await peer.close()
    }
  })

  test('buffers run out: who can move does, byte for byte, and those who stalled get all of theirs later', { timeout: 30_000 }, async () => {
    plane = new UringPlane({ buffers: FEW_BUFFERS })
    const ends: End[] = []
    const target = await wires.server((end) => ends.push(end))
    const listener = await listen(carrier(target))
    const place = { kind: 'tcp', host: '::', port: 0 } as const
    const stalled: { client: End; upstream: End }[] = []
    const sent = randomBytes(8 << 20)
    for (let count = 0; count < STALLED; count++) {
      const client = await wires.client(listener, place)
      await until('its upstream', () => ends.length === count + 1)
      const upstream = ends[count]
      if (!upstream) throw new Error('no upstream')
      upstream.socket.pause()
      client.socket.end(sent)
      stalled.push({ client, upstream })
    }
    await until('they are under way', () => stalled.every(({ client }) => client.socket.bytesWritten > 0))
    const movers = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const client = await wires.client(listener, place)
        client.socket.end(sent.subarray(0, 1 << 20))
        return client
      }),
    )
    await until('all movers have arrived', () => ends.length === STALLED + 20 && ends.slice(STALLED).every((end) => end.ended), 20_000)
    for (const end of ends.slice(STALLED)) {
      expect(Buffer.concat(end.chunks).equals(sent.subarray(0, 1 << 20))).toBe(true)
      end.socket.end()
    }
    await until('their clients have ended', () => movers.every((each) => each.ended))
    for (const { upstream } of stalled) upstream.socket.resume()
    await until('the stalled ones have arrived', () => stalled.every(({ upstream }) => upstream.ended), 20_000)
    for (const { upstream } of stalled) {
      expect(Buffer.concat(upstream.chunks).equals(sent)).toBe(true)
      upstream.socket.end()
    }
    await quiet()
  })

  test('resets in swarms, at any moment: each connection ends once, and the next is served', { timeout: 30_000 }, async () => {
    plane = new UringPlane()
    const random = new Random(testSeed('resets'))
    const ends: End[] = []
    const target = await wires.server((end) => {
      ends.push(end)
      end.socket.on('data', (chunk: Buffer) => {
        if (random.below(8) === 0) end.reset()
        else end.socket.write(chunk)
      })
      end.socket.on('end', () => end.socket.end())
    })
    const listener = await listen((event, id) => {
      if (event.type === 'accepted' && id % 7 === 0) return [{ type: 'read', side: 'client', limitBytes: 1000 }]
      if (event.type === 'received') return id % 14 === 0 ? [{ type: 'reset' }] : dialTo(target)
      return event.type === 'ended' || event.type === 'dial-failed' || event.type === 'failed' ? [{ type: 'reset' }] : carrier(target)(event)
    })
    const storm = async (): Promise<void> => {
      for (let count = 0; count < 40; count++) {
        const socket = connect({ host: '::1', port: listener.port, noDelay: true }).on('error', () => undefined)
        const over = new Promise((resolve) => socket.once('close', resolve))
        await rage(socket, random)
        await over
      }
    }
    await Promise.all(Array.from({ length: 50 }, storm))
    for (const end of ends) end.socket.destroy()
    await quiet()
    const served: End[] = []
    const calm = await wires.server((end) => served.push(end))
    await serves(await listen(carrier(calm)), served)
  })

  test('cancellations race with what they cancel: reading, sending, dialling, accepting', { timeout: 30_000 }, async () => {
    plane = new UringPlane({ buffers: { lent: 4, maxLent: 8 } })
    const random = new Random(testSeed('cancellations'))
    const target = await wires.server((end) => {
      end.socket.on('data', (chunk: Buffer) => end.socket.write(chunk))
      end.socket.on('end', () => end.socket.end())
    })
    const script = (event: PlaneEvent, id: number): readonly PlaneAction[] => {
      if (event.type === 'closed') return []
      const dial: PlaneAction = { type: 'dial', target, timeoutMs: 1 + random.below(20) }
      const tick: PlaneAction = { type: 'timer', name: 'tick', afterMs: random.below(3) }
      if (event.type === 'dialled') return random.below(4) === 0 ? [dial] : [CARRY]
      if (event.type === 'timer' && random.below(10) === 0) queueMicrotask(() => plane.cut(id))
      const choice = random.below(6)
      if (choice === 0) return [{ type: 'read', side: 'client', limitBytes: random.below(5000) }, tick]
      if (choice === 1) return [{ type: 'read', side: 'client', limitBytes: 0 }, dial, tick]
      if (choice === 2) return [dial, dial, tick]
      if (choice === 3) return [{ type: 'write', side: 'client', bytes: Buffer.alloc(random.below(300_000)) }, ...(random.below(10) === 0 ? [{ type: 'close' } as const] : []), tick]
      if (choice === 4) return [{ type: 'read', side: 'upstream', limitBytes: random.below(100) }, tick]
      return [dial, tick]
    }
    const sockets: Socket[] = []
    for (let round = 0; round < 30; round++) {
      const listener = await listen(script)
      for (let count = 0; count < 30; count++) {
        const socket = connect({ host: '::1', port: listener.port, noDelay: true }).on('error', () => undefined)
        sockets.push(socket)
        socket.write(Buffer.alloc(random.below(200_000)))
        if (random.below(2) === 0) socket.resume()
        if (random.below(3) === 0) socket.end()
      }
      await new Promise((resolve) => setTimeout(resolve, random.below(30)))
      // With connections in the kernel's queue, and connections half accepted.
      await listener.close()
    }
    for (const socket of sockets) {
      if (random.below(2) === 0) socket.resetAndDestroy()
      else socket.destroy()
    }
    for (let id = 1; id <= accepted; id++) plane.cut(id)
    await until('all have gone', () => plane.openConnections === 0 && plane.use.users === 0, 15_000)
    expect(plane.use).toMatchObject({ buffers: 0, stale: 0 })
    expect(closed).toBe(accepted)
    expect(accepted).toBeGreaterThan(50)
  })
})

/** Says something, and breaks or ends in one of the ways that there are. */
async function rage(socket: Socket, random: Random): Promise<void> {
  const how = random.below(5)
  if (how > 0) await new Promise((resolve) => void socket.once('connect', resolve).once('close', resolve))
  if (how === 1) return void socket.resetAndDestroy()
  socket.write(Buffer.alloc(1 + random.below(random.below(4) === 0 ? 500_000 : 100)))
  if (how === 2) return void socket.resetAndDestroy()
  if (how === 3) socket.once('data', () => socket.resetAndDestroy())
  else socket.end().resume()
  setTimeout(() => socket.destroy(), random.below(20))
}

function carrier(target: DialTarget): (event: PlaneEvent) => readonly PlaneAction[] | undefined {
  return (event) => {
    if (event.type === 'accepted') return dialTo(target)
    return event.type === 'dialled' ? [CARRY] : undefined
  }
}

function dialTo(target: DialTarget): readonly PlaneAction[] {
  return [{ type: 'dial', target, timeoutMs: 3000 }]
}

function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length
}
