/**
 * Dialling on a ring: a connect operation, cancelled when time is over or nobody wants it any more.
 *
 * TLS and host names are Node's (portable-dial.ts): the former because the ring has none, the latter because looking one up
 * takes longer than anything saved here.
 */
import { isIP } from 'node:net'
import { Descriptor } from '../../kernel/descriptor.ts'
import { errnoName } from '../../kernel/ffi.ts'
import { openStream, tcpAddress, tuneTcp, unixAddress } from '../../kernel/stream-socket.ts'
import type { StreamAddress } from '../../kernel/stream-socket.ts'
import { dialFailure, KEEP_ALIVE_AFTER_MS } from '../dialling.ts'
import type { Dial, Dialling } from '../dialling.ts'
import type { Endpoint } from '../endpoint.ts'
import type { DialFailure, DialTarget } from '../plane.ts'
import { dial as dialOnNode } from '../portable-dial.ts'
import { RingEndpoint } from './endpoint.ts'
import { OPERATION } from './ring-loop.ts'
import type { RingLoop, RingUser } from './ring-loop.ts'

type Done = (result: Endpoint | DialFailure) => void

export function dialOn(loop: RingLoop): Dial {
  return (target, timeoutMs, done) => {
    if (target.kind === 'tcp' && (target.tls !== undefined || isIP(target.host) === 0 || target.host.includes('%'))) return dialOnNode(target, timeoutMs, done)
    return new RingDial(loop, target, timeoutMs, done)
  }
}

class RingDial implements Dialling, RingUser {
  readonly #loop: RingLoop
  readonly #unix: boolean
  readonly #done: Done
  readonly #timer: NodeJS.Timeout
  #slot = -1
  #descriptor: Descriptor | null = null
  #connecting = false
  #cancelling = false
  #settled = false

  constructor(loop: RingLoop, target: DialTarget, timeoutMs: number, done: Done) {
    this.#loop = loop
    this.#unix = target.kind === 'unix'
    this.#done = done
    this.#timer = setTimeout(() => this.#settle('timeout'), timeoutMs)
    const address = target.kind === 'unix' ? unixAddress(target.path) : tcpAddress(target.host, target.port)
    const failure = address === null ? 'error' : this.#begin(address)
    if (failure !== null) queueMicrotask(() => this.#settle(failure))
  }

  #begin(address: StreamAddress): DialFailure | null {
    const fd = openStream(address.family)
    if (fd < 0) return dialFailure(errnoName(fd)) ?? 'error'
    this.#descriptor = new Descriptor(fd)
    if (!this.#unix) tuneTcp(fd, KEEP_ALIVE_AFTER_MS / 1000)
    this.#slot = this.#loop.join(this)
    this.#connecting = true
    this.#loop.connect(this.#slot, fd, address.bytes)
    return null
  }

  completed(operation: number, result: number): void {
    // The cancelling itself completes, too, before or behind what it cancels.
    if (operation === OPERATION.cancel) this.#cancelling = false
    else this.#connecting = false
    if (!this.#connecting && !this.#cancelling) this.#loop.leave(this.#slot)
    if (operation === OPERATION.cancel) return
    if (this.#settled || result < 0) this.#descriptor?.close()
    if (result < 0) this.#settle(dialFailure(errnoName(result)) ?? 'error')
    else if (!this.#settled && this.#descriptor) this.#settle(new RingEndpoint(this.#loop, this.#descriptor.give(), this.#unix))
  }

  #settle(result: Endpoint | DialFailure): void {
    if (this.#settled) return
    this.abandon()
    this.#done(result)
  }

  abandon(): void {
    if (this.#settled) return
    this.#settled = true
    clearTimeout(this.#timer)
    if (!this.#connecting) return
    this.#cancelling = true
    this.#loop.cancel(this.#slot, OPERATION.connect)
  }
}
