/**
 * The seam between deciding and doing. A brain (proxy/connection.ts, agent/connection.ts) is a pure state machine:
 * one event in, a list of actions out. A plane owns sockets, buffers and timers and performs the actions.
 *
 * Contract, kept by every plane (test/contract/plane.ts):
 * - The plane owns both sockets of a connection and closes them; a brain only says when and how.
 * - Nothing is read from a side before `read` or `carry` asks for it. What was read and not consumed is carried first.
 * - Writes leave when the whole list of actions has been performed. All writes queued for a side before `carry` in that
 *   list, and the bytes already read for it, leave in one write. Writes may follow a `dial` at once; they wait for it.
 * - While carrying, half-close is kept both ways, RST travels as RST, a slow reader stops its sender (back-pressure),
 *   and no byte that was accepted is lost at a close.
 * - A rate holds a sender back by not reading it (back-pressure); it never drops a byte.
 * - A reset by a peer that isn't read at present is noticed within a second (TCP and TLS; not on Unix sockets).
 * - What a brain writes doesn't pile up without end: a side that gets more while 1 MiB waits to be taken is broken.
 * - A client that breaks ends its connection without being told (`failed`, then `closed`); a broken upstream doesn't.
 * - `secure` is answered by one `secured` or `secure-failed`; bytes that came with the handshake's end are read afterwards.
 * - Every connection ends with exactly one `closed` event, after which no event follows.
 * - A Unix socket has no RST: a reset closes it, and its peer sees ECONNRESET when it had bytes unread here, else an end.
 */
import type { Ipv6 } from '../address.ts'

export type Side = 'client' | 'upstream'

export interface SocketAddress {
  /** IPv4 peers are mapped (::ffff:a.b.c.d). */
  readonly ip: Ipv6
  readonly port: number
}

/** Who is at the other end of an accepted connection, as far as the transport proves it. */
export type Peer =
  | { readonly kind: 'anonymous' }
  /** mTLS: the URI in the certificate, `nearcast://proxy/mad-1`, checked against our CA; its serial number, hexadecimal. */
  | { readonly kind: 'certificate'; readonly identity: string; readonly serial: string }
  /** SO_PEERCRED of a Unix socket. */
  | { readonly kind: 'process'; readonly uid: number; readonly pid: number }

/** Certificates and keys of our own identity, and whom we expect to meet. PEM. */
export interface HopTls {
  readonly ca: string
  readonly certificate: string
  readonly key: string
}

export type DialTarget =
  | { readonly kind: 'unix'; readonly path: string }
  | {
      readonly kind: 'tcp'
      readonly host: string
      readonly port: number
      /** Mutual TLS; `identity` is the URI that the other's certificate must carry. */
      readonly tls?: HopTls & { readonly identity: string }
    }

/**
 * What a plane needs to be the TLS server of a connection (1.2 and 1.3). Made and checked by the control side; a plane
 * keeps what it builds of one for as long as the object lives, so one object serves many connections.
 */
export interface TlsServer {
  /** The chain, leaf first, and its key. PEM. */
  readonly certificate: string
  readonly key: string
  /** PEM; with it a client must present a certificate of that CA. */
  readonly clientCa?: string
  /** In order of preference; a client that offers none of them is refused, one that doesn't ask isn't. */
  readonly alpn?: readonly string[]
  /** 48 bytes, secret: servers with the same ones resume each other's sessions … */
  readonly ticketKeys: Uint8Array
  /** … of the same context: who has proved itself in one hasn't in another. At most 32 characters. */
  readonly sessionContext: string
}

/** What a handshake agreed upon. */
export interface TlsSession {
  readonly serverName: string | null
  /** `TLSv1.3` */
  readonly protocol: string
  /** OpenSSL's name. */
  readonly cipher: string
  readonly alpn: string | null
  readonly resumed: boolean
  /** Present when one was asked for: verified, else the handshake failed. `commonName` may be empty. */
  readonly clientCertificate?: { readonly commonName: string; readonly fingerprint256: string }
}

export type TlsFailure = 'handshake' | 'client-certificate' | 'timeout' | 'closed'

export type DialFailure = 'refused' | 'timeout' | 'unreachable' | 'reset' | 'tls' | 'error'

export type PlaneEvent =
  /** `source` and `destination` are null on Unix sockets. */
  | { readonly type: 'accepted'; readonly source: SocketAddress | null; readonly destination: SocketAddress | null; readonly peer: Peer }
  /** `bytes`: everything read from that side and not consumed yet. Valid during the call only. */
  | { readonly type: 'received'; readonly side: Side; readonly bytes: Uint8Array }
  | { readonly type: 'dialled' }
  | { readonly type: 'dial-failed'; readonly reason: DialFailure }
  /** Before carrying: that side sent FIN (`ended`) or broke (`failed`). */
  | { readonly type: 'ended'; readonly side: Side }
  | { readonly type: 'failed'; readonly side: Side }
  /** The client side is TLS now; what is read from here on is payload. */
  | { readonly type: 'secured'; readonly side: 'client'; readonly session: TlsSession }
  /** The handshake failed; the client has been told by an alert where TLS has one. `closed` follows. */
  | { readonly type: 'secure-failed'; readonly side: 'client'; readonly reason: TlsFailure }
  | { readonly type: 'timer'; readonly name: string }
  /** The answer to an `ask`; `question` is the very object asked. Answers may come in any order. */
  | { readonly type: 'answered'; readonly question: unknown; readonly answer: unknown }
  | { readonly type: 'closed'; readonly result: CarryResult }

