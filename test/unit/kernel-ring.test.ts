/** io_uring by itself: memory, descriptors, entries and completions, provided buffers, and the probe's three outcomes. */
import { execFileSync } from 'node:child_process'
import { openSync, readdirSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { Descriptor } from '../../lib/kernel/descriptor.ts'
import { systemCalls } from '../../lib/kernel/ffi.ts'
import { probeIoUring } from '../../lib/kernel/io-uring-probe.ts'
import { IoUring } from '../../lib/kernel/io-uring.ts'
import { PinnedMemory } from '../../lib/kernel/memory.ts'
import { ProvidedBuffers } from '../../lib/kernel/provided-buffers.ts'
import { until } from '../support/until.ts'

const support = probeIoUring()
if (support.answer === 'no') process.stderr.write(`skipped, io_uring is ${support.kind}: ${support.reason}\n`)
const onRing = test.skipIf(support.answer === 'no')
const [NOP, RECV, CANCEL] = [0, 27, 14]
const MULTISHOT = 2
const SELECT_BUFFER = 1 << 5
const FLAG_BUFFER = 1
const FLAG_MORE = 2
const ENOBUFS = 105
const ECANCELED = 125

const closing: (() => unknown)[] = []
afterEach(() => {
  for (const close of closing.splice(0).toReversed()) close()
})

const ringOf = (entries = 8, completions = 16): IoUring => {
  const ring = new IoUring(entries, completions)
  closing.push(() => ring.close())
  return ring
}

interface Seen {
  readonly low: number
  readonly high: number
  readonly result: number
  readonly flags: number
}

function turn(ring: IoUring, complete = 0): Seen[] {
  const seen: Seen[] = []
  ring.enter(complete)
  ring.reap((low, high, result, flags) => seen.push({ low, high, result, flags }))
  return seen
}

test('pinned memory: bounds are kept, and what is released comes back empty', () => {
  const memory = PinnedMemory.take(8192)
  expect(memory.addressOf(8000, 192)).toBe(memory.address + 8000)
  for (const [offset, length] of [[8000, 193], [-1, 1], [0, -1], [8193, 0]] as const) expect(() => memory.addressOf(offset, length)).toThrow(RangeError)
  memory.bytes.fill(7)
  memory.release()
  memory.release()
  expect(() => memory.addressOf(0, 1)).toThrow(RangeError)
  const again = PinnedMemory.take(8192)
  expect(again).toBe(memory)
  expect(again.bytes.every((byte) => byte === 0)).toBe(true)
  const other = PinnedMemory.take(8192)
  expect(other.address).not.toBe(again.address)
  again.release()
  other.release()
})

test('a descriptor has one owner', () => {
  const before = readdirSync('/proc/self/fd').length
  const descriptor = new Descriptor(openSync('/dev/null', 'r'))
  const fd = descriptor.give()
  expect(descriptor.isOpen).toBe(false)
  expect(() => descriptor.fd).toThrow(/given away/)
  descriptor.close()
  const owner = new Descriptor(fd)
  owner.close()
  owner.close()
  expect(readdirSync('/proc/self/fd').length).toBe(before)
})

onRing('words come back with their completion, in order, many rounds around the ring', () => {
  const ring = ringOf()
  let next = 0
  for (let round = 0; round < 100; round++) {
    for (let count = 0; count <= round % 9; count++) ring.push(NOP, 0, 0, -1, 0, 0, 0, next + count, 1_000_000 + next + count)
    const seen = turn(ring)
    expect(seen.map(({ low, high }) => [low, high])).toEqual(seen.map((_each, index) => [next + index, 1_000_000 + next + index]))
    next += seen.length
  }
  expect(next).toBeGreaterThan(400)
  expect(ring.hasWork).toBe(false)
})

onRing('more entries than fit are submitted in between, and no completion is lost', () => {
  const ring = ringOf(4, 8)
  for (let count = 0; count < 100; count++) ring.push(NOP, 0, 0, -1, 0, 0, 0, count, 0)
  const seen: Seen[] = []
  while (ring.hasWork) seen.push(...turn(ring))
  expect(seen.map(({ low }) => low)).toEqual(Array.from({ length: 100 }, (_each, index) => index))
})

onRing('an eventfd says when to enter, and not while it is silenced', async () => {
  const ring = ringOf()
  const { fd, client } = await wire()
  const eventfd = systemCalls().eventfd(0, 0o4000 | 0o2000000)
  closing.push(() => new Descriptor(eventfd).close())
  ring.registerEventfd(eventfd)
  const memory = PinnedMemory.take(4096)
  closing.push(() => memory.release())
  const counted = (): number => systemCalls().read(eventfd, Buffer.alloc(8), 8)
  const receive = (): void => ring.push(RECV, 0, 0, fd, memory.addressOf(0, 16), 16, 0, 1, 0)
  receive()
  expect(turn(ring)).toEqual([])
  expect(counted()).toBeLessThan(0)
  client.write('a')
  await until('told', () => ring.hasWork)
  expect(counted()).toBe(8)
  expect(turn(ring)).toEqual([{ low: 1, high: 0, result: 1, flags: expect.any(Number) }])
  // Posting it was told as well.
  expect(counted()).toBe(8)
  ring.silence(true)
  receive()
  turn(ring)
  client.write('b')
  await until('there is work', () => ring.hasWork)
  expect(counted()).toBeLessThan(0)
})

onRing('provided buffers: used, run out, armed again, given back once', async () => {
  const ring = ringOf()
  const buffers = new ProvidedBuffers(ring, 3, { bufferBytes: 4096, segmentBuffers: 4, maxSegments: 2, lent: 2, maxLent: 4 })
  closing.push(() => {
    ring.close()
    buffers.close()
  })
  const { fd, client } = await wire()
  const receive = (): void => ring.push(RECV, SELECT_BUFFER, MULTISHOT, fd, 0, 0, 0, 1, 0, 3)
  receive()
  const seen: Seen[] = []
  const more = (count: number): Promise<void> =>
    until('completions', () => {
      seen.push(...turn(ring))
      return seen.length >= count
    })
  await more(0)
  for (const [index, text] of ['one', 'two'].entries()) {
    client.write(text)
    await more(index + 1)
  }
  expect(seen.map(({ flags }) => flags & (FLAG_BUFFER | FLAG_MORE))).toEqual([3, 3])
  const ids = seen.map(({ flags }) => flags >>> 16)
  for (const id of ids) buffers.received(id)
  expect(ids.map((id) => buffers.copyOf(id, 3).toString())).toEqual(['one', 'two'])
  expect(buffers.taken).toBe(2)
  // Nothing was lent again: the kernel has none for the third.
  client.write('three')
  await more(3)
  expect(seen[2]).toMatchObject({ result: -ENOBUFS, flags: 0 })
  expect(buffers.ranOut()).toBe(true)
  receive()
  await more(4)
  const last = seen[3]
  if (!last) throw new Error('no completion')
  expect(last.result).toBe(5)
  buffers.received(last.flags >>> 16)
  buffers.append(last.flags >>> 16, 5, ids[0] ?? -1, 3)
  expect(buffers.copyOf(ids[0] ?? -1, 8).toString()).toBe('onethree')
  for (const id of [...ids, last.flags >>> 16]) buffers.release(id)
  expect(() => buffers.release(ids[0] ?? -1)).toThrow(/isn't taken/)
  expect(buffers.taken).toBe(0)
  expect(() => buffers.write(0, 4000, Buffer.alloc(97))).toThrow(RangeError)
  ring.push(CANCEL, 0, 0, -1, 1, 0, 0, 2, 0)
  await more(6)
  expect(seen.slice(4).map(({ low, result }) => `${low} ${result}`).toSorted()).toEqual([`1 ${-ECANCELED}`, '2 0'])
})

const maps = (): number => readdirSync('/proc/self/map_files').length

const once = (): void => {
  const ring = new IoUring(64, 128)
  const buffers = new ProvidedBuffers(ring, 0, { bufferBytes: 4096, segmentBuffers: 16, maxSegments: 1, lent: 8, maxLent: 8 })
  ring.close()
  ring.close()
  buffers.close()
}

onRing('rings and their memory are given back', () => {
  const before = readdirSync('/proc/self/fd').length
  once()
  const mapped = maps()
  for (let count = 0; count < 50; count++) once()
  expect(readdirSync('/proc/self/fd').length).toBe(before)
  // Not one mapping per ring: other parts of the process may map a few meanwhile.
  expect(maps()).toBeLessThan(mapped + 40)
})

// A seccomp filter for one process: prctl(PR_SET_NO_NEW_PRIVS), then PR_SET_SECCOMP with "io_uring_setup answers errno".
const outcome = (errno: number): unknown => {
  const program = `
import { systemCalls } from './lib/kernel/ffi.ts'
import { probeIoUring } from './lib/kernel/io-uring-probe.ts'
import { PinnedMemory } from './lib/kernel/memory.ts'
const filter = Buffer.alloc(32)
const put = (index, code, jt, jf, k) => { filter.writeUInt16LE(code, index * 8); filter[index * 8 + 2] = jt; filter[index * 8 + 3] = jf; filter.writeUInt32LE(k, index * 8 + 4) }
put(0, 0x20, 0, 0, 0)
put(1, 0x15, 0, 1, 425)
put(2, 0x06, 0, 0, 0x00050000 | ${errno})
put(3, 0x06, 0, 0, 0x7fff0000)
const memory = PinnedMemory.take(4096)
memory.bytes.set(filter, 64)
const header = Buffer.alloc(16)
header.writeUInt16LE(4, 0)
header.writeBigUInt64LE(BigInt(memory.address + 64), 8)
memory.bytes.set(header, 0)
const calls = systemCalls()
if (calls.prctl(38, 1, 0, 0, 0) < 0 || calls.prctl(22, 2, memory.address, 0, 0) < 0) throw new Error('no filter')
console.log(JSON.stringify(probeIoUring()))`
  return JSON.parse(execFileSync(process.execPath, ['--input-type=module-typescript', '-e', program], { encoding: 'utf8', cwd: new URL('../..', import.meta.url).pathname }))
}

test('the probe says what keeps it: a filter refuses, another kernel has none', () => {
  expect(outcome(1)).toEqual({ answer: 'no', kind: 'refused', reason: expect.stringMatching(/^io_uring_setup: EPERM/) })
  expect(outcome(38)).toEqual({ answer: 'no', kind: 'absent', reason: expect.stringMatching(/^io_uring_setup: ENOSYS/) })
})

/** A socket that nothing of Node's reads from, and how to send to it. */
async function wire(): Promise<{ readonly fd: number; readonly client: Socket }> {
  const server = createServer({ pauseOnConnect: true })
  server.listen(0, '::1')
  await until('listening', () => server.listening)
  const accepted = new Promise<Socket>((resolve) => void server.once('connection', resolve))
  const client = connect({ host: '::1', port: Number(Object(server.address()).port), noDelay: true })
  const socket = await accepted
  closing.push(() => {
    client.destroy()
    socket.destroy()
    server.close()
  })
  const fd: number = Object(Reflect.get(socket, '_handle')).fd
  systemCalls().fcntl(fd, 4, 2)
  return { fd, client }
}
