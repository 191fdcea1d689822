/**
 * Whether this process may use io_uring, found out by using it: a small ring with an eventfd and provided buffers is made,
 * entered and closed. Three outcomes: it works; it is refused (seccomp, sysctl), with the reason; the kernel hasn't got it.
 * See io_uring_setup(2).
 */
import { closeSync, readFileSync } from 'node:fs'
import { asNearcastError } from '../errors.ts'
import type { NearcastError } from '../errors.ts'
import { systemCalls } from './ffi.ts'
import { IoUring } from './io-uring.ts'
import { ProvidedBuffers } from './provided-buffers.ts'

export type IoUringSupport =
  | { readonly answer: 'yes'; readonly features: readonly string[] }
  | { readonly answer: 'no'; readonly kind: 'refused' | 'absent'; readonly reason: string }

const EFD_CLOEXEC = 0o2000000
const FEW = { bufferBytes: 4096, segmentBuffers: 8, maxSegments: 1, lent: 8, maxLent: 8 }

export function probeIoUring(): IoUringSupport {
  try {
    const ring = new IoUring(8, 16)
    try {
      const eventfd = systemCalls().eventfd(0, EFD_CLOEXEC)
      const buffers = new ProvidedBuffers(ring, 0, FEW)
      try {
        ring.registerEventfd(eventfd)
        ring.push(0, 0, 0, -1, 0, 0, 0, 1, 0)
        ring.enter(1)
        return { answer: 'yes', features: ring.features }
      } finally {
        closeSync(eventfd)
        ring.close()
        buffers.close()
      }
    } finally {
      ring.close()
    }
  } catch (error) {
    return refusal(asNearcastError(error))
  }
}

function refusal(error: NearcastError): IoUringSupport {
  const absent = error.code === 'kernel.unsupported' || error.message.includes('ENOSYS')
  return { answer: 'no', kind: absent ? 'absent' : 'refused', reason: `${error.message.replace(/\.$/, '')}${disabled()}` }
}

function disabled(): string {
  try {
    const value = readFileSync('/proc/sys/kernel/io_uring_disabled', 'utf8').trim()
    return value === '0' ? '' : ` (kernel.io_uring_disabled is ${value})`
  } catch {
    return ''
  }
}
