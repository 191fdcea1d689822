/** The contract of planes on io_uring: TCP and Unix sockets, which are the ring's own. */
import { test } from 'vitest'
import { probeIoUring } from '../../lib/kernel/io-uring-probe.ts'
import { UringPlane } from '../../lib/plane/uring/uring.ts'
import { planeContract } from './plane.ts'

const support = probeIoUring()
if (support.answer === 'yes') planeContract('uring', () => new UringPlane(), ['tcp', 'unix'])
else test.skip(`io_uring is ${support.kind}: ${support.reason}`, () => undefined)
