/**
 * One side of a connection on a ring: what endpoint.ts asks for, by the kernel's own operations.
 *
 * While its bytes go to another ring endpoint it receives again and again into provided buffers, which move on to the
 * other's queue uncopied; before that, and under a rate, once per demand. A descriptor is closed only when nothing is under
 * way on it any more: its number is a stranger's at once. What the kernel says of errors, and when, is told in the comments
 * of `#onReceived` and `#deafened`.
 */
import { Socket } from 'node:net'
import { errnoName } from '../../kernel/ffi.ts'
import { pendingError, resetOnClose, shutdownWriting } from '../../kernel/stream-socket.ts'
import { SILENT } from '../endpoint.ts'
import type { Breakage, Endpoint, EndpointListener, SecurableEndpoint } from '../endpoint.ts'
import { PortableEndpoint } from '../portable-endpoint.ts'
import { Lingering } from './lingering.ts'
import { HAS_BUFFER, MORE, OPERATION } from './ring-loop.ts'
import type { RingLoop } from './ring-loop.ts'
import { Sender } from './sender.ts'
import type { SenderOwner } from './sender.ts'

/** `cancelled`: its last completion is on its way. */
type Receiving = 'no' | 'once' | 'again' | 'cancelled'

export class RingEndpoint implements Endpoint, SenderOwner {
  listener: EndpointListener = SILENT
  onGone: () => void = () => undefined
  readonly unix: boolean
  ended = false
  failed = false
  readonly #loop: RingLoop
  readonly slot: number
  readonly fd: number
  readonly #sender: Sender
  /** Operations whose completion hasn't come. */
  #underWay = 0
  #reading = false
  #receiving: Receiving = 'no'
  /** Came after `pause`: arrivals, and the end of them. */
  #early: Uint8Array[] = []
  #earlyEnd = false
  #to: RingEndpoint | null = null
  #freely = false
  #polling = false
  #finishing = false
  #finished = false
  #deaf: 'ended' | 'reset' | null = null
  #lingering: Lingering | null = null
  #closing = false
  #gone = false
  #releasing: (() => void) | null = null

  /** The descriptor is the endpoint's from here on. It blocks, as the ring wants it. */
  constructor(loop: RingLoop, fd: number, unix: boolean) {
    this.#loop = loop
    this.fd = fd
    this.unix = unix
    this.slot = loop.join(this)
    this.#sender = new Sender(loop, this)
  }

