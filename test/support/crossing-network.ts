/**
 * Two gateways of ours and machines with wireguard-go, each in a network namespace of its own. Between the gateways the way
 * is as narrow as a backbone's interface:
 *
 *   near (acme)  ──1500── gw1 ──1420── gw2 ──1500── far (acme)
 *                                       └───1500── other (globex)
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { asNetworkId, formatIpv6, networkPrefix, peerAddress, peerPrefix } from '../../lib/address.ts'
import { clampPrivate, encodeKey, KeyPair } from '../../lib/wireguard/keys.ts'
import { nodeAt } from './cluster.ts'
import type { CrossingSettings, CrossingState } from './crossing-process.ts'
import type { Room } from './room.ts'
import { endChild } from './wireguard-pair.ts'
import { openWireguardRoom } from './wireguard-room.ts'

const PROCESS = 'test/support/crossing-process.ts'
const PORT = 51820
const GATEWAYS = { gw1: { way: 'fd99::1' }, gw2: { way: 'fd99::2' } } as const
type GatewayName = keyof typeof GATEWAYS
const MACHINES = {
  near: { network: asNetworkId(1), number: 1, gateway: 'gw1', line: 'fd98:1' },
  far: { network: asNetworkId(1), number: 2, gateway: 'gw2', line: 'fd98:2' },
  other: { network: asNetworkId(2), number: 1, gateway: 'gw2', line: 'fd98:3' },
} as const
export type MachineName = keyof typeof MACHINES

const TOPOLOGY = `
for each in gw1 gw2 near far other; do ip netns add $each; ip -n $each link set lo up; done
join() { # one, its address, other, its address, MTU
  ip link add $3 netns $1 type veth peer name $1 netns $3
  ip -n $1 link set $3 mtu $5 up; ip -n $3 link set $1 mtu $5 up
  ip -n $1 addr add $2/64 dev $3 nodad; ip -n $3 addr add $4/64 dev $1 nodad
}
join gw1 fd99::1 gw2 fd99::2 1420
join gw1 fd98:1::1 near fd98:1::2 1500
join gw2 fd98:2::1 far fd98:2::2 1500
join gw2 fd98:3::1 other fd98:3::2 1500
mkdir -p /run/wireguard
`

interface Keys {
  readonly privateKey: string
  readonly publicKey: string
}

function keyPair(): Keys {
  const privateKey = clampPrivate(new Uint8Array(randomBytes(32)))
  const text = encodeKey(privateKey)
  return { privateKey: text, publicKey: KeyPair.fromPrivate(privateKey).publicKey.text }
}

export class CrossingNetwork {
  readonly #room: Room
  readonly #children: ChildProcess[] = []
  readonly #gateways: Readonly<Record<GatewayName, Keys>> = { gw1: keyPair(), gw2: keyPair() }
  readonly #machines: Readonly<Record<MachineName, Keys>> = { near: keyPair(), far: keyPair(), other: keyPair() }

  private constructor(room: Room) {
    this.#room = room
  }

  /** @returns why not, where namespaces, TUN interfaces or wireguard-go can't be had */
  static async open(): Promise<CrossingNetwork | string> {
    const room = await openWireguardRoom(TOPOLOGY, 'gw1')
    if (typeof room === 'string') return room
    return new CrossingNetwork(room)
  }

  /** @returns asks for its state */
  async startGateway(name: GatewayName): Promise<() => Promise<CrossingState>> {
    const rows = Object.entries(MACHINES).map(([machine, { network, number }]) => ({ publicKey: this.#machines[machine as MachineName].publicKey, id: machine, org: 'o', network, prefix: peerPrefix(network, number) }))
    const other = name === 'gw1' ? 'gw2' : 'gw1'
    const neighbours = [{ publicKey: this.#gateways[other].publicKey, endpoint: `[${GATEWAYS[other].way}]:${PORT}` }]
    const settings: CrossingSettings = { privateKey: this.#gateways[name].privateKey, rows, neighbours }
    const child = this.#start(name, nodeAt(this.#room.repository), join(this.#room.repository, PROCESS), JSON.stringify(settings))
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
    const first = await lines.next()
    if (first.value !== 'ready') throw new Error(`${name} isn't ready: ${String(first.value)}`)
    return async () => {
      child.stdin.write('?\n')
      const { value } = (await lines.next()) as { value: string }
      return JSON.parse(value) as CrossingState
    }
  }

  /** With an interface wg0 as its printed configuration wants it. */
  startMachine(name: MachineName): void {
    const { network, gateway, line } = MACHINES[name]
    // Its greeting recommends a kernel module; its sockets lie where all of them do, so its name is its own.
    this.#start(name, 'sh', '-c', `exec wireguard-go -f wg-${name} 2> /dev/null`)
    this.run(
      name,
      'sh',
      '-euc',
      `for try in $(seq 200); do test -S /run/wireguard/wg-${name}.sock && wg show wg-${name} > /dev/null 2>&1 && break; sleep 0.05; done
      umask 077; echo '${this.#machines[name].privateKey}' > /tmp/key-${name}
      ip link set wg-${name} mtu 1420 up
      ip addr add ${this.address(name)}/128 dev wg-${name} nodad
      wg set wg-${name} private-key /tmp/key-${name} peer '${this.#gateways[gateway].publicKey}' allowed-ips ${networkPrefix(network)} endpoint '[${line}::1]:${PORT}' persistent-keepalive 25
      ip route add ${networkPrefix(network)} dev wg-${name}`,
    )
  }

  /** Somebody who changes the configuration: packets for that machine's network go into the tunnel. */
  widen(name: MachineName, to: MachineName): void {
    const { network, gateway } = MACHINES[name]
    const prefix = networkPrefix(MACHINES[to].network)
    this.run(name, 'sh', '-euc', `wg set wg-${name} peer '${this.#gateways[gateway].publicKey}' allowed-ips ${networkPrefix(network)},${prefix}; ip route add ${prefix} dev wg-${name}`)
  }

  address(name: MachineName): string {
    const { network, number } = MACHINES[name]
    return formatIpv6(peerAddress(network, number))
  }

  run(name: MachineName | GatewayName, ...command: string[]): string {
    return this.#room.run('ip', 'netns', 'exec', name, ...command)
  }

  /** The program runs until the network ends; @returns when it has written its first line */
  async serve(name: MachineName, program: string, ...words: string[]): Promise<void> {
    const child = this.#start(name, nodeAt(this.#room.repository), '-e', program, ...words)
    await once(createInterface(child.stdout), 'line')
  }

  node(name: MachineName, program: string, ...words: string[]): string {
    return this.run(name, nodeAt(this.#room.repository), '-e', program, ...words).trim()
  }

  async close(): Promise<void> {
    await Promise.all(this.#children.splice(0).map(endChild))
    await this.#room.close()
  }

  #start(name: string, ...command: string[]): ChildProcess & { readonly stdin: NodeJS.WritableStream; readonly stdout: NodeJS.ReadableStream } {
    const [program = '', ...words] = [...this.#room.prefix, 'ip', 'netns', 'exec', name, ...command]
    const child = spawn(program, words, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#children.push(child)
    return child
  }
}
