/**
 * Which plane runs, and why: said once at start, in the log and in the metrics.
 */
import { NearcastError } from '../errors.ts'
import type { Plane } from './plane.ts'
import { PortablePlane } from './portable.ts'
import type { PlaneOptions } from './portable.ts'

export type WantedPlane = 'auto' | 'portable' | 'uring'

/** @throws NearcastError plane.unavailable */
export function choosePlane(wanted: WantedPlane, options: PlaneOptions = {}): { readonly plane: Plane; readonly reason: string } {
  if (wanted === 'uring') {
    throw new NearcastError('plane.unavailable', 'This version has no io_uring plane; set plane to "auto" or "portable".')
  }
  return { plane: new PortablePlane(options), reason: wanted === 'auto' ? 'the only plane of this version' : 'configured' }
}
