/**
 * Runs in a network namespace of its own, with the wall of a proxy that has a gateway's interface and one of a network in
 * force: puts packets into both (TUN interfaces), and prints what came back and what the wall counted.
 */
import { spawnSync } from 'node:child_process'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { asNetworkId, flycastAddress, formatIpv6, ipv6FromBytes, machineAddress, parseIpv6, peerAddress } from '../../lib/address.ts'
import type { Ipv6 } from '../../lib/address.ts'
import { runCommand } from '../../lib/host-command.ts'
import { KernelTun } from '../../lib/wireguard/kernel-tun.ts'
import { Guard } from '../../proxy/host/guard.ts'
import { GATEWAY } from '../../proxy/host/ruleset.ts'
import { until } from './until.ts'

export interface WallReport {
  /** `<interface> <reason>` -> packets */
  readonly dropped: Readonly<Record<string, number>>
  /** `<interface>: <SYN ACK | RST | echo> <from> <to>` */
  readonly answers: readonly string[]
}

const [acme, globex] = [asNetworkId(1), asNetworkId(2)]
const PORT = 6379
const TCP = 6
const UDP = 17
const ICMPV6 = 58

function sum(bytes: Uint8Array): number {
  let total = 0
  for (let index = 0; index < bytes.length; index += 2) total += ((bytes[index] ?? 0) << 8) | (bytes[index + 1] ?? 0)
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16)
  return total
}

/** With its checksum, which stands at `at` of the payload. */
function packet(source: Ipv6, destination: Ipv6, next: number, payload: Uint8Array, at: number): Uint8Array {
  const bytes = new Uint8Array(40 + payload.length)
  bytes.set([0x60, 0, 0, 0, payload.length >> 8, payload.length & 0xff, next, 64])
  bytes.set(source, 8)
  bytes.set(destination, 24)
  const pseudo = new Uint8Array([...source, ...destination, 0, 0, payload.length >> 8, payload.length & 0xff, 0, 0, 0, next, ...payload])
  const checksum = ~sum(pseudo) & 0xffff
  bytes.set(payload, 40)
  bytes.set([checksum >> 8, checksum & 0xff], 40 + at)
  return bytes
}

const syn = (source: Ipv6, destination: Ipv6, port = PORT): Uint8Array =>
  packet(source, destination, TCP, Uint8Array.of(0xc0, 1, port >> 8, port & 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0), 16)
const ping = (source: Ipv6, destination: Ipv6): Uint8Array => packet(source, destination, ICMPV6, Uint8Array.of(128, 0, 0, 0, 0, 1, 0, 1), 2)
const datagram = (source: Ipv6, destination: Ipv6): Uint8Array => packet(source, destination, UDP, Uint8Array.of(0xc0, 1, 0, 53, 0, 8, 0, 0), 6)

function what(bytes: Uint8Array): string {
  const next = bytes[6]
  const flags = bytes[53] ?? 0
  const kind = next === ICMPV6 ? (bytes[40] === 129 ? 'echo' : `icmp ${bytes[40]}`) : (flags & 4) !== 0 ? 'RST' : flags === 0x12 ? 'SYN ACK' : `flags ${flags}`
  return `${kind} ${formatIpv6(ipv6FromBytes(bytes.subarray(8, 24)))} ${formatIpv6(ipv6FromBytes(bytes.subarray(24, 40)))}`
}

function ip(...words: string[]): void {
  const { status, stderr } = spawnSync('ip', words, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`ip ${words.join(' ')}: ${stderr}`)
}

const server = createServer((socket) => socket.on('error', () => {})).listen(PORT, '::')
await once(server, 'listening')
const guard = new Guard({ prefix: 0xfdaa, ingress: [{ interface: 'wg', network: GATEWAY }, { interface: 'app', network: acme }], run: runCommand })
await guard.install()
await guard.open([PORT])
const answers: string[] = []
const tuns = { wg: new KernelTun('wg'), app: new KernelTun('app') }
ip('link', 'set', 'lo', 'up')
for (const network of [1, 2]) ip('-6', 'route', 'add', 'local', `fdaa:0:${network}:0:1::/80`, 'dev', 'lo')
ip('-6', 'route', 'add', 'fdaa:0:1:ffff:ffff::/80', 'dev', 'wg')
ip('-6', 'route', 'add', 'fdaa:0:1:0:2::/80', 'dev', 'app')
for (const [name, tun] of Object.entries(tuns)) {
  await tun.open((bytes) => {
    // What the kernel says on its own initiative on a new interface isn't an answer.
    if (bytes[24] === 0xfd && bytes[25] === 0xaa) answers.push(`${name}: ${what(bytes)}`)
  })
}

const redis = flycastAddress(acme, 1)
const [peer, machine] = [peerAddress(acme, 1), machineAddress(acme, 2, 1)]
const put = (tun: KernelTun, ...packets: Uint8Array[]): void => {
  for (const each of packets) if (!tun.write(each)) throw new Error('the kernel took no packet')
}
put(tuns.wg, syn(machine, redis), syn(parseIpv6('2001:db8::1'), redis), syn(flycastAddress(acme, 2), redis), syn(peer, machine), syn(peer, parseIpv6('2001:db8::9')), datagram(peer, redis), syn(peer, redis, 22), ping(peer, redis), syn(peer, redis))
put(tuns.app, syn(peer, redis), syn(peerAddress(globex, 1), redis), syn(machine, redis))
await until('all four are answered', () => answers.length >= 4)
// `reach` counts what the kernel says by itself on a new interface.
const dropped = Object.fromEntries((await guard.dropped()).filter(({ packets, reason }) => packets > 0 && reason !== 'reach').map(({ interface: name, reason, packets }) => [`${name} ${reason}`, packets]))
process.stdout.write(`${JSON.stringify({ dropped, answers: answers.toSorted() } satisfies WallReport)}\n`)
server.close()
await Promise.all(Object.values(tuns).map((tun) => tun.close()))
process.exit(0)
