/**
 * The seam below: who carries sealed datagrams between hosts. `UdpBind` does it by UDP, `WebSocketBind` through
 * a WebSocket, `MemoryBind` inside a process.
 */

/** Where a peer is. Made by a Bind; kept and handed back, never looked into but for these two. */
export interface Endpoint {
  /** An IP address as text. */
  readonly host: string
  readonly port: number
}

export interface Bind {
  /** The port that peers reach; known once open. */
  readonly port: number
  /** `receive` is called for each datagram, which it may use during the call only. @throws NearcastError listen.* */
  open(receive: (datagram: Uint8Array, from: Endpoint) => void): Promise<void>
  /** Never throws and never waits: what can't be sent is lost, as on the way. `datagram` belongs to the bind from here on. */
  send(datagram: Uint8Array, to: Endpoint): void
  /**
   * Where the next datagram to `to` may be written, so that it needn't be copied: `send` it next, or don't. It isn't zeroed.
   * @returns null when it is better written elsewhere, as where a bind has no such place
   */
  room?(bytes: number, to: Endpoint): Uint8Array | null
  /** Idempotent. Nothing is received afterwards. */
  close(): Promise<void>
}
