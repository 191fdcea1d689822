/**
 * How datagrams of a device come and go. The fast path moves many with one call of the kernel (`SegmentedUdpBind`) and needs a
 * Linux with io_uring; the portable one moves one at a time through Node (`UdpBind`). The same on the wire: hosts with either
 * talk with each other.
 */
import { NearcastError } from '../errors.ts'
import type { Support } from '../kernel/ffi.ts'
import { probeIoUring } from '../kernel/io-uring-probe.ts'
import { probeUdpRows } from '../kernel/udp-socket.ts'
import type { Bind } from './bind.ts'
import { SegmentedUdpBind } from './segmented-udp-bind.ts'
import { UdpBind } from './udp-bind.ts'
import type { UdpBindOptions } from './udp-bind.ts'
import type { WantedPath } from './wanted-path.ts'

export interface PathChoice {
  readonly name: 'fast' | 'portable'
  readonly reason: string
}

/** Whether this process may have the fast path, found out by using what it needs. */
export function probeFastPath(): Support {
  const ring = probeIoUring()
  if (ring.answer === 'no') return { answer: 'no', reason: `io_uring is ${ring.kind} here: ${ring.reason}` }
  return probeUdpRows()
}

/** `probe` is asked only where it matters. @throws NearcastError wireguard.path-unavailable */
export function choosePath(wanted: WantedPath, probe: () => Support = probeFastPath): PathChoice {
  if (wanted === 'portable') return { name: 'portable', reason: 'configured' }
  const support = probe()
  if (support.answer === 'yes') return { name: 'fast', reason: wanted === 'fast' ? 'configured' : 'this kernel has it' }
  if (wanted === 'auto') return { name: 'portable', reason: support.reason }
  throw new NearcastError('wireguard.path-unavailable', `The fast path can't be had here (${support.reason}); set wireguard.path to "auto" or "portable".`)
}

export function udpBind({ name }: PathChoice, options: UdpBindOptions): Bind {
  return name === 'fast' ? new SegmentedUdpBind(options) : new UdpBind(options)
}
