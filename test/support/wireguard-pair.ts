/**
 * Our WireGuard device and wireguard-go, each in a network namespace of its own:
 *
 *   left: ours                                     right: the kernel's, or wireguard-go where it has none
 *   wg0  fdaa:0:1:2::1/64      the tunnel          wg1  fdaa:0:1:2::2/64
 *        10.7.0.1/24                                    10.7.0.2/24
 *   veth 10.99.0.1, fd99::1  ───────────────────   veth 10.99.0.2, fd99::2
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { clampPrivate, encodeKey, KeyPair } from '../../lib/wireguard/keys.ts'
import type { WantedPath } from '../../lib/wireguard/wanted-path.ts'
import { nodeAt } from './cluster.ts'
import type { Room } from './room.ts'
import type { WireguardSettings } from './wireguard-process.ts'
import { openWireguardRoom } from './wireguard-room.ts'

const PROCESS = 'test/support/wireguard-process.ts'
const PORT = 51820
export const LEFT = { netns: 'left', ipv4: '10.99.0.1', ipv6: 'fd99::1', inside: 'fdaa:0:1:2::1', inside4: '10.7.0.1' }
export const RIGHT = { netns: 'right', ipv4: '10.99.0.2', ipv6: 'fd99::2', inside: 'fdaa:0:1:2::2', inside4: '10.7.0.2' }
export type Side = typeof LEFT
const TOPOLOGY = `
ip netns add left
ip netns add right
ip link add veth0 netns left type veth peer name veth0 netns right
for side in left:1 right:2; do
  ip -n \${side%:*} link set lo up
  ip -n \${side%:*} link set veth0 up
  ip -n \${side%:*} addr add 10.99.0.\${side#*:}/24 dev veth0
  ip -n \${side%:*} addr add fd99::\${side#*:}/64 dev veth0 nodad
done
mkdir -p /run/wireguard
`

export interface PairOptions {
  readonly presharedKey?: string
  /** Whether each knows where the other one is. */
  readonly weKnow?: boolean
  readonly theyKnow?: boolean
  readonly family?: 'ipv4' | 'ipv6'
  readonly keepaliveSeconds?: number
  readonly path?: WantedPath
}

export interface Ours {
  readonly child: ChildProcess
  ask(): Promise<{ peers: { endpoint: { host: string } | null; lastHandshakeMs: number | null; receivedBytes: number }[]; drops: Record<string, number> }>
}

const SERVER = `
const { createHash } = require('node:crypto')
require('node:net').createServer({ allowHalfOpen: true }, (socket) => {
  const hash = createHash('sha256')
  socket.on('data', (data) => hash.update(data)).on('end', () => socket.end(hash.digest('hex')))
}).listen(7000, process.argv[1], () => console.log('listening'))`
const CLIENT = `
const { createHash, randomBytes } = require('node:crypto')
const bytes = randomBytes(Number(process.argv[2]))
const socket = require('node:net').connect({ port: 7000, host: process.argv[1], allowHalfOpen: true })
let answer = ''
socket.on('data', (data) => answer += data).on('end', () => console.log(answer === createHash('sha256').update(bytes).digest('hex') ? 'whole' : 'broken'))
socket.end(bytes)`

function keyPair(): { readonly privateKey: string; readonly publicKey: string } {
  const privateKey = clampPrivate(new Uint8Array(randomBytes(32)))
  const text = encodeKey(privateKey)
  return { privateKey: text, publicKey: KeyPair.fromPrivate(privateKey).publicKey.text }
}

function inside(netns: string): string[] {
  return ['ip', 'netns', 'exec', netns]
}

export async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

export class WireguardPair {
  readonly #room: Room
  readonly #children: ChildProcess[] = []
  readonly #ours = keyPair()
  readonly #theirs = keyPair()

  /** Its WireGuard is the other side. */
  readonly #kernel: boolean

  private constructor(room: Room, kernel: boolean) {
    this.#room = room
    this.#kernel = kernel
  }

  /** @returns why not, where namespaces, TUN interfaces or wireguard-go can't be had */
  static async open(): Promise<WireguardPair | string> {
    const room = await openWireguardRoom(TOPOLOGY, LEFT.netns)
    if (typeof room === 'string') return room
    return new WireguardPair(room, room.run('sh', '-c', 'ip link add probe type wireguard && ip link del probe && echo yes || true').includes('yes'))
  }

