/**
 * Which peers the device holds. The feed names all that there are; one becomes the device's own with its first handshake
 * (`admit`), and is forgotten when it has been silent for long: its next handshake brings it back. So a gateway costs what
 * the peers cost that use it. A peer that leaves the feed leaves the device at once, and its sessions with it.
 */
import { isPeer, networkOf, parseIpv6 } from '../../lib/address.ts'
import type { WireguardRow } from '../../lib/feed/messages.ts'
import type { PeersSeen } from '../../lib/feed/questions.ts'
import type { Changes, FeedTable } from '../../lib/feed/reader.ts'
import type { PeerOptions, PeerStatus } from '../../lib/wireguard/peer.ts'

/** What it needs of a WireGuard device. */
export interface PeerDevice {
  readonly peerCount: number
  peers(): PeerStatus[]
  removePeer(publicKey: string): boolean
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
}

export class GatewayPeers {
  readonly #options: GatewayPeersOptions
  #rows: ReadonlyMap<string, WireguardRow> = new Map()
  /** Answered, and not heard of since: gone if it is still so at the next round. */
  #unconfirmed = new Set<string>()
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
    return this.#options.device.peerCount
  }

  /** Handshakes of peers for which there was no room. */
  get refused(): number {
    return this.#refused
  }

  /** For the device's option of that name: who may become a peer. Changes nothing but a counter. */
  admit(publicKey: string): PeerOptions | null {
    const row = this.#rows.get(publicKey)
    if (row === undefined || !this.#isSound(row)) return null
    if (this.installed >= this.#options.maxInstalled) {
      this.#refused++
      return null
    }
    return { allowedIps: [row.prefix] }
  }

  /** What the feed says now. `table` changes in place with later revisions. */
  apply(table: Pick<FeedTable, 'wireguard'>, changes: Changes): void {
    this.#rows = table.wireguard
    const { device } = this.#options
    if (typeof changes === 'string') {
      for (const { publicKey, allowedIps } of device.peers()) {
        const row = this.#rows.get(publicKey)
        if (row === undefined || row.prefix !== allowedIps[0]) device.removePeer(publicKey)
      }
    } else {
      // Also when it is put: whatever it may do from now on it shows with its next handshake.
      for (const { table: name, key } of changes) if (name === 'wireguard') device.removePeer(key)
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
    const { device, idleMs, nowMs } = this.#options
    const now = nowMs()
    const unconfirmed = new Set<string>()
    for (const { publicKey, hasSession, lastHandshakeMs } of device.peers()) {
      const isIdle = lastHandshakeMs === null ? this.#unconfirmed.has(publicKey) : !hasSession && now - lastHandshakeMs >= idleMs
      if (isIdle) device.removePeer(publicKey)
      else if (lastHandshakeMs === null) unconfirmed.add(publicKey)
    }
    this.#unconfirmed = unconfirmed
  }

  /** A /120 among the peers of its own network, whatever the row says besides. */
  #isSound({ network, prefix }: WireguardRow): boolean {
    const [base = '', bits] = prefix.split('/')
    const address = parseIpv6(base)
    return bits === '120' && isPeer(address, this.#options.prefix) && networkOf(address, this.#options.prefix) === network
  }
}
