/**
 * The plane's ring inside Node's event loop (lib/kernel/watched-ring.ts): when it has its turns.
 */
import type { Socket } from 'node:net'
import { watchRing } from '../../kernel/watched-ring.ts'
import type { RingLoop } from './ring-loop.ts'

export class Hosted {
  readonly #loop: RingLoop
  readonly #socket: Socket
  #scheduled = false
  #goesOn = false
  #ended = false

  /** @throws NearcastError kernel.call-failed */
  constructor(loop: RingLoop) {
    this.#loop = loop
    this.#socket = watchRing(loop.ring, () => this.#turn())
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
