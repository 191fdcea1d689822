/**
 * All that a packet of a peer meets in the gateway: UDP sockets and the WebSocket, the device with its rules, the interface.
 * It runs in a thread of its own (data-thread.ts), where nothing else can hold it up, and is told which peers there are.
 */
import type { PeersSeen } from '../../lib/feed/questions.ts'
import { NearcastError } from '../../lib/errors.ts'
import { parseListen } from '../../lib/listen.ts'
import type { Bind } from '../../lib/wireguard/bind.ts'
import { KernelTun } from '../../lib/wireguard/kernel-tun.ts'
import { udpBind } from '../../lib/wireguard/path.ts'
import type { PathChoice } from '../../lib/wireguard/path.ts'
import type { GatewayConfig } from './config.ts'
import { GatewayDevice } from './gateway-device.ts'
import type { GatewayState, PeersChange } from './gateway-device.ts'
import { JoinedBind } from './joined-bind.ts'
import type { NeighbourRow } from './neighbours.ts'
import { GatewayWebSocketBind } from './websocket-bind.ts'

export interface DataPathOptions extends Pick<GatewayConfig, 'wireguard' | 'websocket' | 'tun' | 'neighbours'> {
  readonly path: PathChoice
  /** First 16 bits of the address plan. */
  readonly prefix: number
}

/** Numbers for the metrics. */
export interface DataPathState extends GatewayState {
  readonly webSockets: number
}

export class DataPath {
  readonly #tun: KernelTun
  readonly #sockets: GatewayWebSocketBind | null
  readonly #gateway: GatewayDevice

  /** `privateKey` is zeroed. @throws NearcastError wireguard.tun-unavailable, kernel.* */
  constructor({ path, prefix, wireguard, websocket, tun: { name, mtu }, neighbours }: DataPathOptions, privateKey: Uint8Array) {
    const { handshakesPerSecond, maxPeers, idleSeconds, listen } = wireguard
    this.#tun = new KernelTun(name, mtu)
    this.#sockets = webSocketBind(websocket)
    const binds = listen.map((place) => ({ place, bind: bindOf(place, path) }))
    const bind = new JoinedBind([...binds.map((each) => each.bind), ...(this.#sockets === null ? [] : [this.#sockets])], binds.find(({ place }) => takesIpv6(place))?.bind)
    this.#gateway = new GatewayDevice({ privateKey, bind, tun: this.#tun, prefix, handshakesPerSecond, maxPeers, idleMs: 1000 * idleSeconds, neighboursMtu: neighbours.mtu })
  }

  get port(): number {
    return this.#gateway.port
  }

  get interface(): string {
    return this.#tun.name
  }

  /** @throws NearcastError listen.*, kernel.*, config.invalid */
  async open(): Promise<void> {
    try {
      await this.#gateway.open()
    } catch (error) {
      await this.close()
      throw error
    }
  }

  apply(change: PeersChange): void {
    this.#gateway.apply(change)
  }

  /** The other gateways, from now on. */
  applyNeighbours(rows: readonly NeighbourRow[]): void {
    this.#gateway.applyNeighbours(rows)
  }

  seen(publicKeys: readonly string[]): PeersSeen {
    return this.#gateway.seen(publicKeys)
  }

  get state(): DataPathState {
    return { ...this.#gateway.state, webSockets: this.#sockets?.connections ?? 0 }
  }

  /** Idempotent. Every key is zeroed. */
  close(): Promise<void> {
    return this.#gateway.close()
  }
}

function bindOf(listen: string, path: PathChoice): Bind {
  const target = parseListen(listen)
  if (target.kind === 'unix') throw new NearcastError('config.invalid', `wireguard.listen: ${listen} takes no datagrams.`)
  if (target.kind === 'fd') return udpBind(path, { fd: target.fd })
  const isIpv6 = target.host.includes(':')
  return udpBind(path, { port: target.port, ipv4: isIpv6 ? null : target.host, ipv6: isIpv6 ? target.host : null })
}

function takesIpv6(listen: string): boolean {
  const target = parseListen(listen)
  return target.kind === 'tcp' && target.host.includes(':')
}

function webSocketBind({ listen, certificate, key, maxConnections }: GatewayConfig['websocket']): GatewayWebSocketBind | null {
  if (listen === undefined || certificate === undefined || key === undefined) return null
  return new GatewayWebSocketBind({ listen, certificate, key, maxConnections })
}
