/**
 * WireGuard in TypeScript, as a package of its own: `import { Device, UdpBind, KernelTun } from 'nearcast/wireguard'`.
 * Both roles of the handshake, every timer, cookies, roaming, preshared keys, allowed addresses, peers that come and go.
 * `Engine` is the protocol without sockets, clock and randomness, for other surroundings. The rest of Nearcast imports the files.
 * Specification: https://www.wireguard.com/papers/wireguard.pdf
 */
export { nodeAead } from './aead.ts'
export type { Aead, AeadFactory } from './aead.ts'
export type { Bind, Endpoint } from './bind.ts'
export { builtAead } from './built-aead.ts'
export type { BuiltAead } from './built-aead.ts'
export { DEFAULT_MTU } from './constants.ts'
export type { RandomBytes } from './cookies.ts'
export { Device } from './device.ts'
export type { DeviceOptions } from './device.ts'
export { DROP_REASONS } from './drops.ts'
export type { DropReason } from './drops.ts'
export { Engine } from './engine.ts'
export type { Clock, EngineOptions, EngineOutput } from './engine.ts'
export { KernelTun } from './kernel-tun.ts'
export { clampPrivate, decodeKey, encodeKey, KeyPair, PublicKey } from './keys.ts'
export { MemoryBind, MemoryNetwork } from './memory-bind.ts'
export { MemoryTun } from './memory-tun.ts'
export type { PeerOptions, PeerStatus } from './peer.ts'
export type { Tun } from './tun.ts'
export { UdpBind } from './udp-bind.ts'
export type { UdpBindOptions } from './udp-bind.ts'
export { wasmAead } from './wasm-aead.ts'
export { WebSocketBind } from './websocket-bind.ts'
export type { WebSocketBindOptions } from './websocket-bind.ts'