  completed(operation: number, result: number, flags: number): void {
    switch (operation) {
      case OPERATION.receive:
        this.#onReceived(result, flags)
        break
      case OPERATION.send:
        this.#underWay--
        this.#onSent(result)
        break
      case OPERATION.poll:
        this.#underWay--
        this.#polling = false
        if (!this.#closing && !this.failed && result >= 0) this.#deafened(pendingError(this.fd))
        break
      case OPERATION.room:
        this.#underWay--
        this.#sender.onRoom()
        break
      case OPERATION.close:
        this.#loop.leave(this.slot)
        this.#gone = true
        this.onGone()
        return
      default:
        this.#underWay--
    }
    this.#closeWhenQuiet()
  }

  // Reading

  resume(): void {
    this.#reading = true
    if (this.#early.length > 0 || this.#earlyEnd) queueMicrotask(() => this.#deliverEarly())
    else this.#receive()
  }

  pause(): void {
    this.#reading = false
    if (this.#receiving !== 'once' && this.#receiving !== 'again') return
    this.#receiving = 'cancelled'
    this.#underWay++
    this.#loop.cancel(this.slot, OPERATION.receive)
  }

  carryTo(to: Endpoint, freely: boolean): void {
    this.#to = to instanceof RingEndpoint && to.#loop === this.#loop ? to : null
    this.#freely = freely && this.#to !== null
  }

  readonly #receive = (): void => {
    if (!this.#reading || this.#receiving !== 'no' || this.ended || this.#earlyEnd || this.#closing || this.#releasing) return
    this.#receiving = this.#freely ? 'again' : 'once'
    this.#underWay++
    this.#loop.receive(this.slot, this.fd, this.#freely)
  }

  /** 0 is the peer's FIN. One that was armed for many ends by itself when buffers run out, too. */
  #onReceived(result: number, flags: number): void {
    if ((flags & MORE) === 0) {
      this.#receiving = 'no'
      this.#underWay--
    }
    if ((flags & HAS_BUFFER) !== 0) this.#arrived(flags >>> 16, Math.max(0, result))
    if (result === 0) this.#onEnd()
    else if (result < 0) this.#onReceiveError(errnoName(result))
    this.#receive()
  }

  #arrived(buffer: number, length: number): void {
    const { buffers } = this.#loop
    if (length === 0 || this.#closing || this.failed) return buffers.release(buffer)
    if (this.#to) {
      this.#to.#move(buffer, length)
      return this.listener.moved(length)
    }
    const chunk = buffers.copyOf(buffer, length)
    buffers.release(buffer)
    if (this.#reading && !this.#releasing) this.listener.data(chunk)
    else this.#early.push(chunk)
  }

  #deliverEarly(): void {
    while (this.#reading && !this.#releasing && !this.#closing) {
      const chunk = this.#early.shift()
      if (!chunk) break
      this.listener.data(chunk)
    }
    if (!this.#reading || this.#early.length > 0 || this.#releasing || this.#closing) return
    if (this.#earlyEnd) {
      this.#earlyEnd = false
      this.#onEnd()
      this.#closeWhenQuiet()
    } else {
      this.#receive()
    }
  }

  /** Behind a failed write the kernel's end of file alone doesn't say how the peer went; the error does. */
  #onEnd(): void {
    if (this.#closing || this.ended) return
    if (!this.#to && !this.#lingering && (!this.#reading || this.#releasing)) {
      this.#earlyEnd = true
      return
    }
    if (this.#deaf === 'reset') return this.#fail('reset')
    this.ended = true
    if (this.#lingering) return
    this.listener.end()
    if (this.#deaf === 'ended') this.#fail('reset')
  }

  #onReceiveError(errno: string): void {
    if (this.#closing) return
    if (errno === 'ECANCELED' || errno === 'EINTR' || errno === 'EAGAIN') return
    if (errno === 'ENOBUFS') {
      if (this.#loop.buffers.ranOut()) return
      this.#receiving = 'cancelled'
      return this.#loop.starve(this, this.fed)
    }
    if (this.#lingering) return this.#beginClose()
    this.#fail(breakage(errno))
  }

  /** There are buffers again. */
  readonly fed = (): void => {
    if (this.#receiving === 'cancelled') this.#receiving = 'no'
    this.#sender.send()
    this.#receive()
    this.#closeWhenQuiet()
  }

  probe(): void {
    if ((this.#reading && !this.ended) || this.unix || this.#deaf || this.#polling || this.#finishing || this.#closing || !this.#sender.isEmpty || this.#releasing) return
    this.#polling = true
    this.#underWay++
    this.#loop.poll(this.slot, this.fd)
  }

  // Writing

  get full(): boolean {
    return this.#sender.full
  }

  get queuedBytes(): number {
    return this.#sender.bytes
  }

  write(bytes: Uint8Array): void {
    if (this.#deaf || this.#finishing || this.#closing) return
    this.#sender.write(bytes)
  }

  #move(buffer: number, length: number): void {
    if (this.#deaf || this.#finishing || this.#closing) return this.#loop.buffers.release(buffer)
    this.#sender.move(buffer, length)
  }

  yieldBuffers(): void {
    this.#sender.yieldBuffers()
  }

  begun(): void {
    this.#underWay++
  }

  #onSent(result: number): void {
    const failed = this.#sender.sent(result)
    if (this.#closing) return
    if (failed) this.#deafened(result)
    this.#sender.send()
    if (this.#sender.drained()) this.listener.drain()
    if (this.#finishing && this.#sender.isEmpty) this.#sendEnd()
  }

  /**
   * The peer takes nothing any more. What it said before is still read: up to its FIN when it had sent one (the kernel
   * then answers EPIPE), else up to the reset. Unread sides that were reset are over.
   */
  #deafened(result: number): void {
    if (result >= 0 || this.failed || this.#deaf) return
    const errno = errnoName(result)
    this.#deaf = errno === 'EPIPE' ? 'ended' : 'reset'
    this.#sender.stop()
    if (this.ended || (this.#deaf === 'reset' && !this.#reading)) this.#fail(breakage(errno))
  }

  finish(): void {
    if (this.#finishing) return
    this.#finishing = true
    if (this.#sender.isEmpty) this.#sendEnd()
  }

  #sendEnd(): void {
    if (this.#finished || this.#closing) return
    this.#finished = true
    // Of a socket that has ended, closing says it as well.
    if (!this.ended) shutdownWriting(this.fd)
    this.#closeWhenQuiet()
  }

  // The end

  #fail(how: Breakage): void {
    if (this.failed) return
    for (const chunk of this.#early.splice(0)) this.listener.data(chunk)
    this.failed = true
    this.#releasing = null
    this.listener.failed(how)
  }

  reset(): void {
    this.failed = true
    this.#lingering?.stop()
    this.#releasing = null
    if (this.#gone || this.#closing) return
    if (!this.unix) resetOnClose(this.fd)
    this.#beginClose()
  }

  linger(): void {
    this.failed = true
    if (this.#closing || this.#lingering) return
    this.listener = SILENT
    this.#early = []
    this.#to = null
    this.#freely = false
    this.#lingering = new Lingering(
      () => this.#sender.bytes,
      (how) => (how === 'stalled' ? this.reset() : this.#beginClose()),
    )
    if (this.#earlyEnd) this.ended = true
    this.#earlyEnd = false
    this.finish()
    this.resume()
    this.#closeWhenQuiet()
  }

  #beginClose(): void {
    if (this.#closing) return
    this.#closing = true
    this.#lingering?.stop()
    this.#early = []
    this.#sender.stop()
    if (this.#underWay > 0) {
      this.#underWay++
      this.#loop.cancelAll(this.slot, this.fd)
    }
    this.#closeWhenQuiet()
  }

  #closeWhenQuiet(): void {
    if (this.#gone) return
    if (!this.#closing && this.ended && this.#finished) return this.#beginClose()
    if (this.#underWay > 0) return
    if (this.#closing) {
      // Until its completion nothing else is under way, and nothing begins.
      this.#underWay = Number.POSITIVE_INFINITY
      this.#loop.close(this.slot, this.fd)
    } else if (this.#sender.isEmpty) {
      this.#releasing?.()
    }
  }

  release(unread: Uint8Array, done: (tcp: Socket, successor: SecurableEndpoint) => void): void {
    this.pause()
    this.#releasing = () => {
      this.#releasing = null
      this.#closing = this.#gone = true
      this.#loop.leave(this.slot)
      const tcp = new Socket({ fd: this.fd, readable: true, writable: true, allowHalfOpen: true })
      const successor = new PortableEndpoint(tcp, tcp, this.unix, SILENT)
      successor.release(Buffer.concat([unread, ...this.#early]), done)
    }
    if (this.#polling) {
      this.#underWay++
      this.#loop.cancel(this.slot, OPERATION.poll)
    }
    // What is being written before is sent before.
    this.#closeWhenQuiet()
  }
}

function breakage(errno: string): Breakage {
  return errno === 'ECONNRESET' || errno === 'EPIPE' ? 'reset' : 'error'
}
