/**
 * Runs in a network namespace of its own: the gateway's data path in its thread, with a peer that comes by loopback. Prints
 * what happened, as one line of JSON.
 */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { asNetworkId, flycastAddress, peerAddress, peerPrefix } from '../../lib/address.ts'
import { bindUdp } from '../../lib/kernel/listen.ts'
import { Device } from '../../lib/wireguard/device.ts'
import { clampPrivate, KeyPair } from '../../lib/wireguard/keys.ts'
import { MemoryTun } from '../../lib/wireguard/memory-tun.ts'
import { choosePath, udpBind } from '../../lib/wireguard/path.ts'
import { UdpBind } from '../../lib/wireguard/udp-bind.ts'
import { gatewayConfig } from '../../router/gateway/config.ts'
import type { DataPathState } from '../../router/gateway/data-path.ts'
import { ThreadedPath } from '../../router/gateway/threaded-path.ts'
import { until } from './until.ts'

export interface GatewayPathReport {
  readonly zeroed: boolean
  readonly seen: number
  readonly received: number
  readonly foreign: number
  readonly afterRemoval: number
  /** Whether the interface is there: while it is open, and once it is closed. */
  readonly interfaces: readonly [boolean, boolean]
  readonly ended: readonly string[]
  /** Of ten datagrams in rows that are too large for the way: how many arrived all the same. */
  readonly narrow: number
  /** The code with which a second one on the same port fails. */
  readonly taken: string
}

const network = asNetworkId(1)
const secret = (): Uint8Array => clampPrivate(new Uint8Array(randomBytes(32)))
spawnSync('ip', ['link', 'set', 'lo', 'up'])
const { fd, port } = bindUdp('127.0.0.1', 0)
const { wireguard, websocket, neighbours } = gatewayConfig.parse({ id: 'mad-1', host: 'mad-1', region: 'mad', stateDir: '/', router: 'https://[::1]:9', advertise: '127.0.0.1:1', wireguard: { listen: [`fd:${fd}`] } })
const path = choosePath('auto')
const privateKey = secret()
const { publicKey } = KeyPair.fromPrivate(Uint8Array.from(privateKey))
const ended: string[] = []
const start = (listen: readonly string[], name: string, key: Uint8Array): Promise<ThreadedPath> =>
  ThreadedPath.start({ path, prefix: 0xfdaa, wireguard: { ...wireguard, listen: [...listen] }, websocket, tun: { name, mtu: 1420 }, neighbours }, key, (reason) => ended.push(reason))
const data = await start(wireguard.listen, 'wg-test', privateKey)
const present = (): boolean => spawnSync('ip', ['link', 'show', 'wg-test']).status === 0

/** Until the thread says so; whoever started this gives up in time. */
const settled = async (condition: (state: DataPathState) => boolean): Promise<void> => {
  while (!condition(await data.state()));
}

const tun = new MemoryTun(() => undefined)
const laptop = new Device({ privateKey: secret(), bind: new UdpBind({ ipv4: '127.0.0.1', ipv6: null }), tun })
await laptop.open()
laptop.setPeer(publicKey.text, { endpoint: { host: '127.0.0.1', port }, allowedIps: ['::/0'] })
const row = { publicKey: laptop.publicKey, id: 'wgp1', org: 'o', network, prefix: peerPrefix(network, 1) }
await data.apply({ type: 'all', rows: [row] })
const say = (to: typeof network): void => {
  const packet = new Uint8Array(60)
  packet.set([0x60, 0, 0, 0, 0, 20, 6, 64])
  packet.set(peerAddress(network, 1), 8)
  packet.set(flycastAddress(to, 1), 24)
  tun.inject(packet)
}
say(network)
await settled(({ packets }) => packets.received === 1)
say(asNetworkId(2))
await settled(({ innerDrops }) => (innerDrops.get('foreign') ?? 0) > 0)
const [{ packets, innerDrops }, seen] = [await data.state(), await data.seen([laptop.publicKey, 'nobody'])]
const taken = await start([`127.0.0.1:${port}`], 'wg-other', secret()).then(() => 'none', (error: unknown) => (error as { code: string }).code)
const before = present()
await data.apply({ type: 'some', changes: [{ table: 'wireguard', key: laptop.publicKey, row: null }] })
const { peers } = await data.state()
await data.close()
await data.close()
// The kernel makes no rows of what has to be cut in pieces; then each goes alone.
spawnSync('ip', ['link', 'set', 'lo', 'mtu', '1300'])
const narrow: number[] = []
const [sender, receiver] = [udpBind(path, { ipv4: '127.0.0.1', ipv6: null }), udpBind(path, { ipv4: '127.0.0.1', ipv6: null })]
await sender.open(() => undefined)
await receiver.open((datagram) => narrow.push(datagram.length))
for (let count = 0; count < 10; count++) sender.send(new Uint8Array(1400), { host: '127.0.0.1', port: receiver.port })
await until('all came', () => narrow.length === 10).catch(() => undefined)
await Promise.all([sender.close(), receiver.close()])
const report: GatewayPathReport = {
  zeroed: privateKey.every((byte) => byte === 0),
  seen: seen.length,
  received: packets.received,
  foreign: innerDrops.get('foreign') ?? 0,
  afterRemoval: peers.installed,
  interfaces: [before, present()],
  ended,
  taken,
  narrow: narrow.filter((bytes) => bytes === 1400).length,
}
await laptop.close()
process.stdout.write(`${JSON.stringify(report)}\n`)
