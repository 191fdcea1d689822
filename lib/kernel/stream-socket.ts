/**
 * Stream sockets, TCP and Unix, by bare descriptor: made, named, bound, tuned, reset. See socket(7), tcp(7), unix(7).
 *
 * They block: io_uring waits by itself, and would answer EAGAIN on one that doesn't.
 */
import { check, systemCalls } from './ffi.ts'
import { int32 } from './listen.ts'
import { AF_INET6, encodeSocketAddress } from './socket-address.ts'

const AF_UNIX = 1
const SOCK_STREAM_CLOEXEC = 1 | 0o2000000
const SOL_SOCKET = 1
const SO_REUSEADDR = 2
const SO_ERROR = 4
const SO_KEEPALIVE = 9
const SO_LINGER = 13
const IPPROTO_TCP = 6
const TCP_NODELAY = 1
const TCP_KEEPIDLE = 4
const IPPROTO_IPV6 = 41
const IPV6_V6ONLY = 26
const SHUT_WR = 1
const F_GETFL = 3
const F_SETFL = 4
const O_NONBLOCK = 0o4000
/** sun_path with its end. */
const MAX_PATH_BYTES = 108

const ONE = int32(1)
const LINGER_NOT = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0])
const NAME_BYTES = 128
const name = Buffer.alloc(NAME_BYTES)
const nameLength = Buffer.alloc(4)
const four = Buffer.alloc(4)

export interface StreamAddress {
  readonly family: number
  readonly bytes: Uint8Array
}

/** `host` is an address, never a name. @throws NearcastError address.invalid */
export function tcpAddress(host: string, port: number): StreamAddress {
  return encodeSocketAddress(host, port)
}

/** null: too long for the kernel. */
export function unixAddress(path: string): StreamAddress | null {
  const text = Buffer.from(path)
  if (text.length === 0 || text.length >= MAX_PATH_BYTES) return null
  const bytes = Buffer.alloc(2 + text.length + 1)
  bytes.writeUInt16LE(AF_UNIX, 0)
  bytes.set(text, 2)
  return { family: AF_UNIX, bytes }
}

/** @returns a descriptor, or the negated errno. */
export function openStream(family: number): number {
  return systemCalls().socket(family, SOCK_STREAM_CLOEXEC, 0)
}

/** @returns 0, or the negated errno. `::` is for IPv6 alone. */
export function bindAndListen(fd: number, { family, bytes }: StreamAddress, backlog: number): number {
  const calls = systemCalls()
  if (family !== AF_UNIX) check(calls.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, ONE, 4), 'SO_REUSEADDR')
  if (family === AF_INET6) check(calls.setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, ONE, 4), 'IPV6_V6ONLY')
  const bound = calls.bind(fd, bytes, bytes.length)
  return bound < 0 ? bound : calls.listen(fd, backlog)
}

/** @returns 0, or the negated errno. */
export function listenAgain(fd: number, backlog: number): number {
  return systemCalls().listen(fd, backlog)
}

/** No delay, and keep-alive after so long. Of a listening socket: inherited by all that it accepts. */
export function tuneTcp(fd: number, keepAliveAfterSeconds: number): void {
  const calls = systemCalls()
  calls.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, ONE, 4)
  calls.setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, ONE, 4)
  calls.setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, int32(keepAliveAfterSeconds), 4)
}

export function makeBlocking(fd: number): void {
  const calls = systemCalls()
  const flags = check(calls.fcntl(fd, F_GETFL, 0), 'F_GETFL')
  if ((flags & O_NONBLOCK) !== 0) check(calls.fcntl(fd, F_SETFL, flags & ~O_NONBLOCK), 'F_SETFL')
}

/** struct sockaddr, valid until the next question; null when the socket is gone. */
export function localName(fd: number): Buffer | null {
  nameLength.writeInt32LE(NAME_BYTES)
  return systemCalls().getsockname(fd, name, nameLength) < 0 ? null : name
}

export function peerName(fd: number): Buffer | null {
  nameLength.writeInt32LE(NAME_BYTES)
  return systemCalls().getpeername(fd, name, nameLength) < 0 ? null : name
}

export function isUnixName(address: Buffer): boolean {
  return address.readUInt16LE(0) === AF_UNIX
}

/** The path that a Unix socket is bound to; `address` is its name. */
export function unixPath(address: Buffer): string {
  const end = address.indexOf(0, 2)
  return address.toString('utf8', 2, end < 0 ? undefined : end)
}

/** FIN behind what has been sent. */
export function shutdownWriting(fd: number): void {
  systemCalls().shutdown(fd, SHUT_WR)
}

/** Closing sends an RST from here on, and drops what waits to be sent. */
export function resetOnClose(fd: number): void {
  systemCalls().setsockopt(fd, SOL_SOCKET, SO_LINGER, LINGER_NOT, LINGER_NOT.length)
}

/** What has happened to the socket since somebody asked: 0, or a negated errno. Asking forgets it. */
export function pendingError(fd: number): number {
  const value = Buffer.alloc(4)
  four.writeInt32LE(4)
  return systemCalls().getsockopt(fd, SOL_SOCKET, SO_ERROR, value, four) < 0 ? 0 : -value.readInt32LE(0)
}
