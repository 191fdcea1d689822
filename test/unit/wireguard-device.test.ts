/** Whole devices in one process: by UDP on the loopback, and through memory. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { randomBytes } from 'node:crypto'
import { afterEach, expect, test } from 'vitest'
import { Device } from '../../lib/wireguard/device.ts'
import { MemoryBind, MemoryNetwork } from '../../lib/wireguard/memory-bind.ts'
import { MemoryTun } from '../../lib/wireguard/memory-tun.ts'
import { UdpBind } from '../../lib/wireguard/udp-bind.ts'
import type { Bind } from '../../lib/wireguard/bind.ts'
import { until } from '../support/until.ts'
import { ipv6Packet } from '../support/wireguard-network.ts'

const open: Device[] = []
afterEach(async () => {
  for (const device of open.splice(0)) await device.close()
})

function at(part: number): { readonly host: string; readonly port: number } {
  return { host: `192.0.2.${part}`, port: 51820 }
}

interface Side {
  readonly device: Device
  readonly tun: MemoryTun
  readonly packets: Uint8Array[]
}

async function side(bind: Bind): Promise<Side> {
  const packets: Uint8Array[] = []
  const tun = new MemoryTun((packet) => packets.push(packet))
  const device = new Device({ privateKey: new Uint8Array(randomBytes(32)), bind, tun })
  await device.open()
  open.push(device)
  return { device, tun, packets }
}

test.each([['127.0.0.1', { ipv4: '127.0.0.1', ipv6: null }], ['::1', { ipv4: null, ipv6: '::1' }]])('by UDP at %s: packets both ways, counted', async (host, options) => {
  const [a, b] = [await side(new UdpBind(options)), await side(new UdpBind(options))]
  a.device.setPeer(b.device.publicKey, { endpoint: { host, port: b.device.port }, allowedIps: ['fdaa:0:1:2::2'] })
  b.device.setPeer(a.device.publicKey, { allowedIps: ['fdaa:0:1:2::1'] })
  a.tun.inject(ipv6Packet(1, 2, Buffer.from('there')))
  await until('there', () => b.packets.length === 1)
  b.tun.inject(ipv6Packet(2, 1, Buffer.from('and back')))
  await until('back', () => a.packets.length === 1)
  expect(Buffer.from(a.packets[0]?.subarray(40) ?? []).toString()).toBe('and back')
  expect(b.device.peers()).toMatchObject([{ publicKey: a.device.publicKey, endpoint: { host, port: a.device.port }, hasSession: true }])
  expect(a.device.peers()[0]?.sentBytes).toBeGreaterThan(148)
  expect(b.device.removePeer(a.device.publicKey)).toBe(true)
  expect(b.device.peers()).toEqual([])
})

test('one port for both families; a port that is taken is said to be, and nothing stays open', async () => {
  const { device } = await side(new UdpBind())
  expect(device.port).toBeGreaterThan(0)
  const taken = new UdpBind({ port: device.port })
  await expect(taken.open(() => {})).rejects.toThrowError(expect.objectContaining({ code: 'listen.in-use' }))
  const ipv6 = createSocket({ type: 'udp6', ipv6Only: true }).bind(0, '::')
  await once(ipv6, 'listening')
  const half = new UdpBind({ port: ipv6.address().port })
  await expect(half.open(() => {})).rejects.toThrowError(expect.objectContaining({ code: 'listen.in-use' }))
  const again = createSocket('udp4').bind(ipv6.address().port, '0.0.0.0')
  await once(again, 'listening')
  again.close()
  ipv6.close()
})

test('what can’t be sent is lost, without an error', async () => {
  const { device, tun } = await side(new UdpBind({ ipv4: '127.0.0.1', ipv6: null }))
  const peer = await side(new MemoryBind(new MemoryNetwork(), { host: '192.0.2.1', port: 1 }))
  for (const endpoint of [{ host: '::1', port: 9 }, { host: '127.0.0.1', port: 0 }, { host: '127.0.0.1', port: 70_000 }, { host: '240.0.0.1', port: 9 }, { host: 'not an address', port: 9 }]) {
    device.setPeer(peer.device.publicKey, { endpoint, allowedIps: ['fdaa:0:1:2::2'] })
    tun.inject(ipv6Packet(1, 2, Buffer.from('lost')))
    device.removePeer(peer.device.publicKey)
  }
  await until('the last one was tried', () => true)
})

test('through memory; a device that was closed takes and gives nothing', async () => {
  const network = new MemoryNetwork()
  const [a, b] = [await side(new MemoryBind(network, at(1))), await side(new MemoryBind(network, at(2)))]
  a.device.setPeer(b.device.publicKey, { endpoint: at(2), allowedIps: ['fdaa:0:1:2::2'] })
  b.device.setPeer(a.device.publicKey, { endpoint: at(1), allowedIps: ['fdaa:0:1:2::1'] })
  for (let count = 0; count < 50; count++) a.tun.inject(ipv6Packet(1, 2, Uint8Array.of(count)))
  await until('all arrived', () => b.packets.length === 50)
  expect(b.packets.map((packet) => packet[40])).toEqual(Array.from({ length: 50 }, (_, index) => index))
  await b.device.close()
  await b.device.close()
  expect(b.tun.write(new Uint8Array(40))).toBe(false)
  a.tun.inject(ipv6Packet(1, 2, Uint8Array.of(1)))
  expect(b.packets.length).toBe(50)
})
