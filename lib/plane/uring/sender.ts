/**
 * The writing half of a ring endpoint: its queue, one send under way, and patience with a peer that takes nothing.
 *
 * It begins operations and is told of their completions; what an error means is the endpoint's to say.
 */
import { errnoName } from '../../kernel/ffi.ts'
import { OPERATION } from './ring-loop.ts'
import type { RingLoop, RingUser } from './ring-loop.ts'
import { SendQueue } from './send-queue.ts'

/** More than this queued, and the other side isn't read … */
const FULL_BYTES = 256 << 10
/** … until this little is left. */
const DRAINED_BYTES = 64 << 10

export interface SenderOwner extends RingUser {
  readonly slot: number
  readonly fd: number
  /** An operation of the owner's has begun; it completes once. */
  begun(): void
  /** There are buffers again. */
  readonly fed: () => void
}

export class Sender {
  readonly #loop: RingLoop
  readonly #owner: SenderOwner
  readonly #queue: SendQueue
  #wasFull = false
  /** Sends again only when the kernel says that there is room. */
  #patient = false
  #stopped = false

  constructor(loop: RingLoop, owner: SenderOwner) {
    this.#loop = loop
    this.#owner = owner
    this.#queue = new SendQueue(loop.buffers)
  }

  get full(): boolean {
    const full = this.#queue.bytes >= FULL_BYTES
    if (full) this.#wasFull = true
    return full
  }

  get bytes(): number {
    return this.#queue.bytes
  }

  get isEmpty(): boolean {
    return this.#queue.isEmpty
  }

  write(bytes: Uint8Array): void {
    this.#queue.push(bytes)
    this.send()
  }

  /** A received buffer, which is the queue's from here on. */
  move(buffer: number, length: number): void {
    this.#queue.move(buffer, length)
    this.send()
  }

  send(): void {
    if (this.#stopped || this.#patient) return
    const { slot, fd, fed } = this.#owner
    const next = this.#queue.next()
    if (next === null) return
    if (next === 'starved') return this.#loop.starve(this.#owner, fed)
    this.#owner.begun()
    this.#loop.send(slot, fd, next.address, next.length)
  }

  /** @returns whether it failed: the peer takes nothing any more. `send` goes on. */
  sent(result: number): boolean {
    this.#queue.sent(Math.max(0, result))
    if (this.#stopped) return false
    if (this.#patient) {
      this.#queue.yieldBuffers()
      this.#owner.begun()
      this.#loop.pollRoom(this.#owner.slot, this.#owner.fd)
    }
    if (result >= 0) return false
    const errno = errnoName(result)
    return errno !== 'ECANCELED' && errno !== 'EINTR' && errno !== 'EAGAIN'
  }

  /** @returns true once after it was full. */
  drained(): boolean {
    if (!this.#wasFull || this.#queue.bytes > DRAINED_BYTES) return false
    this.#wasFull = false
    return true
  }

  /** A send that is still under way when buffers have run out waits for its peer: it goes on once there is room again. */
  yieldBuffers(): void {
    if (this.#stopped) return
    this.#queue.yieldBuffers()
    if (!this.#queue.sending || this.#patient) return
    this.#patient = true
    this.#owner.begun()
    this.#loop.cancel(this.#owner.slot, OPERATION.send)
  }

  /** There is room, or an error that sending finds. */
  onRoom(): void {
    this.#patient = false
    this.send()
  }

  /** Nothing more is sent, what waits is dropped. */
  stop(): void {
    this.#stopped = true
    this.#queue.drop()
  }
}
