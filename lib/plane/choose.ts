/**
 * Which plane runs, and why: said once at start, in the log and in the metrics; `nearcast doctor` says it beforehand.
 */
import { NearcastError } from '../errors.ts'
import { probeIoUring } from '../kernel/io-uring-probe.ts'
import type { IoUringSupport } from '../kernel/io-uring-probe.ts'
import type { Plane } from './plane.ts'
import { PortablePlane } from './portable.ts'
import type { PlaneOptions } from './portable.ts'
import { UringPlane } from './uring/uring.ts'
import type { WantedPlane } from './wanted.ts'

export interface ChosenPlane {
  readonly plane: Plane
  readonly reason: string
}

/** `support` is asked only where it matters. @throws NearcastError plane.unavailable */
export function choosePlane(wanted: WantedPlane, options: PlaneOptions = {}, support: () => IoUringSupport = probeIoUring): ChosenPlane {
  if (wanted === 'uring') return { plane: uring(options, support()), reason: 'configured' }
  return { plane: new PortablePlane(options), reason: wanted === 'portable' ? 'configured' : autoReason(support()) }
}

function uring(options: PlaneOptions, support: IoUringSupport): UringPlane {
  if (support.answer === 'yes') return new UringPlane(options)
  throw new NearcastError('plane.unavailable', `io_uring is ${support.kind} here (${support.reason}); set plane to "auto" or "portable", or allow it.`)
}

/** What `auto` takes, and why not the other one. */
export function autoReason(support: IoUringSupport): string {
  if (support.answer === 'yes') return 'io_uring works here; set plane to "uring" to use it'
  return `io_uring is ${support.kind} here: ${support.reason}`
}
