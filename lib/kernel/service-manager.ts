/**
 * Telling systemd how far a program is (Type=notify): a datagram to the Unix socket that NOTIFY_SOCKET names, for which
 * Node has no interface. See sd_notify(3). Without that variable nothing happens, and a failure is never worth ending for.
 */
import { closeSync } from 'node:fs'
import { systemCalls } from './ffi.ts'

const AF_UNIX = 1
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000
/** sun_path. */
const MAX_PATH_BYTES = 108

export type ServiceState = 'READY=1' | 'STOPPING=1'

/** @returns whether somebody was told. */
export function tellServiceManager(state: ServiceState, env: NodeJS.ProcessEnv = process.env): boolean {
  const place = env['NOTIFY_SOCKET']
  // An abstract socket is written with @; anything else but a path is of another kind.
  if (place === undefined || !/^[/@]./.test(place) || Buffer.byteLength(place) >= MAX_PATH_BYTES) return false
  try {
    const calls = systemCalls()
    const fd = calls.socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0)
    if (fd < 0) return false
    try {
      const address = unixAddress(place)
      const text = Buffer.from(state)
      return calls.sendto(fd, text, text.length, 0, address, address.length) === text.length
    } finally {
      closeSync(fd)
    }
  } catch {
    return false
  }
}

/** struct sockaddr_un: the family, then the path; an abstract name begins with a zero byte and has its exact length. */
function unixAddress(place: string): Buffer {
  const path = place.startsWith('@') ? Buffer.from(`\0${place.slice(1)}`) : Buffer.from(`${place}\0`)
  const address = Buffer.alloc(2 + path.length)
  address.writeUInt16LE(AF_UNIX, 0)
  path.copy(address, 2)
  return address
}
