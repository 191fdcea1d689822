/**
 * One ring and all that wait for its completions. Knows who a completion is for, not what it means.
 *
 * Each user has a slot and a generation; both travel in the entry, so that a completion for somebody who has gone finds
 * nobody, even when the slot is another's by then. A turn submits, reaps and tells until nothing is left to do. Who calls
 * `turn` and when is a driver's business (hosted.ts).
 */
import { IoUring } from '../../kernel/io-uring.ts'
import { ProvidedBuffers } from '../../kernel/provided-buffers.ts'
import type { ProvidedBuffersOptions } from '../../kernel/provided-buffers.ts'

const [POLL_ADD, ACCEPT, CANCEL, CONNECT, CLOSE, SEND, RECV] = [6, 13, 14, 16, 19, 26, 27]
const SELECT_BUFFER = 1 << 5
const RECV_MULTISHOT = 1 << 1
const ACCEPT_MULTISHOT = 1 << 0
const CANCEL_ALL_OF_FD = 1 | 2
const SOCK_CLOEXEC = 0o2000000
const POLLOUT = 4
const MSG_NOSIGNAL_WAITALL = 0x4000 | 0x100
/** Of completions. */
export const HAS_BUFFER = 1
export const MORE = 2

const ENTRIES = 1024
const COMPLETIONS = 8192
/** 32 KiB, as sockets like it; 1 GiB at most, touched only as needed: more than two for each of 10,000 connections. */
const BUFFERS: ProvidedBuffersOptions = { bufferBytes: 32 << 10, segmentBuffers: 512, maxSegments: 64, lent: 64, maxLent: 512 }
/** With a slot in front they are an exact number. */
const GENERATIONS = 0xf_ffff
/** Then others of the thread have their turn. */
const MAX_ROUNDS = 8

/** What a completion was of. At most 15. */
export const OPERATION = { receive: 1, send: 2, poll: 3, close: 4, connect: 5, accept: 6, cancel: 7, room: 8 } as const

/** Nobody writes it: to wait for a moment. */
const PAUSE = new Int32Array(new SharedArrayBuffer(4))

export interface RingUser {
  completed(operation: number, result: number, flags: number): void
  /** Others wait for buffers and there are none: gives back those that it can do without, now or with a later completion. */
  yieldBuffers?(): void
}

export interface RingLoopOptions {
  readonly buffers?: Partial<ProvidedBuffersOptions>
}

export class RingLoop {
  readonly ring: IoUring
  readonly buffers: ProvidedBuffers
  readonly #users: (RingUser | null)[] = []
  readonly #generations: number[] = []
  readonly #free: number[] = []
  /** Waiting for a buffer, first come, first served. */
  readonly #starved = new Map<RingUser, () => void>()
  #used = 0
  #turning = false
  /** Asked for in this turn. */
  #yielding = false
  #idle: (() => void) | undefined
  /** Completions for somebody who has gone. There should be none. */
  stale = 0
  /** Entries wait to be submitted and no turn is under way: `turn` soon. */
  onWork: () => void = () => undefined

  /** @throws NearcastError kernel.call-failed, kernel.unsupported */
  constructor({ buffers }: RingLoopOptions = {}) {
    this.ring = new IoUring(ENTRIES, COMPLETIONS)
    try {
      this.buffers = new ProvidedBuffers(this.ring, 0, { ...BUFFERS, ...buffers })
    } catch (error) {
      this.ring.close()
      throw error
    }
  }

  /** Slots in use. */
  get users(): number {
    return this.#used
  }

  /** @returns a slot, to be left when nothing of its user is under way any more. */
  join(user: RingUser): number {
    const slot = this.#free.pop() ?? this.#users.length
    this.#users[slot] = user
    this.#generations[slot] ??= 0
    this.#used++
    return slot
  }

