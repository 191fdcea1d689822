/** A ring inside Node's event loop: the kernel writes an eventfd when there are completions, and libuv watches that. */
import { closeSync } from 'node:fs'
import type { Socket } from 'node:net'
import { check, systemCalls } from './ffi.ts'
import type { IoUring } from './io-uring.ts'
import { watchDescriptor } from './watched-descriptor.ts'

const EFD_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000

/** Watched until the socket is destroyed, which goes before the ring is closed. @throws NearcastError kernel.* */
export function watchRing(ring: IoUring, woken: () => void): Socket {
  const eventfd = check(systemCalls().eventfd(0, EFD_NONBLOCK_CLOEXEC), 'eventfd')
  try {
    // The ring keeps the eventfd itself, whatever its number becomes.
    ring.registerEventfd(eventfd)
  } catch (error) {
    closeSync(eventfd)
    throw error
  }
  return watchDescriptor(eventfd, woken).resume()
}
