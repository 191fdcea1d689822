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

export interface PlaneChoice {
  readonly name: Plane['name']
  readonly reason: string
}

/** `support` is asked only where it matters. @throws NearcastError plane.unavailable */
export function planeChoice(wanted: WantedPlane, support: () => IoUringSupport = probeIoUring): PlaneChoice {
  if (wanted === 'portable') return { name: 'portable', reason: 'configured' }
  const found = support()
  if (found.answer === 'yes') return { name: 'uring', reason: wanted === 'uring' ? 'configured' : autoReason(found) }
  if (wanted === 'auto') return { name: 'portable', reason: autoReason(found) }
  throw new NearcastError('plane.unavailable', `io_uring is ${found.kind} here (${found.reason}); set plane to "auto" or "portable", or allow it.`)
}

/** The same, and the plane itself, on this thread. @throws NearcastError plane.unavailable */
export function choosePlane(wanted: WantedPlane, options: PlaneOptions = {}, support: () => IoUringSupport = probeIoUring): ChosenPlane {
  const { name, reason } = planeChoice(wanted, support)
  return { plane: name === 'uring' ? new UringPlane(options) : new PortablePlane(options), reason }
}

/** Why `auto` takes the one that it takes: io_uring where it works. */
export function autoReason(support: IoUringSupport): string {
  if (support.answer === 'yes') return 'io_uring works here'
  return `io_uring is ${support.kind} here: ${support.reason}`
}
