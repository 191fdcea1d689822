/**
 * Which peers the device holds. The feed names all that there are; one becomes the device's own with its first handshake
 * (`admit`), and is forgotten when it has been silent for long: its next handshake brings it back. So a gateway costs what
 * the peers cost that use it. A peer that leaves the feed leaves the device at once, and its sessions with it.
 *
 * One that is at another gateway (whereabouts.ts) keeps its place there until it has a session here: a handshake alone may be
 * an old one that somebody has recorded.
 */
import { isPeer, networkOf, parseIpv6 } from '../../lib/address.ts'
import type { WireguardRow } from '../../lib/feed/messages.ts'
import type { PeersSeen } from '../../lib/feed/questions.ts'
import type { Changes, FeedTable } from '../../lib/feed/reader.ts'
import type { PeerOptions, PeerStatus } from '../../lib/wireguard/peer.ts'
import type { Whereabouts } from './whereabouts.ts'

/** What it needs of a WireGuard device. */
export interface PeerDevice {
  readonly peerCount: number
  peers(): PeerStatus[]
  removePeer(publicKey: string): boolean
  setOwner(prefix: string, publicKey: string | null): void
}

export interface GatewayPeersOptions {
  readonly device: PeerDevice
  /** First 16 bits of the address plan. */
  readonly prefix: number
  /** A peer without a session since so long is forgotten. */
  readonly idleMs: number
  /** In the device at the same time. */
  readonly maxInstalled: number
  /** Since 1970, as the device's handshakes. */
  readonly nowMs: () => number
  readonly whereabouts: Whereabouts
  /** The device's peers that are gateways: others look after them. */
  readonly isGateway: (publicKey: string) => boolean
  /** How many of those there are. */
  readonly gateways: () => number
}

export class GatewayPeers {
  readonly #options: GatewayPeersOptions
  #rows: ReadonlyMap<string, WireguardRow> = new Map()
  /** Answered, and not heard of since: gone if it is still so at the next round. */
  #unconfirmed = new Set<string>()
  /** Those that are at another gateway, with their /120, which is that gateway's in the device. */
  readonly #elsewhere = new Map<string, string>()
  #refused = 0

  constructor(options: GatewayPeersOptions) {
    this.#options = options
  }

  /** That the feed names. */
  get known(): number {
    return this.#rows.size
  }

  /** In the device. */
  get installed(): number {
    return this.#options.device.peerCount - this.#options.gateways()
  }

  /** Handshakes of peers for which there was no room. */
  get refused(): number {
    return this.#refused
  }

  /** For the device's option of that name: who may become a peer. Changes nothing but a counter. */
  admit(publicKey: string): PeerOptions | null {
    const place = this.placeOf(publicKey)
    if (place === null) return null
    if (this.installed >= this.#options.maxInstalled) {
      this.#refused++
      return null
    }
    return { allowedIps: this.#options.whereabouts.gatewayOf(publicKey) === null ? [place] : [] }
  }

  /** A session with a peer stands: it is here. */
  arrived(publicKey: string): void {
    const place = this.placeOf(publicKey)
    if (place === null || !this.#options.whereabouts.arrive(publicKey)) return
    this.#elsewhere.delete(publicKey)
    this.#options.device.setOwner(place, publicKey)
  }

  /** It is at another gateway now. */
  moved(publicKey: string, gateway: string): void {
    const place = this.placeOf(publicKey)
    if (place === null) return
    const { device } = this.#options
    device.removePeer(publicKey)
    device.setOwner(place, gateway)
    this.#elsewhere.set(publicKey, place)
  }

  /** Its /120; null for who is no peer. */
  placeOf(publicKey: string): string | null {
    const row = this.#rows.get(publicKey)
    return row !== undefined && this.#isSound(row) ? row.prefix : null
  }

  /** What the feed says now. `table` changes in place with later revisions. */
  apply(table: Pick<FeedTable, 'wireguard'>, changes: Changes): void {
    this.#rows = table.wireguard
    if (typeof changes !== 'string') {
      // Also when it is put: whatever it may do from now on it shows with its next handshake.
      for (const { table: name, key } of changes) if (name === 'wireguard') this.#forget(key)
      return
    }
    const held = this.#options.device.peers().map(({ publicKey, allowedIps: [place] }) => [publicKey, place] as const)
    for (const [publicKey, place] of [...held, ...this.#elsewhere]) {
      if (!this.#options.isGateway(publicKey) && (place ?? this.placeOf(publicKey)) !== this.#rows.get(publicKey)?.prefix) this.#forget(publicKey)
    }
  }

  /** Those of these keys that the device holds. */
  seen(publicKeys: readonly string[]): PeersSeen {
    const wanted = new Set(publicKeys)
    return this.#options.device
      .peers()
      .filter(({ publicKey }) => wanted.has(publicKey))
      .map(({ publicKey, lastHandshakeMs, receivedBytes, sentBytes }) => ({ publicKey, lastHandshakeMs, receivedBytes, sentBytes }))
  }

  /** Forgets those who are silent. To be called every now and then. */
  tidy(): void {
    const { device, idleMs, nowMs, isGateway } = this.#options
    const now = nowMs()
    const unconfirmed = new Set<string>()
    for (const { publicKey, hasSession, lastHandshakeMs } of device.peers()) {
      if (isGateway(publicKey)) continue
      const isIdle = lastHandshakeMs === null ? this.#unconfirmed.has(publicKey) : !hasSession && now - lastHandshakeMs >= idleMs
      if (isIdle) this.#drop(publicKey)
      else if (lastHandshakeMs === null) unconfirmed.add(publicKey)
    }
    this.#unconfirmed = unconfirmed
  }

  #drop(publicKey: string): void {
    const { device, whereabouts } = this.#options
    device.removePeer(publicKey)
    if (whereabouts.gatewayOf(publicKey) === null) whereabouts.forget(publicKey)
  }

  #forget(publicKey: string): void {
    this.#drop(publicKey)
    this.#options.whereabouts.forget(publicKey)
    const place = this.#elsewhere.get(publicKey)
    if (place === undefined) return
    this.#elsewhere.delete(publicKey)
    this.#options.device.setOwner(place, null)
  }

  /** A /120 among the peers of its own network, whatever the row says besides. */
  #isSound({ network, prefix }: WireguardRow): boolean {
    const [base = '', bits] = prefix.split('/')
    const address = parseIpv6(base)
    return bits === '120' && isPeer(address, this.#options.prefix) && networkOf(address, this.#options.prefix) === network
  }
}
