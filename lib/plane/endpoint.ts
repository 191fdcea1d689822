/**
 * One side of a connection as a connection sees it: reading on demand, ordered writes, FIN, RST. Each plane has its own;
 * they may meet in one connection (TLS stays with Node's sockets everywhere).
 *
 * An endpoint owns its descriptor until `onGone`. It decides nothing.
 */
import type { Socket } from 'node:net'

export type Breakage = 'reset' | 'error'

export interface EndpointListener {
  /** The bytes are the listener's to keep. */
  data(chunk: Uint8Array): void
  /** Of an endpoint with `carryTo`: so many bytes have gone the short way. */
  moved(bytes: number): void
  /** FIN, or close_notify on TLS. */
  end(): void
  failed(how: Breakage): void
  /** There is room again in what was `full`. */
  drain(): void
}

/** For an endpoint that nobody listens to any more, or yet. */
export const SILENT: EndpointListener = { data: () => undefined, moved: () => undefined, end: () => undefined, failed: () => undefined, drain: () => undefined }

export interface Endpoint {
  listener: EndpointListener
  /** Called once, when the descriptor is closed. */
  onGone: () => void
  readonly unix: boolean
  readonly ended: boolean
  readonly failed: boolean
  /** More is queued than should be: stop the sender and wait for `drain`. */
  readonly full: boolean
  /** Written, and not taken by the kernel yet. */
  readonly queuedBytes: number
  resume(): void
  pause(): void
  /** What is read from here on may go to `to` without passing the listener; `freely`: as much at once as there is. */
  carryTo(to: Endpoint, freely: boolean): void
  /** Looks whether a peer that isn't read at present has reset. */
  probe(): void
  write(bytes: Uint8Array): void
  /** FIN behind everything written. */
  finish(): void
  /** RST; on a Unix socket a plain close. What is queued is dropped. No event follows but `onGone`. */
  reset(): void
  /** Closes without losing what was written: flush, FIN, then drop what still arrives until the peer has ended too. */
  linger(): void
  /**
   * Lets its TCP socket go to a TLS handshake, `unread` bytes first; `done` is called once, unless the endpoint breaks or
   * is reset before. `successor` stands for this endpoint from there on, which may be the same: it tells breakages.
   */
  release(unread: Uint8Array, done: (tcp: Socket, successor: SecurableEndpoint) => void): void
}

export interface SecurableEndpoint extends Endpoint {
  /** From here on payload goes through `socket`, which is TLS over the released one. */
  secured(socket: Socket): void
}
