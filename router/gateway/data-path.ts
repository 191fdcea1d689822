/**
 * All that a packet of a peer meets in the gateway: UDP sockets and the WebSocket, the WireGuard device, the rules for what is
 * inside, the interface. It runs in a thread of its own (data-thread.ts), where nothing else can hold it up, and is told which
 * peers there are.
 */
import type { AppliedChange } from '../../lib/feed/reader.ts'
import type { WireguardRow } from '../../lib/feed/messages.ts'
import type { PeersSeen } from '../../lib/feed/questions.ts'
import { NearcastError } from '../../lib/errors.ts'
import { parseListen } from '../../lib/listen.ts'
import type { Bind } from '../../lib/wireguard/bind.ts'
import { Device } from '../../lib/wireguard/device.ts'
import type { DropReason } from '../../lib/wireguard/drops.ts'
import { KernelTun } from '../../lib/wireguard/kernel-tun.ts'
import { udpBind } from '../../lib/wireguard/path.ts'
import type { PathChoice } from '../../lib/wireguard/path.ts'
import type { GatewayConfig } from './config.ts'
import { GuardedTun } from './guarded-tun.ts'
import type { InnerDrop } from './inner-packets.ts'
import { JoinedBind } from './joined-bind.ts'
import { GatewayPeers } from './peers.ts'
import { GatewayWebSocketBind } from './websocket-bind.ts'

/** Silent peers are looked for that often; none lives twice its time. */
const ROUNDS_PER_IDLE_TIME = 4

export interface DataPathOptions extends Pick<GatewayConfig, 'wireguard' | 'websocket' | 'tun'> {
  readonly path: PathChoice
  /** First 16 bits of the address plan. */
  readonly prefix: number
}

/** Every peer that the feed names, or those that it names otherwise. */
export type PeersChange = { readonly type: 'all'; readonly rows: readonly WireguardRow[] } | { readonly type: 'some'; readonly changes: readonly AppliedChange[] }

/** Numbers for the metrics. */
export interface DataPathState {
  readonly peers: { readonly known: number; readonly installed: number; readonly refused: number }
  readonly deviceDrops: ReadonlyMap<DropReason, number>
  readonly innerDrops: ReadonlyMap<InnerDrop, number>
  readonly bytes: { readonly received: number; readonly sent: number }
  readonly packets: { readonly received: number; readonly sent: number }
  readonly webSockets: number
}

export class DataPath {
  readonly #tun: KernelTun
  readonly #guarded: GuardedTun
  readonly #sockets: GatewayWebSocketBind | null
  readonly #device: Device
  readonly #peers: GatewayPeers
  readonly #rows = new Map<string, WireguardRow>()
  readonly #tidyMs: number
  #tidying: NodeJS.Timeout | undefined

  /** `privateKey` is zeroed. @throws NearcastError wireguard.tun-unavailable, kernel.* */
  constructor({ path, prefix, wireguard, websocket, tun: { name, mtu } }: DataPathOptions, privateKey: Uint8Array) {
    const { handshakesPerSecond, maxPeers, idleSeconds, listen } = wireguard
    this.#tun = new KernelTun(name, mtu)
    this.#guarded = new GuardedTun(this.#tun, prefix)
    this.#sockets = webSocketBind(websocket)
    const bind = new JoinedBind([...listen.map((place) => bindOf(place, path)), ...(this.#sockets === null ? [] : [this.#sockets])])
    this.#device = new Device({ privateKey, bind, tun: this.#guarded, handshakesPerSecond, admit: (key) => this.#peers.admit(key) })
    const idleMs = 1000 * idleSeconds
    this.#tidyMs = idleMs / ROUNDS_PER_IDLE_TIME
    this.#peers = new GatewayPeers({ device: this.#device, prefix, idleMs, maxInstalled: maxPeers, nowMs: Date.now })
  }

  get port(): number {
    return this.#device.port
  }

  get interface(): string {
    return this.#tun.name
  }

  /** @throws NearcastError listen.*, kernel.*, config.invalid */
  async open(): Promise<void> {
    try {
      await this.#device.open()
    } catch (error) {
      await this.close()
      throw error
    }
    this.#tidying = setInterval(() => this.#peers.tidy(), this.#tidyMs)
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

  seen(publicKeys: readonly string[]): PeersSeen {
    return this.#peers.seen(publicKeys)
  }

  get state(): DataPathState {
    const { known, installed, refused } = this.#peers
    const { drops: innerDrops, bytes, packets } = this.#guarded
    return { peers: { known, installed, refused }, deviceDrops: this.#device.drops, innerDrops, bytes, packets, webSockets: this.#sockets?.connections ?? 0 }
  }

  /** Idempotent. Every key is zeroed. */
  async close(): Promise<void> {
    clearInterval(this.#tidying)
    await this.#device.close()
  }
}

function bindOf(listen: string, path: PathChoice): Bind {
  const target = parseListen(listen)
  if (target.kind === 'unix') throw new NearcastError('config.invalid', `wireguard.listen: ${listen} takes no datagrams.`)
  if (target.kind === 'fd') return udpBind(path, { fd: target.fd })
  const isIpv6 = target.host.includes(':')
  return udpBind(path, { port: target.port, ipv4: isIpv6 ? null : target.host, ipv6: isIpv6 ? target.host : null })
}

function webSocketBind({ listen, certificate, key, maxConnections }: GatewayConfig['websocket']): GatewayWebSocketBind | null {
  if (listen === undefined || certificate === undefined || key === undefined) return null
  return new GatewayWebSocketBind({ listen, certificate, key, maxConnections })
}
