/**
 * A WireGuard device as a gateway has it: with the peers that the feed names, the rules for what is inside, and the other
 * gateways. What is below (bind) and above (tun) is given, and so is time.
 */
import type { WireguardRow } from '../../lib/feed/messages.ts'
import type { PeersSeen } from '../../lib/feed/questions.ts'
import type { AppliedChange } from '../../lib/feed/reader.ts'
import type { AeadFactory } from '../../lib/wireguard/aead.ts'
import type { Bind } from '../../lib/wireguard/bind.ts'
import { Device } from '../../lib/wireguard/device.ts'
import type { DropReason } from '../../lib/wireguard/drops.ts'
import type { Clock } from '../../lib/wireguard/engine.ts'
import type { Tun } from '../../lib/wireguard/tun.ts'
import { Crossing } from './crossing.ts'
import { GuardedTun } from './guarded-tun.ts'
import type { InnerDrop } from './inner-packets.ts'
import { Neighbours } from './neighbours.ts'
import type { NeighbourRow } from './neighbours.ts'
import { GatewayPeers } from './peers.ts'
import { Whereabouts } from './whereabouts.ts'

export interface GatewayDeviceOptions {
  /** 32 bytes; zeroed. */
  readonly privateKey: Uint8Array
  readonly bind: Bind
  readonly tun: Tun
  /** First 16 bits of the address plan. */
  readonly prefix: number
  readonly handshakesPerSecond: number
  /** In the device at the same time. */
  readonly maxPeers: number
  /** A peer without a session since so long is forgotten. */
  readonly idleMs: number
  /** Of packets to other gateways. */
  readonly neighboursMtu: number
  readonly clock?: Clock
  readonly aead?: AeadFactory
}

/** Every peer that the feed names, or those that it names otherwise. */
export type PeersChange = { readonly type: 'all'; readonly rows: readonly WireguardRow[] } | { readonly type: 'some'; readonly changes: readonly AppliedChange[] }

/** Numbers for the metrics. */
export interface GatewayState {
  readonly peers: { readonly known: number; readonly installed: number; readonly elsewhere: number; readonly refused: number }
  readonly gateways: { readonly known: number; readonly reached: number }
  readonly deviceDrops: ReadonlyMap<DropReason, number>
  readonly innerDrops: ReadonlyMap<InnerDrop, number>
  readonly bytes: GuardedTun['bytes']
  readonly packets: GuardedTun['packets']
}

const SYSTEM_CLOCK: Clock = { monotonicMs: () => performance.now(), wallMs: () => Date.now() }
/** Silent peers are looked for that often; none lives twice its time. */
const ROUNDS_PER_IDLE_TIME = 4
/** How soon a gateway that isn't reached any more is known to be so, and a claim that got lost is made again. */
const LOOK_MS = 250

export class GatewayDevice {
  readonly #device: Device
  readonly #guarded: GuardedTun
  readonly #peers: GatewayPeers
  readonly #whereabouts: Whereabouts
  readonly #neighbours: Neighbours
  readonly #rows = new Map<string, WireguardRow>()
  readonly #tidyMs: number
  readonly #timers: NodeJS.Timeout[] = []

  constructor({ privateKey, bind, tun, prefix, handshakesPerSecond, maxPeers, idleMs, neighboursMtu, clock = SYSTEM_CLOCK, aead }: GatewayDeviceOptions) {
    this.#tidyMs = idleMs / ROUNDS_PER_IDLE_TIME
    this.#guarded = new GuardedTun(tun, prefix, () => elsewhere)
    const device = new Device({
      privateKey,
      bind,
      tun: this.#guarded,
      clock,
      handshakesPerSecond,
      admit: (key) => this.#peers.admit(key),
      established: (key) => this.#established(key),
      ...(aead && { aead }),
    })
    this.#device = device
    this.#whereabouts = new Whereabouts(device.publicKey, () => clock.wallMs())
    const isGateway = (key: string): boolean => this.#neighbours.has(key)
    this.#peers = new GatewayPeers({ device, whereabouts: this.#whereabouts, prefix, idleMs, maxInstalled: maxPeers, nowMs: () => clock.wallMs(), isGateway, gateways: () => this.#neighbours.size })
    const shared = { send: (packet: Uint8Array) => this.#guarded.send(packet), nowMs: () => clock.monotonicMs() }
    const moved = (key: string, gateway: string): void => this.#peers.moved(key, gateway)
    this.#neighbours = new Neighbours({ device, whereabouts: this.#whereabouts, prefix, isPeer: (key) => this.#peers.placeOf(key) !== null, moved, ...shared })
    const isReached = (gateway: string): boolean => this.#neighbours.reaches(gateway)
    const elsewhere = { neighbours: this.#neighbours, crossing: new Crossing({ ownerAt: (packet, offset) => device.ownerAt(packet, offset), isGateway, isReached, mtu: neighboursMtu, ...shared }) }
  }

  /** Base64. */
  get publicKey(): string {
    return this.#device.publicKey
  }

  get port(): number {
    return this.#device.port
  }

  /** @throws NearcastError listen.*, kernel.*, config.invalid */
  async open(): Promise<void> {
    await this.#device.open()
    this.#timers.push(setInterval(() => this.tidy(), this.#tidyMs), setInterval(() => this.look(), LOOK_MS))
  }

  apply(change: PeersChange): void {
    if (change.type === 'all') {
      this.#rows.clear()
      for (const row of change.rows) this.#rows.set(row.publicKey, row)
    } else {
      for (const { key, row } of change.changes) {
        if (row === null) this.#rows.delete(key)
        else this.#rows.set(key, row as WireguardRow)
      }
    }
    this.#peers.apply({ wireguard: this.#rows }, change.type === 'all' ? 'snapshot' : change.changes)
  }

  /** The other gateways, from now on. */
  applyNeighbours(rows: readonly NeighbourRow[]): void {
    this.#neighbours.apply(rows)
  }

  seen(publicKeys: readonly string[]): PeersSeen {
    return this.#peers.seen(publicKeys)
  }

  get state(): GatewayState {
    const { known, installed, refused } = this.#peers
    const { size, reached } = this.#neighbours
    const { drops: innerDrops, bytes, packets } = this.#guarded
    return { peers: { known, installed, elsewhere: this.#whereabouts.elsewhere, refused }, gateways: { known: size, reached }, deviceDrops: this.#device.drops, innerDrops, bytes, packets }
  }

  /** Forgets those who are silent; it does so by itself every now and then. */
  tidy(): void {
    this.#peers.tidy()
  }

  /** Which gateways are reached, and what they have to be told; likewise. */
  look(): void {
    this.#neighbours.look()
  }

  /** Idempotent. Every key is zeroed. */
  async close(): Promise<void> {
    for (const timer of this.#timers.splice(0)) clearInterval(timer)
    await this.#device.close()
  }

  #established(publicKey: string): void {
    if (this.#neighbours.has(publicKey)) return this.#neighbours.met(publicKey)
    this.#peers.arrived(publicKey)
    // The others are told at once.
    this.look()
  }
}
