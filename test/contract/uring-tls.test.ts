/** The contract of planes on io_uring: TLS, which meets the ring in one connection, and listening. */
import { test } from 'vitest'
import { probeIoUring } from '../../lib/kernel/io-uring-probe.ts'
import { UringPlane } from '../../lib/plane/uring/uring.ts'
import { planeContract } from './plane.ts'
import { listenContract } from './plane-listen.ts'
import { secureContract } from './plane-secure.ts'

const support = probeIoUring()
if (support.answer === 'yes') {
  planeContract('uring', () => new UringPlane(), ['tls'])
  secureContract('uring', () => new UringPlane())
  listenContract('uring', () => new UringPlane())
} else {
  test.skip(`io_uring is ${support.kind}: ${support.reason}`, () => undefined)
}