  leave(slot: number): void {
    const user = this.#users[slot]
    if (!user) throw new Error(`Slot ${slot} is nobody's.`)
    this.#starved.delete(user)
    this.#users[slot] = null
    this.#generations[slot] = ((this.#generations[slot] ?? 0) + 1) & GENERATIONS
    this.#free.push(slot)
    if (--this.#used === 0) this.#idle?.()
  }

  #push(operation: number, slot: number, of: number, fd: number, address: number, length: number, operationFlags: number, sqeFlags = 0, ioprio = 0, offset = 0): void {
    this.ring.push(operation, sqeFlags, ioprio, fd, address, length, operationFlags, (slot << 4) | of, this.#generations[slot] ?? 0, this.buffers.group, offset)
    if (!this.#turning) this.onWork()
  }

  /** Into provided buffers: once, or again and again until cancelled, ended or out of buffers. */
  receive(slot: number, fd: number, again: boolean): void {
    this.#push(RECV, slot, OPERATION.receive, fd, 0, 0, 0, SELECT_BUFFER, again ? RECV_MULTISHOT : 0)
  }

  /** All of it, unless it fails or is cancelled on the way. The memory stays until the completion. */
  send(slot: number, fd: number, address: number, length: number): void {
    this.#push(SEND, slot, OPERATION.send, fd, address, length, MSG_NOSIGNAL_WAITALL)
  }

  connect(slot: number, fd: number, address: Uint8Array): void {
    this.#push(CONNECT, slot, OPERATION.connect, fd, this.ring.pin(address), 0, 0, 0, 0, address.length)
  }

  accept(slot: number, fd: number): void {
    this.#push(ACCEPT, slot, OPERATION.accept, fd, 0, 0, SOCK_CLOEXEC, 0, ACCEPT_MULTISHOT)
  }

  /** Completes when the socket has an error or is hung up. */
  poll(slot: number, fd: number): void {
    this.#push(POLL_ADD, slot, OPERATION.poll, fd, 0, 0, 0)
  }

  /** Completes when more can be sent, or nothing any more. */
  pollRoom(slot: number, fd: number): void {
    this.#push(POLL_ADD, slot, OPERATION.room, fd, 0, 0, POLLOUT)
  }

  close(slot: number, fd: number): void {
    this.#push(CLOSE, slot, OPERATION.close, fd, 0, 0, 0)
  }

  /** Ends one kind of operation of a slot; that operation completes too. */
  cancel(slot: number, of: number): void {
    // The key is the 64-bit word that the operation came with: low and high.
    const key = ((slot << 4) | of) + (this.#generations[slot] ?? 0) * 2 ** 32
    this.#push(CANCEL, slot, OPERATION.cancel, -1, key, 0, 0)
  }

  /** Ends all operations of a descriptor; each completes. */
  cancelAll(slot: number, fd: number): void {
    this.#push(CANCEL, slot, OPERATION.cancel, fd, 0, 0, CANCEL_ALL_OF_FD)
  }

  /** `fed` is called once there are buffers again. */
  starve(user: RingUser, fed: () => void): void {
    this.#starved.set(user, fed)
  }

  /** Never re-entered. After many rounds it leaves off with work left (`ring.hasWork`): the driver goes on when others had their turn. */
  turn(): void {
    if (this.#turning) return
    this.#turning = true
    try {
      this.#rounds()
    } finally {
      this.#turning = false
    }
  }

  #rounds(): void {
    const { ring, buffers } = this
    this.#yielding = false
    for (let round = 0; round < MAX_ROUNDS && ring.hasWork; round++) {
      ring.enter(0)
      ring.reap(this.#completed)
      buffers.lend()
      if (this.#starved.size > 0) this.#feed()
    }
  }

  /** Blocks until nobody uses the ring any more, or until time is over. What users throw is theirs: the rest goes on. */
  drain(timeoutMs: number): void {
    const deadlineMs = performance.now() + timeoutMs
    while (this.#used > 0 && performance.now() < deadlineMs) {
      try {
        this.turn()
      } catch {
        // It has failed before.
      }
      if (this.#used > 0 && !this.ring.hasWork) Atomics.wait(PAUSE, 0, 0, 1)
    }
  }

  readonly #completed = (low: number, high: number, result: number, flags: number): void => {
    const slot = low >>> 4
    if ((flags & HAS_BUFFER) !== 0) this.buffers.received(flags >>> 16)
    const user = this.#users[slot]
    if (user && this.#generations[slot] === high) return user.completed(low & 15, result, flags)
    this.stale++
    if ((flags & HAS_BUFFER) !== 0) this.buffers.release(flags >>> 16)
  }

  /** Who takes nothing at present must not keep those waiting who would. */
  #feed(): void {
    const { buffers } = this
    if (!(buffers.ranOut() && buffers.hasSpare) && !this.#yielding) {
      this.#yielding = true
      for (const user of this.#users) user?.yieldBuffers?.()
    }
    if (!buffers.ranOut() && !buffers.hasSpare) return
    const starved = [...this.#starved.values()]
    this.#starved.clear()
    for (const fed of starved) fed()
  }

  /** Resolves when nobody uses the ring any more. */
  async idle(): Promise<void> {
    if (this.#used === 0) return
    await new Promise<void>((resolve) => {
      this.#idle = resolve
    })
  }

  /** Nobody uses it any more. Idempotent. */
  end(): void {
    this.onWork = () => undefined
    this.ring.close()
    this.buffers.close()
  }
}
