/**
 * Accepting on a ring: one multishot accept per listening socket, two questions to the kernel per connection (who, and to
 * where), and none about options: accepted sockets inherit those of the listening one.
 */
import { unlinkSync } from 'node:fs'
import { Descriptor } from '../../kernel/descriptor.ts'
import { errnoName } from '../../kernel/ffi.ts'
import { peerCredentials } from '../../kernel/peer-credentials.ts'
import { isUnixName, localName, peerName, resetOnClose } from '../../kernel/stream-socket.ts'
import type { Connections } from '../connections.ts'
import type { ListenOptions, Listener, Peer, SocketAddress } from '../plane.ts'
import { MAX_CONNECTIONS } from '../portable-accept.ts'
import { addressOf } from './address.ts'
import { RingEndpoint } from './endpoint.ts'
import { openListener } from './listen.ts'
import { MORE, OPERATION } from './ring-loop.ts'
import type { RingLoop, RingUser } from './ring-loop.ts'

/** Without descriptors or memory there is nothing to accept with: others must close some first. */
const RETRY_MS = 100

/** @throws NearcastError listen.in-use, listen.denied, listen.failed */
export async function acceptOnRing(loop: RingLoop, options: RingListenOptions, connections: Connections): Promise<RingListener> {
  const { descriptor, path } = await openListener(options.target)
  return new RingListener(loop, descriptor, path, options, connections)
}

export interface RingListenOptions extends ListenOptions {
  /** Accepted by another plane from the same socket, and nobody's yet: they are this listener's first ones. */
  readonly accepted?: readonly number[]
}

export class RingListener implements Listener, RingUser {
  readonly port: number
  readonly rejected = { limit: 0, handshake: 0 }
  readonly #loop: RingLoop
  readonly #descriptor: Descriptor
  /** Removed with the listener; null when it isn't ours to remove. */
  readonly #path: string | null
  readonly #unix: boolean
  readonly #options: RingListenOptions
  readonly #connections: Connections
  readonly #slot: number
  #open = 0
  #armed = false
  #cancelling = false
  #retry: NodeJS.Timeout | undefined
  #closing: Promise<void> | undefined
  #ended: (() => void) | undefined
  /** Since `abandon`: nobody's connections. */
  #orphans: number[] | null = null

  constructor(loop: RingLoop, descriptor: Descriptor, path: string | null, options: RingListenOptions, connections: Connections) {
    this.#loop = loop
    this.#descriptor = descriptor
    this.#path = path
    this.#options = options
    this.#connections = connections
    const name = localName(descriptor.fd)
    this.#unix = name !== null && isUnixName(name)
    this.port = name === null || this.#unix ? 0 : name.readUInt16BE(2)
    this.#slot = loop.join(this)
    for (const fd of options.accepted ?? []) this.#accepted(fd)
    this.#accept()
  }

  #accept(): void {
    if (this.#closing || this.#armed) return
    this.#armed = true
    this.#loop.accept(this.#slot, this.#descriptor.fd)
  }

  completed(operation: number, result: number, flags: number): void {
    if (operation === OPERATION.cancel) {
      this.#cancelling = false
      return this.#endWhenQuiet()
    }
    if ((flags & MORE) === 0) this.#armed = false
    if (result >= 0) this.#accepted(result)
    if (this.#armed) return
    if (this.#closing) return this.#endWhenQuiet()
    if (result >= 0 || errnoName(result) === 'ECONNABORTED' || errnoName(result) === 'EINTR') this.#accept()
    else this.#retry = setTimeout(() => this.#accept(), RETRY_MS)
  }

  #accepted(fd: number): void {
    if (this.#orphans) {
      this.#orphans.push(fd)
      return
    }
    const { maxConnections = MAX_CONNECTIONS } = this.#options
    if (this.#closing || this.#open >= maxConnections) {
      if (!this.#closing) this.rejected.limit++
      if (!this.#unix) resetOnClose(fd)
      new Descriptor(fd).close()
      return
    }
    this.#open++
    const [source, destination] = this.#unix ? [null, null] : [nullable(peerName(fd)), nullable(localName(fd))]
    const endpoint = new RingEndpoint(this.#loop, fd, this.#unix)
    this.#connections.enter(this.#options, endpoint, { source, destination, peer: this.#unix ? processOf(fd) : { kind: 'anonymous' } }, () => this.#open--)
  }

  /** Accepting is cancelled first: what is in the kernel's queue by then is refused, not lost in silence. */
  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#ended = resolve
      clearTimeout(this.#retry)
      if (this.#path !== null) remove(this.#path)
      if (!this.#armed) return queueMicrotask(() => this.#endWhenQuiet())
      this.#cancelling = true
      this.#loop.cancel(this.#slot, OPERATION.accept)
    })
    return this.#closing
  }

  /**
   * Stops accepting without closing the listening socket: it goes on as somebody else's. @returns a list of what is accepted
   * until the ring is quiet, for the same one.
   */
  abandon(): readonly number[] {
    this.#orphans = []
    void this.close()
    return this.#orphans
  }

  #endWhenQuiet(): void {
    if (this.#armed || this.#cancelling) return
    this.#loop.leave(this.#slot)
    if (this.#orphans) this.#descriptor.give()
    else this.#descriptor.close()
    this.#ended?.()
  }
}

function nullable(address: Buffer | null): SocketAddress | null {
  return address && addressOf(address)
}

function processOf(fd: number): Peer {
  try {
    const { uid, pid } = peerCredentials(fd)
    return { kind: 'process', uid, pid }
  } catch {
    return { kind: 'anonymous' }
  }
}

function remove(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // Somebody was faster.
  }
}
