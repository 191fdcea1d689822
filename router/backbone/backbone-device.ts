/**
 * What the backbone needs of WireGuard, whoever's it is: ours (own-device.ts) or the kernel's (wg-interface.ts). It has an
 * interface of the configured name; routes are routes.ts's. Whoever made it closes it.
 */
import type { BackboneImplementation } from '../../lib/feed/questions.ts'
import type { DropReason } from '../../lib/wireguard/drops.ts'
import type { MeshDevice } from './mesh.ts'

export interface BackboneDevice extends MeshDevice {
  readonly implementation: BackboneImplementation
  /** How packets come and go, and why so. */
  readonly path: { readonly name: 'fast' | 'portable' | 'kernel'; readonly reason: string }
  readonly drops: ReadonlyMap<DropReason, number>
  /** Brings `peers()` up to date. Never rejects. */
  look(): Promise<void>
  /** 32 bytes, zeroed: every session of ours ends. */
  setPrivateKey(privateKey: Uint8Array): void
  /** From an address of ours to those of others, who leave the tunnel at once; where that can't be said, they miss us later. */
  sayFarewell(from: string, to: readonly string[]): void
  /** Idempotent. */
  close(): Promise<void>
}

export interface BackboneDeviceOptions {
  /** Of the interface. */
  readonly name: string
  readonly mtu: number
  /** UDP: `[::]:51821`. */
  readonly listen: { readonly host: string; readonly port: number }
  /** Of all datagrams that leave. */
  readonly mark: number
  /** 32 bytes, zeroed. */
  readonly privateKey: Uint8Array
}
