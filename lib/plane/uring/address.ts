/** struct sockaddr_in and sockaddr_in6 -> SocketAddress, IPv4 mapped. Pure. */
import { ipv6FromBytes } from '../../address.ts'
import { AF_INET, AF_INET6 } from '../../kernel/socket-address.ts'
import type { SocketAddress } from '../plane.ts'

/** null: of no such family. */
export function addressOf(address: Buffer): SocketAddress | null {
  const family = address.readUInt16LE(0)
  const port = address.readUInt16BE(2)
  if (family === AF_INET6) return { ip: ipv6FromBytes(Uint8Array.from(address.subarray(8, 24))), port }
  if (family !== AF_INET) return null
  const bytes = new Uint8Array(16)
  bytes.set([0xff, 0xff], 10)
  bytes.set(address.subarray(4, 8), 12)
  return { ip: ipv6FromBytes(bytes), port }
}
