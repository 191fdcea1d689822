/** The contract of planes on Node's own sockets: TCP and Unix sockets, and what this plane alone has. */
import { expect, test } from 'vitest'
import { certificateIdentity } from '../../lib/plane/certificate-identity.ts'
import { choosePlane, planeChoice } from '../../lib/plane/choose.ts'
import { PortablePlane } from '../../lib/plane/portable.ts'
import { socketAddress } from '../../lib/plane/socket-address.ts'
import { planeContract } from './plane.ts'

planeContract('portable', () => new PortablePlane(), ['tcp', 'unix'])

test('which plane runs, and why', async () => {
  const works = { answer: 'yes', features: [] } as const
  const refused = { answer: 'no', kind: 'refused', reason: 'io_uring_setup: EPERM' } as const
  expect(planeChoice('auto', () => works)).toEqual({ name: 'uring', reason: 'io_uring works here' })
  expect(planeChoice('uring', () => works)).toEqual({ name: 'uring', reason: 'configured' })
  expect(planeChoice('auto', () => refused)).toEqual({ name: 'portable', reason: 'io_uring is refused here: io_uring_setup: EPERM' })
  expect(planeChoice('portable', () => works)).toEqual({ name: 'portable', reason: 'configured' })
  const chosen = choosePlane('auto', {}, () => refused)
  expect(chosen.plane.name).toBe('portable')
  await chosen.plane.destroy()
  expect(() => choosePlane('uring', {}, () => refused)).toThrow(expect.objectContaining({ code: 'plane.unavailable', message: expect.stringContaining('EPERM') }))
})

test('names in certificates: one URI of ours, or nobody', () => {
  expect(certificateIdentity('URI:nearcast://agent/mad-1')).toBe('nearcast://agent/mad-1')
  expect(certificateIdentity('DNS:x, URI:nearcast://agent/mad-1')).toBe('nearcast://agent/mad-1')
  for (const bad of [undefined, '', 'DNS:nearcast://agent/mad-1', 'URI:nearcast://agent/mad-1, URI:nearcast://agent/mad-2', 'URI:nearcast://agent/Mad', 'URI:nearcast://agent/a/b', 'DNS:"x, URI:nearcast://agent/mad-1"']) {
    expect(certificateIdentity(bad)).toBe(null)
  }
})

test('socket addresses: mapped IPv4, zones, nothing', () => {
  expect(Buffer.from(socketAddress('192.0.2.7', 1)?.ip ?? []).toString('hex')).toBe('00000000000000000000ffffc0000207')
  expect(socketAddress('::ffff:192.0.2.7', 1)).toEqual(socketAddress('192.0.2.7', 1))
  expect(Buffer.from(socketAddress('fe80::1%eth0', 1)?.ip ?? []).toString('hex')).toBe('fe800000000000000000000000000001')
  expect([socketAddress(undefined, undefined), socketAddress('garbage', 1)]).toEqual([null, null])
})
