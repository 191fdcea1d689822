/**
 * A ring inside Node's event loop: the kernel writes an eventfd when there are completions, and libuv watches that.
 *
 * Node has no way to watch a bare descriptor, but a net.Socket is a descriptor watched and read; so one is made over a
 * socket, and the eventfd put in its place (dup3) before it reads for the first time. That costs a wake-up one `read`, and
 * no thread.
 */
import { closeSync } from 'node:fs'
import { Socket } from 'node:net'
import { check, systemCalls } from '../../kernel/ffi.ts'
import type { RingLoop } from './ring-loop.ts'

const AF_UNIX = 1
const SOCK_STREAM_NONBLOCK_CLOEXEC = 1 | 0o4000 | 0o2000000
const O_CLOEXEC = 0o2000000
const EFD_NONBLOCK_CLOEXEC = 0o4000 | O_CLOEXEC
/** Larger than what is read, so that libuv doesn't ask for more. */
const READ_BYTES = 16

export class Hosted {
  readonly #loop: RingLoop
  readonly #socket: Socket
  #scheduled = false
  #goesOn = false
  #ended = false

  /** @throws NearcastError kernel.call-failed */
  constructor(loop: RingLoop) {
    this.#loop = loop
    const calls = systemCalls()
    const fd = check(calls.socket(AF_UNIX, SOCK_STREAM_NONBLOCK_CLOEXEC, 0), 'socket')
    const eventfd = check(calls.eventfd(0, EFD_NONBLOCK_CLOEXEC), 'eventfd')
    try {
      const onread = { buffer: Buffer.alloc(READ_BYTES), callback: () => this.#woken() }
      // Undocumented: without it the socket is watched before the eventfd is in its place.
      const options = { fd, readable: true, writable: false, onread, manualStart: true }
      this.#socket = new Socket(options)
      check(calls.dup3(eventfd, fd, O_CLOEXEC), 'dup3')
    } finally {
      closeSync(eventfd)
    }
    loop.ring.registerEventfd(fd)
    this.#socket.on('error', () => undefined)
    this.#socket.resume()
    loop.onWork = this.#schedule
  }

  /** Keeps the process alive, or doesn't. */
  hold(busy: boolean): void {
    if (busy) this.#socket.ref()
    else this.#socket.unref()
  }

  readonly #woken = (): boolean => {
    this.#turn()
    return true
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
