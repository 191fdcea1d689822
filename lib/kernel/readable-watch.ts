/**
 * Tells when descriptors can be read, inside Node's event loop, which has no way to watch a bare one: an io_uring polls them
 * (watched-ring.ts).
 *
 * As long as there is something to read nobody is asked: who reads is called again in the loop's next turn, so that timers and
 * other sockets have theirs in between. Only one that found nothing is polled again.
 */
import type { Socket } from 'node:net'
import { IoUring } from './io-uring.ts'
import { watchRing } from './watched-ring.ts'

const IORING_OP_POLL_ADD = 6
const IORING_OP_ASYNC_CANCEL = 14
const CANCEL_ALL_OF_ANY = 1 | 4
const POLLIN = 1
/** Beside the places of readables. */
const CANCEL = 0x100
/** Of the completions that a cancellation brings; there are fewer. */
const MAX_ENDINGS = 32
const ENTRIES = 8

export interface Readable {
  readonly fd: number
  /** Reads what is there, up to a share that leaves others theirs. @returns false when there was nothing */
  read(): boolean
}

export class ReadableWatch {
  readonly #readables: readonly Readable[]
  readonly #ring: IoUring
  readonly #watched: Socket
  /** By place in `#readables`: to be read in the loop's next turn. */
  readonly #busy: boolean[]
  /** Under way in the ring. */
  #polls = 0
  #immediate: NodeJS.Immediate | null = null
  #isClosed = false

  /** The descriptors are the caller's, who closes this before them. At most 8. @throws NearcastError kernel.* */
  constructor(readables: readonly Readable[]) {
    this.#readables = readables
    this.#busy = readables.map(() => false)
    this.#ring = new IoUring(ENTRIES, 2 * ENTRIES)
    try {
      this.#watched = watchRing(this.#ring, this.#woken)
    } catch (error) {
      this.#ring.close()
      throw error
    }
    for (let place = 0; place < readables.length; place++) this.#poll(place)
    this.#ring.enter(0)
  }

  /** Idempotent. Nothing is read afterwards. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    if (this.#immediate !== null) clearImmediate(this.#immediate)
    this.#watched.destroy()
    // A ring that is closed goes later, and would hold the descriptors' files as long: ports, interfaces.
    this.#ring.push(IORING_OP_ASYNC_CANCEL, 0, 0, -1, 0, 0, CANCEL_ALL_OF_ANY, CANCEL, 0)
    for (let rounds = 0; this.#polls > 0 && rounds < MAX_ENDINGS; rounds++) {
      this.#ring.enter(1)
      this.#reap()
    }
    this.#ring.close()
  }

  readonly #woken = (): void => {
    if (this.#isClosed) return
    this.#ring.enter(0)
    this.#reap()
    this.#turn()
  }

  #reap(): void {
    this.#ring.reap((place) => {
      if (place === CANCEL) return
      this.#polls--
      this.#busy[place] = true
    })
  }

  readonly #turn = (): void => {
    this.#immediate = null
    let isAnyBusy = false
    let isAnyPolled = false
    for (let place = 0; place < this.#busy.length && !this.#isClosed; place++) {
      if (this.#busy[place] !== true) continue
      if (this.#readables[place]?.read() === true) isAnyBusy = true
      else {
        this.#busy[place] = false
        this.#poll(place)
        isAnyPolled = true
      }
    }
    if (this.#isClosed) return
    if (isAnyPolled) this.#ring.enter(0)
    if (isAnyBusy) this.#immediate ??= setImmediate(this.#turn)
  }

  /** Once; what is readable by now is told at once. */
  #poll(place: number): void {
    this.#polls++
    const { fd } = this.#readables[place] ?? { fd: -1 }
    this.#ring.push(IORING_OP_POLL_ADD, 0, 0, fd, 0, 0, POLLIN, place, 0)
  }
}