export type PlaneAction =
  /** RST to the client, nothing more is read. Ends the connection. */
  | { readonly type: 'reset' }
  /** Flushes what is queued for the client, then FIN. Ends the connection. */
  | { readonly type: 'close' }
  /** Reads from a side until `limitBytes` are held (the last arrival may exceed it by 64 KiB); each arrival is a `received`. */
  | { readonly type: 'read'; readonly side: Side; readonly limitBytes: number }
  | { readonly type: 'consume'; readonly side: Side; readonly bytes: number }
  /** Goes on with the client as a TLS server, from the bytes held on. Reading ends with it; once per connection, on TCP. */
  | { readonly type: 'secure'; readonly side: 'client'; readonly server: TlsServer; readonly timeoutMs: number }
  /** Drops the present upstream, if any, and opens another. `timeoutMs` covers the TLS handshake too. */
  | { readonly type: 'dial'; readonly target: DialTarget; readonly timeoutMs: number }
  | { readonly type: 'write'; readonly side: Side; readonly bytes: Uint8Array }
  /** One timer per name; setting it again restarts it. All end with the connection. */
  | { readonly type: 'timer'; readonly name: string; readonly afterMs: number }
  | { readonly type: 'cancel-timer'; readonly name: string }
  /** A question for the control side (asynchronous), answered by one `answered`. */
  | { readonly type: 'ask'; readonly question: unknown }
  /** From here on only bytes move, until one side ends; as fast as all of `rates` (names given to `setRate`) allow. */
  | { readonly type: 'carry'; readonly rates?: readonly string[] }

/** Payload bytes per second, of all connections together that are carried under one name; a member left out: no limit. */
export interface Rate {
  readonly bytesPerSecondUp?: number
  readonly bytesPerSecondDown?: number
}

/** How often a connection under a name had to wait before more was read from it. */
export interface RateWaits {
  readonly up: number
  readonly down: number
}

export interface CarryResult {
  /** client -> upstream and upstream -> client, payload only: headers and status bytes don't count. */
  readonly bytesUp: number
  readonly bytesDown: number
  /** From `accepted`. */
  readonly durationMs: number
  /** Who ended it and how; `local` is a brain's own reset or close, or a cut. */
  readonly endedBy: Side | 'local'
  readonly how: 'end' | 'reset' | 'error' | 'cut'
}

export interface Brain {
  /** Never throws for anything that a peer can cause. Called never re-entrantly. */
  on(event: PlaneEvent): readonly PlaneAction[]
}

export type ListenTarget =
  /** `host` '::' listens on IPv6 only (IPV6_V6ONLY). `port` 0 picks one. */
  | {
      readonly kind: 'tcp'
      readonly host: string
      readonly port: number
      readonly tls?: HopTls
      /** Takes what the packet filter hands over (nftables, `tproxy`), whatever its destination: any address, any port. */
      readonly transparent?: true
    }
  | { readonly kind: 'unix'; readonly path: string }
  /** An inherited listening socket (LISTEN_FDS). */
  | { readonly kind: 'fd'; readonly fd: number; readonly tls?: HopTls }

export interface ListenOptions {
  readonly target: ListenTarget
  /** Accepted beyond this many open ones are reset at once and counted. Default 10,000. */
  readonly maxConnections?: number
  /** Time for an inbound TLS handshake. Default 5,000 ms. */
  readonly handshakeTimeoutMs?: number
  /** Handshakes under way at once; beyond it the one under way longest is reset. Default 256. */
  readonly maxHandshakes?: number
  readonly brain: (id: number) => Brain
  /** Answers `ask`. A rejection is answered with `undefined`. */
  readonly answer?: (id: number, question: unknown) => Promise<unknown>
}

export interface Listener {
  /** 0 on Unix sockets. */
  readonly port: number
  /** Reset before a brain saw them: beyond `maxConnections` or `maxHandshakes`, and failed or late TLS handshakes. */
  readonly rejected: { readonly limit: number; readonly handshake: number }
  /** Stops accepting; open connections live on. Idempotent. */
  close(): Promise<void>
}

export interface Plane {
  readonly name: 'portable' | 'uring'
  /** @throws NearcastError listen.in-use, listen.denied, listen.failed */
  listen(options: ListenOptions): Promise<Listener>
  /** Ids are unique for the life of the plane. Cutting resets both sides. @returns false when there is no such connection. */
  cut(id: number): boolean
  /**
   * Limits the bytes of connections carried under `name`, those that are open too; null ends the limit. Connections share
   * it in turn, at most 0.1 s of it is saved up, and nobody waits for a name that isn't theirs. Half-close and RST are
   * kept: an end waits behind the bytes before it, a reset doesn't.
   */
  setRate(name: string, rate: Rate | null): void
  /** null for names without a rate. */
  rateWaits(name: string): RateWaits | null
  readonly openConnections: number
  /** Closes listeners, cuts what is open. Idempotent. */
  destroy(): Promise<void>
}
