/**
 * Listening for addresses that aren't this host's (IPV6_TRANSPARENT, ipv6(7)): the packet filter hands over what is to be
 * taken (nftables, `tproxy`). Needs CAP_NET_ADMIN or CAP_NET_RAW.
 */
import { closeSync } from 'node:fs'
import { check, errnoName, probeFfi, systemCalls } from './ffi.ts'
import type { Support } from './ffi.ts'
import { int32 } from './listen.ts'
import { openStream } from './stream-socket.ts'
import { AF_INET6 } from './socket-address.ts'

const IPPROTO_IPV6 = 41
const IPV6_TRANSPARENT = 75

/** Of a listening socket, for all that it accepts from now on. @returns 0, or a negated errno */
export function makeTransparent(fd: number): number {
  return systemCalls().setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, int32(1), 4)
}

export function probeTransparent(): Support {
  const ffi = probeFfi()
  if (ffi.answer !== 'yes') return ffi
  const fd = check(openStream(AF_INET6), 'socket')
  try {
    const result = makeTransparent(fd)
    return result >= 0 ? { answer: 'yes' } : { answer: 'no', reason: `IPV6_TRANSPARENT: ${errnoName(result)}` }
  } finally {
    closeSync(fd)
  }
}
