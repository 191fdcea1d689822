/** The index of a network interface in this thread's network namespace: SIOCGIFINDEX, netdevice(7). */
import { closeSync } from 'node:fs'
import { check, systemCalls } from './ffi.ts'
import { AF_INET6 } from './socket-address.ts'

const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000
const SIOCGIFINDEX = 0x8933
const MAX_NAME_BYTES = 15

/** @throws NearcastError kernel.call-failed (ENODEV: there is no such interface) */
export function networkInterfaceIndex(name: string): number {
  const calls = systemCalls()
  const fd = check(calls.socket(AF_INET6, SOCK_DGRAM_CLOEXEC, 0), 'socket')
  try {
    const request = Buffer.alloc(40)
    request.write(name.slice(0, MAX_NAME_BYTES))
    check(calls.ioctl(fd, SIOCGIFINDEX, request), `interface ${name}`)
    return request.readInt32LE(16)
  } finally {
    closeSync(fd)
  }
}
