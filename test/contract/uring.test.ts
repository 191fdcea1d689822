/** The contract of planes on io_uring: TCP and Unix sockets, which are the ring's own. */
import { expect, test } from 'vitest'
import { probeIoUring } from '../../lib/kernel/io-uring-probe.ts'
import { choosePlane } from '../../lib/plane/choose.ts'
import { UringPlane } from '../../lib/plane/uring/uring.ts'
import { planeContract } from './plane.ts'

const support = probeIoUring()
if (support.answer === 'yes') {
  planeContract('uring', () => new UringPlane(), ['tcp', 'unix'])
  test('it runs when it is asked for', async () => {
    const { plane, reason } = choosePlane('uring')
    expect([plane.name, reason]).toEqual(['uring', 'configured'])
    await plane.destroy()
  })
} else {
  test.skip(`io_uring is ${support.kind}: ${support.reason}`, () => undefined)
}
