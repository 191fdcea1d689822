/**
 * A ring inside Node's event loop: the kernel writes an eventfd when there are completions, and libuv watches that.
 */
import type { Socket } from 'node:net'
import { check, systemCalls } from '../../kernel/ffi.ts'
import { watchDescriptor } from '../../kernel/watched-descriptor.ts'
import type { RingLoop } from './ring-loop.ts'

const EFD_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000

export class Hosted {
  readonly #loop: RingLoop
  readonly #socket: Socket
  #scheduled = false
  #goesOn = false
  #ended = false

  /** @throws NearcastError kernel.call-failed */
  constructor(loop: RingLoop) {
    this.#loop = loop
    const eventfd = check(systemCalls().eventfd(0, EFD_NONBLOCK_CLOEXEC), 'eventfd')
    // The ring keeps the eventfd itself, whatever its number becomes.
    loop.ring.registerEventfd(eventfd)
    this.#socket = watchDescriptor(eventfd, () => this.#turn())
    this.#socket.resume()
    loop.onWork = this.#schedule
  }

  /** Keeps the process alive, or doesn't. */
  hold(busy: boolean): void {
    if (busy) this.#socket.ref()
    else this.#socket.unref()
  }

  /** Soon: what happens in this turn of Node's loop is submitted together. */
  readonly #schedule = (): void => {
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(this.#turnScheduled)
  }

  readonly #turnScheduled = (): void => {
    this.#scheduled = false
    this.#turn()
  }

  #turn(): void {
    if (this.#ended) return
    const { ring } = this.#loop
    ring.silence(true)
    this.#loop.turn()
    // A turn may end the plane.
    if (this.#isEnded()) return
    if (!ring.hasWork) {
      ring.silence(false)
      // What came between the last look and the end of the silence nobody would tell.
      if (!ring.hasWork) return
    }
    if (this.#goesOn) return
    this.#goesOn = true
    // Not a microtask: timers and other sockets have their turn first.
    setImmediate(this.#goOn)
  }

  #isEnded(): boolean {
    return this.#ended
  }

  readonly #goOn = (): void => {
    this.#goesOn = false
    this.#turn()
  }

  /** Before the ring is closed. */
  end(): void {
    this.#ended = true
    this.#socket.destroy()
  }
}
