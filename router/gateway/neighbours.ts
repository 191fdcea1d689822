/**
 * The other gateways: peers of our device like any other, whose allowed addresses are the places of the peers that they have.
 * So the device itself finds the way to a peer elsewhere, and refuses what a gateway sends from a place that isn't there.
 * The feed names them; where peers are they tell each other (whereabouts.ts).
 *
 * One is reached while there is a session with it and something comes from it: both sides send a keepalive every few seconds.
 */
import { formatIpv6 } from '../../lib/address.ts'
import type { Ipv6 } from '../../lib/address.ts'
import { BACKBONE_ENDPOINT } from '../../lib/identity.ts'
import type { PeerContact, PeerOptions } from '../../lib/wireguard/peer.ts'
import { decodeClaims, encodeClaims, gatewayAddress } from './claim-packet.ts'
import type { Whereabouts } from './whereabouts.ts'

const KEEPALIVE_SECONDS = 5
const SILENCE_MS = 15_000

/** What it needs of a WireGuard device. */
export interface NeighbourDevice {
  readonly publicKey: string
  setPeer(publicKey: string, options: PeerOptions): void
  removePeer(publicKey: string): boolean
  contact(publicKey: string): PeerContact | null
}

export interface NeighboursOptions {
  readonly device: NeighbourDevice
  readonly whereabouts: Whereabouts
  /** First 16 bits of the address plan. */
  readonly prefix: number
  readonly isPeer: (publicKey: string) => boolean
  /** A peer is at that gateway now. */
  readonly moved: (publicKey: string, gateway: string) => void
  /** To a gateway, through the device. */
  readonly send: (packet: Uint8Array) => void
  /** Monotonic. */
  readonly nowMs: () => number
}

/** A gateway, as the feed names it. */
export interface NeighbourRow {
  readonly publicKey: string
  /** `[address]:port` */
  readonly endpoint: string
}

interface Neighbour {
  readonly endpoint: string
  readonly address: Ipv6
  receivedBytes: number
  heardMs: number
  isReached: boolean
}

export class Neighbours {
  readonly #options: NeighboursOptions
  readonly #own: Ipv6
  readonly #neighbours = new Map<string, Neighbour>()

  constructor(options: NeighboursOptions) {
    this.#options = options
    this.#own = gatewayAddress(options.device.publicKey, options.prefix)
  }

  get size(): number {
    return this.#neighbours.size
  }

  /** At this moment, by the last look. */
  get reached(): number {
    return [...this.#neighbours.values()].filter(({ isReached }) => isReached).length
  }

  has(publicKey: string): boolean {
    return this.#neighbours.has(publicKey)
  }

  reaches(publicKey: string): boolean {
    return this.#neighbours.get(publicKey)?.isReached ?? false
  }

  /** What the feed says now: all others, without us. */
  apply(rows: readonly NeighbourRow[]): void {
    const { device, whereabouts, prefix } = this.#options
    const wanted = new Map(rows.map((row) => [row.publicKey, row]))
    for (const [publicKey, { endpoint }] of this.#neighbours) {
      if (wanted.get(publicKey)?.endpoint === endpoint) continue
      this.#neighbours.delete(publicKey)
      device.removePeer(publicKey)
      whereabouts.part(publicKey)
    }
    for (const { publicKey, endpoint } of rows) {
      const [, host, port] = BACKBONE_ENDPOINT.exec(endpoint) ?? []
      if (host === undefined || this.#neighbours.has(publicKey) || publicKey === device.publicKey) continue
      const address = gatewayAddress(publicKey, prefix)
      this.#neighbours.set(publicKey, { endpoint, address, receivedBytes: 0, heardMs: -Infinity, isReached: false })
      device.setPeer(publicKey, { endpoint: { host, port: Number(port) }, allowedIps: [formatIpv6(address)], persistentKeepaliveSeconds: KEEPALIVE_SECONDS })
    }
  }

  /** A new session with one of them stands. */
  met(publicKey: string): void {
    this.#options.whereabouts.meet(publicKey)
    this.look()
  }

  /** Who is reached, and who has to be told something. To be called every now and then, and when something happened. */
  look(): void {
    const { device, whereabouts, nowMs, send } = this.#options
    const now = nowMs()
    for (const [publicKey, neighbour] of this.#neighbours) {
      const { receivedBytes, hasSession } = device.contact(publicKey) ?? { receivedBytes: 0, hasSession: false }
      if (receivedBytes !== neighbour.receivedBytes) neighbour.heardMs = now
      neighbour.receivedBytes = receivedBytes
      neighbour.isReached = hasSession && now - neighbour.heardMs < SILENCE_MS
      if (!neighbour.isReached) continue
      for (const packet of encodeClaims('claims', whereabouts.due(publicKey, now), this.#own, neighbour.address)) send(packet)
    }
  }

  /** Whether the packet is no peer's: it is between us and that gateway. */
  isWord(packet: Uint8Array, from: string): boolean {
    const address = this.#neighbours.get(from)?.address
    return address !== undefined && address.every((byte, index) => packet[8 + index] === byte)
  }

  /** What one of them says. @returns false when it makes no sense */
  hear(packet: Uint8Array, from: string): boolean {
    const { whereabouts, isPeer, moved, send } = this.#options
    const neighbour = this.#neighbours.get(from)
    const said = decodeClaims(packet)
    if (neighbour === undefined || said === null) return false
    if (said.kind === 'heard') {
      whereabouts.heard(from, said.claims)
      return true
    }
    // Of peers that we haven't heard of yet we will be told again.
    const known = said.claims.filter(({ publicKey }) => isPeer(publicKey))
    for (const claim of known) {
      if (whereabouts.hear(from, claim)) moved(claim.publicKey, from)
    }
    for (const answer of encodeClaims('heard', known, this.#own, neighbour.address)) send(answer)
    return true
  }
}
