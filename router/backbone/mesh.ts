/**
 * Which hosts the WireGuard device holds, and which of them it reaches. The feed names them with their keys; a host that
 * changes its key has two for a while: the device keeps the one that it holds until the host itself shows the other one
 * (`admit`), so that nothing is sent under a key that isn't in use. One that can't wait for that follows the feed.
 *
 * A host is reached while there is a session with it and something comes from it: both sides send at least a keepalive
 * every few seconds. Whoever isn't reached is left to the ordinary way (routes.ts). Time is injected.
 */
import type { BackboneRow } from '../../lib/feed/messages.ts'
import { BACKBONE_ENDPOINT } from '../../lib/identity.ts'
import type { PeerOptions, PeerStatus } from '../../lib/wireguard/peer.ts'

/** What it needs of a WireGuard device. */
export interface MeshDevice {
  peers(): readonly PeerStatus[]
  setPeer(publicKey: string, options: PeerOptions): void
  removePeer(publicKey: string): boolean
  /** Whether it asks `admit`. */
  readonly admits: boolean
}

export interface MeshOptions {
  /** Our own id: that row is no peer. */
  readonly self: string
  readonly device: MeshDevice
  readonly keepaliveSeconds: number
  /** After so long without a word a host isn't reached. */
  readonly silenceMs: number
  /** Monotonic. */
  readonly nowMs: () => number
}

interface Host {
  readonly row: BackboneRow
  receivedBytes: number
  heardMs: number
  /** It has said farewell: the last handshake until then. */
  leftAt: number | null
}

export class Mesh {
  readonly #options: MeshOptions
  readonly #hosts = new Map<string, Host>()

  constructor(options: MeshOptions) {
    this.#options = options
  }

  /** Hosts that the feed names, without us. */
  get size(): number {
    return this.#hosts.size
  }

  /** Addresses of hosts that the feed no longer names. */
  gone(rows: ReadonlyMap<string, BackboneRow>): string[] {
    return [...this.#hosts].flatMap(([id, { row }]) => (rows.has(id) ? [] : row.addresses))
  }

  /** What the feed says now. */
  apply(rows: ReadonlyMap<string, BackboneRow>): void {
    const { self, device } = this.#options
    const held = new Set(device.peers().map(({ publicKey }) => publicKey))
    // Those who go first: a host may have come back under another name with the same address.
    for (const [id, { row }] of this.#hosts) {
      const kept = rows.get(id)?.keys ?? []
      for (const key of row.keys) if (!kept.includes(key) && device.removePeer(key)) held.delete(key)
      if (!rows.has(id)) this.#hosts.delete(id)
    }
    for (const [id, row] of rows) {
      if (id === self) continue
      const before = this.#hosts.get(id)
      const key = (device.admits ? row.keys : row.keys.slice(0, 1)).find((each) => held.has(each))
      if (key === undefined || before === undefined || !samePlace(before.row, row)) device.setPeer(key ?? row.keys[0] ?? '', this.#peerOptions(row))
      this.#hosts.set(id, { receivedBytes: 0, heardMs: -Infinity, leftAt: null, ...before, row })
    }
  }

  /** For the device's option of that name: the other key of a host that changes it. Changes nothing. */
  admit(publicKey: string): PeerOptions | null {
    for (const { row } of this.#hosts.values()) if (row.keys.includes(publicKey)) return this.#peerOptions(row)
    return null
  }

  /** After a new key of ours: without it only those would find out who send something. */
  greet(): void {
    const { device, keepaliveSeconds } = this.#options
    for (const { publicKey } of device.peers()) device.setPeer(publicKey, { persistentKeepaliveSeconds: keepaliveSeconds })
  }

  /** A host leaves the backbone, by one of its addresses: until its next handshake it isn't reached. */
  farewell(address: string): void {
    const peers = this.#options.device.peers()
    for (const host of this.#hosts.values()) {
      if (host.row.addresses.includes(address)) host.leftAt = lastHandshake(peers.filter(({ publicKey }) => host.row.keys.includes(publicKey)))
    }
  }

  /** To be called every now and then. @returns rows of the hosts that are reached at this moment */
  reached(): BackboneRow[] {
    const { device, silenceMs, nowMs } = this.#options
    const now = nowMs()
    const peers = new Map(device.peers().map((peer) => [peer.publicKey, peer]))
    return [...this.#hosts.values()].flatMap((host) => {
      const own = host.row.keys.flatMap((key) => peers.get(key) ?? [])
      const receivedBytes = own.reduce((sum, peer) => sum + peer.receivedBytes, 0)
      if (receivedBytes !== host.receivedBytes) host.heardMs = now
      host.receivedBytes = receivedBytes
      if (host.leftAt !== null && host.leftAt === lastHandshake(own)) return []
      host.leftAt = null
      return own.some(({ hasSession }) => hasSession) && now - host.heardMs < silenceMs ? [host.row] : []
    })
  }

  #peerOptions({ endpoint, addresses }: BackboneRow): PeerOptions {
    const [, host = '', port = ''] = BACKBONE_ENDPOINT.exec(endpoint) ?? []
    return { endpoint: { host, port: Number(port) }, allowedIps: addresses, persistentKeepaliveSeconds: this.#options.keepaliveSeconds }
  }
}

function lastHandshake(peers: readonly PeerStatus[]): number {
  return Math.max(0, ...peers.map(({ lastHandshakeMs }) => lastHandshakeMs ?? 0))
}

function samePlace(one: BackboneRow, other: BackboneRow): boolean {
  return one.endpoint === other.endpoint && one.addresses.join() === other.addresses.join()
}
