/**
 * A gateway with very many peers, in one process: the feed's rows, its rules, its device; peers are engines whose datagrams
 * come and go at once. Time goes on only as it is told.
 */
import { asNetworkId, flycastAddress, peerAddress, peerPrefix } from '../../lib/address.ts'
import type { WireguardRow } from '../../lib/feed/messages.ts'
import type { AeadFactory } from '../../lib/wireguard/aead.ts'
import type { Bind, Endpoint } from '../../lib/wireguard/bind.ts'
import { Engine } from '../../lib/wireguard/engine.ts'
import { clampPrivate } from '../../lib/wireguard/keys.ts'
import { MemoryTun } from '../../lib/wireguard/memory-tun.ts'
import { GatewayDevice } from '../../router/gateway/gateway-device.ts'
import type { GatewayState } from '../../router/gateway/gateway-device.ts'
import type { Random } from './random.ts'

const PREFIX = 0xfdaa
const NETWORKS = 50
const IDLE_MS = 600_000
const GATEWAY: Endpoint = { host: '192.0.2.1', port: 51820 }

interface Member {
  readonly engine: Engine
  readonly endpoint: Endpoint
  readonly question: Uint8Array
  readonly answer: Uint8Array
  heard: number
}

export class GatewayCrowd implements Bind {
  readonly port = GATEWAY.port
  readonly #gateway: GatewayDevice
  /** That peers sent, and the gateway let through. */
  delivered = 0
  readonly #members: readonly Member[]
  readonly #byPort = new Map<number, Member>()
  readonly #tun: MemoryTun
  #nowMs = 1_000_000
  #receive: (datagram: Uint8Array, from: Endpoint) => void = () => undefined

  private constructor(count: number, random: Random, aead?: AeadFactory) {
    const clock = { monotonicMs: () => this.#nowMs, wallMs: () => this.#nowMs }
    const secret = (): Uint8Array => clampPrivate(random.bytes(32))
    this.#tun = new MemoryTun(() => this.delivered++)
    this.#gateway = new GatewayDevice({ privateKey: secret(), bind: this, tun: this.#tun, prefix: PREFIX, clock, handshakesPerSecond: 1e9, maxPeers: count, idleMs: IDLE_MS, neighboursMtu: 1340, ...(aead && { aead }) })
    this.#members = Array.from({ length: count }, (_, index) => {
      const endpoint = { host: '198.51.100.1', port: 1 + index }
      const output = { send: (datagram: Uint8Array) => this.#receive(datagram, endpoint), deliver: () => void member.heard++ }
      const engine = new Engine({ privateKey: secret(), clock, random: (bytes) => random.bytes(bytes), output, ...(aead && { aead }) })
      engine.setPeer(this.#gateway.publicKey, { endpoint: GATEWAY, allowedIps: ['::/0'] })
      const network = asNetworkId(1 + (index % NETWORKS))
      const [own, redis] = [peerAddress(network, numberOf(index)), flycastAddress(network, 1)]
      const member: Member = { engine, endpoint, question: packet(own, redis), answer: packet(redis, own), heard: 0 }
      this.#byPort.set(endpoint.port, member)
      return member
    })
  }

  /** All are in the feed, nobody has come. */
  static async open(count: number, random: Random, aead?: AeadFactory): Promise<GatewayCrowd> {
    const crowd = new GatewayCrowd(count, random, aead)
    await crowd.#gateway.open()
    crowd.#gateway.apply({ type: 'all', rows: crowd.#members.map(({ engine: { publicKey } }, index) => rowOf(publicKey, index)) })
    return crowd
  }

  get state(): GatewayState {
    return this.#gateway.state
  }

  open(receive: (datagram: Uint8Array, from: Endpoint) => void): Promise<void> {
    this.#receive = receive
    return Promise.resolve()
  }

  /** To a peer: the port is its number. */
  send(datagram: Uint8Array, { port }: Endpoint): void {
    this.#byPort.get(port)?.engine.receive(datagram, GATEWAY)
  }

  /** One asks, and is answered. @returns whether both came through, once */
  talk(index: number): boolean {
    const member = this.#members[index]
    if (member === undefined) throw new RangeError(`There is no peer ${index}.`)
    const [before, heard] = [this.delivered, member.heard]
    member.engine.send(member.question)
    this.#tun.inject(member.answer)
    return this.delivered === before + 1 && member.heard === heard + 1
  }

  /** Time goes on; then silent peers are looked for, twice, because some must be silent at two looks. */
  pass(durationMs: number): void {
    this.#nowMs += durationMs
    for (let look = 0; look < 2; look++) this.#gateway.tidy()
  }

  async close(): Promise<void> {
    await this.#gateway.close()
    for (const { engine } of this.#members) engine.close()
  }
}

/** Numbers of a network begin at 1. */
function numberOf(index: number): number {
  return 1 + Math.floor(index / NETWORKS)
}

function rowOf(publicKey: string, index: number): WireguardRow {
  const network = 1 + (index % NETWORKS)
  return { publicKey, id: `wgp${index}`, org: `o${network}`, network, prefix: peerPrefix(asNetworkId(network), numberOf(index)) }
}

function packet(from: Uint8Array, to: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(60)
  bytes.set([0x60, 0, 0, 0, 0, 20, 6, 64])
  bytes.set(from, 8)
  bytes.set(to, 24)
  return bytes
}
