/** The backbone on our own WireGuard (lib/wireguard), with a TUN interface. */
import { bindUdp } from '../../lib/kernel/listen.ts'
import { Device } from '../../lib/wireguard/device.ts'
import type { PathChoice } from '../../lib/wireguard/path.ts'
import { KernelTun } from '../../lib/wireguard/kernel-tun.ts'
import { udpBind } from '../../lib/wireguard/path.ts'
import type { PeerOptions, PeerStatus } from '../../lib/wireguard/peer.ts'
import type { BackboneDevice, BackboneDeviceOptions } from './backbone-device.ts'
import { FarewellTun } from './farewell-tun.ts'

export interface OwnDeviceOptions extends BackboneDeviceOptions {
  readonly path: PathChoice
  /** The other key of a host that changes it. */
  readonly admit: (publicKey: string) => PeerOptions | null
  readonly onFarewell: (address: string) => void
}

export class OwnDevice implements BackboneDevice {
  readonly implementation = 'nearcast'
  readonly admits = true
  readonly path: PathChoice
  readonly #device: Device
  readonly #tun: FarewellTun

  private constructor({ path, name, mtu, listen, mark, privateKey, admit, onFarewell }: OwnDeviceOptions) {
    this.path = path
    this.#tun = new FarewellTun(new KernelTun(name, mtu), onFarewell)
    this.#device = new Device({ privateKey, bind: udpBind(path, { fd: bindUdp(listen.host, listen.port, mark).fd }), tun: this.#tun, admit })
  }

  /** @throws NearcastError listen.*, kernel.*, wireguard.tun-unavailable */
  static async open(options: OwnDeviceOptions): Promise<OwnDevice> {
    const device = new OwnDevice(options)
    await device.#device.open()
    return device
  }

  get drops(): Device['drops'] {
    return this.#device.drops
  }

  peers(): PeerStatus[] {
    return this.#device.peers()
  }

  look(): Promise<void> {
    return Promise.resolve()
  }

  setPeer(publicKey: string, options: PeerOptions): void {
    this.#device.setPeer(publicKey, options)
  }

  removePeer(publicKey: string): boolean {
    return this.#device.removePeer(publicKey)
  }

  setPrivateKey(privateKey: Uint8Array): void {
    this.#device.setPrivateKey(privateKey)
  }

  sayFarewell(from: string, to: readonly string[]): void {
    this.#tun.sayFarewell(from, to)
  }

  close(): Promise<void> {
    return this.#device.close()
  }
}