  async startOurs({ presharedKey, weKnow = false, family = 'ipv4', keepaliveSeconds, path = 'auto' }: PairOptions): Promise<Ours> {
    const settings: WireguardSettings = {
      privateKey: this.#ours.privateKey,
      port: PORT,
      path,
      addresses: [`${LEFT.inside}/64`, `${LEFT.inside4}/24`],
      peer: {
        publicKey: this.#theirs.publicKey,
        allowedIps: [`${RIGHT.inside}/128`, `${RIGHT.inside4}/32`],
        ...(presharedKey !== undefined && { presharedKey }),
        ...(weKnow && { endpoint: { host: RIGHT[family], port: PORT } }),
        ...(keepaliveSeconds !== undefined && { persistentKeepaliveSeconds: keepaliveSeconds }),
      },
    }
    const child = this.#start(LEFT.netns, nodeAt(this.#room.repository), join(this.#room.repository, PROCESS), JSON.stringify(settings))
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
    const first = await lines.next()
    if (first.value !== '{"ready":true}') throw new Error(`our device isn't ready: ${String(first.value)}`)
    return {
      child,
      ask: async () => {
        child.stdin.write('?\n')
        const { value } = (await lines.next()) as { value: string }
        return JSON.parse(value) as Awaited<ReturnType<Ours['ask']>>
      },
    }
  }

  startTheirs({ presharedKey, theyKnow = false, family = 'ipv4', keepaliveSeconds }: PairOptions): ChildProcess {
    // A socket that was left behind would be tidied up by `wg`, perhaps in the moment in which the new one takes its place.
    this.run(RIGHT, 'rm', '-f', '/run/wireguard/wg1.sock')
    // Its greeting recommends a kernel module.
    const program = this.#kernel ? 'sleep infinity' : 'wireguard-go -f wg1 2> /dev/null'
    if (this.#kernel) this.run(RIGHT, 'sh', '-euc', 'ip link del wg1 2> /dev/null || true; ip link add wg1 type wireguard')
    const child = this.#start(RIGHT.netns, 'sh', '-c', `exec ${program}`)
    const host = family === 'ipv6' ? `[${LEFT.ipv6}]` : LEFT.ipv4
    const known = `${theyKnow ? `endpoint ${host}:${PORT}` : ''} ${keepaliveSeconds === undefined ? '' : `persistent-keepalive ${keepaliveSeconds}`}`
    this.run(
      RIGHT,
      'sh',
      '-euc',
      `for try in $(seq 200); do ${this.#kernel ? '' : 'test -S /run/wireguard/wg1.sock && '}wg show wg1 > /dev/null 2>&1 && break; sleep 0.05; done
      umask 077; echo '${this.#theirs.privateKey}' > /tmp/key; echo '${presharedKey ?? ''}' > /tmp/psk
      ip link set wg1 mtu 1420 up
      ip addr add ${RIGHT.inside}/64 dev wg1 nodad
      ip addr add ${RIGHT.inside4}/24 dev wg1
      wg set wg1 listen-port ${PORT} private-key /tmp/key peer '${this.#ours.publicKey}' ${presharedKey === undefined ? '' : 'preshared-key /tmp/psk'} allowed-ips ${LEFT.inside}/128,${LEFT.inside4}/32 ${known}`,
    )
    return child
  }

  run(side: Side, ...command: string[]): string {
    return this.#room.run(...inside(side.netns), ...command)
  }

  /** Three answers of three, the first within `patienceSeconds`. @throws Error otherwise */
  ping(from: Side, to: Side, patienceSeconds = 5): void {
    this.run(from, 'sh', '-c', `for try in $(seq ${patienceSeconds}); do ping -6 -c 1 -W 1 ${to.inside} > /dev/null && break; done; ping -6 -c 3 -i 0.2 -W 2 ${to.inside}`)
  }

  /** A whole stream from one to the other, over IPv6 or IPv4 inside: @returns `whole` or `broken` */
  async transfer(from: Side, to: Side, bytes: number, address: 'inside' | 'inside4' = 'inside'): Promise<string> {
    const node = nodeAt(this.#room.repository)
    const server = this.#start(to.netns, node, '-e', SERVER, to[address])
    await once(server.stdout, 'data')
    const answer = this.run(from, node, '-e', CLIENT, to[address], String(bytes)).trim()
    await endChild(server)
    return answer
  }

  /** What was started ends; the room stays. */
  async rest(): Promise<void> {
    await Promise.all(this.#children.splice(0).map(endChild))
  }

  async close(): Promise<void> {
    await this.rest()
    await this.#room.close()
  }

  #start(netns: string, ...command: string[]): ChildProcess & { readonly stdin: NodeJS.WritableStream; readonly stdout: NodeJS.ReadableStream } {
    const [program = '', ...words] = [...this.#room.prefix, ...inside(netns), ...command]
    const child = spawn(program, words, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#children.push(child)
    return child
  }
}
