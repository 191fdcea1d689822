/**
 * A listening TCP socket, or a bound UDP one, as a bare descriptor, for handing to another process or to `server.listen({ fd })`.
 *
 * Close-on-exec is set, as on all of Node's descriptors; passing the descriptor by child_process's `stdio` clears it
 * in the child. Whoever called owns the descriptor and closes it.
 */
import { closeSync } from 'node:fs'
import { NearcastError } from '../errors.ts'
import { check, errnoName, systemCalls } from './ffi.ts'
import { AF_INET6, decodeSocketAddress, encodeSocketAddress } from './socket-address.ts'

const SOCK_STREAM = 1
const SOCK_DGRAM = 2
const SOCK_CLOEXEC = 0o2000000
const SOL_SOCKET = 1
const SO_REUSEADDR = 2
const SO_MARK = 36
const IPPROTO_IPV6 = 41
const IPV6_V6ONLY = 26
const BACKLOG = 511

export interface ListeningSocket {
  readonly fd: number
  readonly port: number
}

/** `port` 0 lets the kernel pick one. @throws NearcastError listen.in-use, listen.failed */
export function listenTcp(host: string, port: number, backlog = BACKLOG): ListeningSocket {
  const calls = systemCalls()
  const { family, bytes } = encodeSocketAddress(host, port)
  const fd = check(calls.socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), 'socket')
  try {
    const one = int32(1)
    check(calls.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, one, 4), 'SO_REUSEADDR')
    if (family === AF_INET6) check(calls.setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, one, 4), 'IPV6_V6ONLY')
    const where = `${family === AF_INET6 ? `[${host}]` : host}:${port}`
    orFail(calls.bind(fd, bytes, bytes.length), where)
    orFail(calls.listen(fd, backlog), where)
    return { fd, port: decodeSocketAddress(nameOf(fd)).port }
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

function orFail(result: number, where: string): void {
  if (result >= 0) return
  const errno = errnoName(result)
  if (errno === 'EADDRINUSE') throw new NearcastError('listen.in-use', `${where} is already in use; stop what holds it or name another port.`)
  throw new NearcastError('listen.failed', `Can't listen on ${where}: ${errno}.`)
}

/**
 * A bound UDP socket as a bare descriptor, likewise. `port` 0 lets the kernel pick one. `mark`: of all that it sends, for
 * rules of routing; needs CAP_NET_ADMIN. @throws NearcastError listen.in-use, listen.failed, kernel.call-failed
 */
export function bindUdp(host: string, port: number, mark?: number): ListeningSocket {
  const calls = systemCalls()
  const { family, bytes } = encodeSocketAddress(host, port)
  const fd = check(calls.socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0), 'socket')
  try {
    if (family === AF_INET6) check(calls.setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, int32(1), 4), 'IPV6_V6ONLY')
    if (mark !== undefined) check(calls.setsockopt(fd, SOL_SOCKET, SO_MARK, int32(mark), 4), 'SO_MARK')
    orFail(calls.bind(fd, bytes, bytes.length), `UDP ${family === AF_INET6 ? `[${host}]` : host}:${port}`)
    return { fd, port: decodeSocketAddress(nameOf(fd)).port }
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/** Of a socket that somebody else has opened. @throws NearcastError kernel.call-failed when it is none */
export function socketFamily(fd: number): 4 | 6 {
  return nameOf(fd).readUInt16LE(0) === AF_INET6 ? 6 : 4
}

/** Likewise. */
export function boundPort(fd: number): number {
  return decodeSocketAddress(nameOf(fd)).port
}

function nameOf(fd: number): Buffer {
  const name = Buffer.alloc(28)
  check(systemCalls().getsockname(fd, name, int32(name.length)), 'getsockname')
  return name
}

export function int32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32LE(value)
  return bytes
}
