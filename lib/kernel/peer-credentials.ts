/**
 * Who is at the other end of a Unix socket: SO_PEERCRED. The kernel noted it when the peer connected (or listened);
 * it can't be forged, and it isn't updated when the peer changes its ids later.
 */
import { check, systemCalls } from './ffi.ts'
import { int32 } from './listen.ts'

const SOL_SOCKET = 1
const SO_PEERCRED = 17

export interface PeerCredentials {
  /** 0 when the peer lives in a pid namespace that this process can't see. */
  readonly pid: number
  readonly uid: number
  readonly gid: number
}

/** @throws NearcastError kernel.call-failed when `fd` is no Unix stream socket. */
export function peerCredentials(fd: number): PeerCredentials {
  const ucred = Buffer.alloc(12)
  check(systemCalls().getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ucred, int32(ucred.length)), 'SO_PEERCRED')
  return { pid: ucred.readInt32LE(0), uid: ucred.readUInt32LE(4), gid: ucred.readUInt32LE(8) }
}
