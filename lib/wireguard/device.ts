/**
 * A WireGuard device: the engine with a Bind below, a Tun above, the system's clock and randomness. Whoever makes it gives
 * it both; `close` closes them.
 */
import { randomBytes } from 'node:crypto'
import type { Bind } from './bind.ts'
import { builtAead } from './built-aead.ts'
import { useBuiltBlake2s } from './built-blake2s.ts'
import { Engine } from './engine.ts'
import type { Clock, EngineOptions } from './engine.ts'
import type { DropReason } from './drops.ts'
import type { PeerContact, PeerOptions, PeerStatus } from './peer.ts'
import type { Tun } from './tun.ts'

export interface DeviceOptions extends Pick<EngineOptions, 'aead' | 'admit' | 'established' | 'handshakesPerSecond'> {
  /** 32 bytes; zeroed. */
  readonly privateKey: Uint8Array
  readonly bind: Bind
  readonly tun: Tun
  readonly clock?: Clock
}

const SYSTEM_CLOCK: Clock = { monotonicMs: () => performance.now(), wallMs: () => Date.now() }

export class Device {
  readonly #bind: Bind
  readonly #tun: Tun
  readonly #clock: Clock
  readonly #engine: Engine
  #timer: NodeJS.Timeout | null = null
  #timerMs = Infinity
  #isClosed = false

  constructor({ bind, tun, clock = SYSTEM_CLOCK, ...options }: DeviceOptions) {
    this.#bind = bind
    this.#tun = tun
    this.#clock = clock
    useBuiltBlake2s()
    this.#engine = new Engine({
      aead: builtAead().aead,
      ...options,
      clock,
      mtu: tun.mtu,
      random: (count) => new Uint8Array(randomBytes(count)),
      output: { send: (datagram, to) => bind.send(datagram, to), room: (bytes, to) => bind.room?.(bytes, to) ?? null, deliver: (packet, from) => tun.write(packet, from) },
    })
  }

  /** Base64. */
  get publicKey(): string {
    return this.#engine.publicKey
  }

  /** Where peers reach it; known once open. */
  get port(): number {
    return this.#bind.port
  }

  get drops(): ReadonlyMap<DropReason, number> {
    return this.#engine.drops.all
  }

  /** @throws NearcastError listen.*, kernel.* */
  async open(): Promise<void> {
    await this.#bind.open((datagram, from) => this.#then(() => this.#engine.receive(datagram, from)))
    try {
      await this.#tun.open((packet) => this.#then(() => this.#engine.send(packet)))
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /** Adds a peer (base64), or changes what is named; its session and everybody else's stay. @throws NearcastError wireguard.key-invalid, address.invalid */
  setPeer(publicKey: string, options: PeerOptions = {}): void {
    this.#then(() => this.#engine.setPeer(publicKey, options))
  }

  /** Its keys are zeroed. @returns false when there was none */
  removePeer(publicKey: string): boolean {
    return this.#engine.removePeer(publicKey)
  }

  /** One prefix: from now on this peer's, or nobody's; its others stay. Nothing happens for who is no peer. @throws NearcastError address.invalid */
  setOwner(prefix: string, publicKey: string | null): void {
    this.#engine.setOwner(prefix, publicKey)
  }

  /** Whose the address is that stands there in a packet (16 bytes): a public key, or null. */
  ownerAt(packet: Uint8Array, offset: number): string | null {
    return this.#engine.ownerAt(packet, offset)
  }

  /** What shows whether a peer is there; null for who is no peer. */
  contact(publicKey: string): PeerContact | null {
    return this.#engine.contact(publicKey)
  }

  /** A new identity: every session of ours ends, and peers have to learn the new public key. 32 bytes, zeroed. */
  setPrivateKey(privateKey: Uint8Array): void {
    this.#engine.setPrivateKey(privateKey)
  }

  get peerCount(): number {
    return this.#engine.peerCount
  }

  peers(): PeerStatus[] {
    return [...this.#engine.peers()]
  }

  /** Idempotent. Zeroes every key. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    await Promise.all([this.#bind.close(), this.#tun.close()])
    this.#engine.close()
  }

  /** Whatever happens may bring a deadline nearer. */
  #then(act: () => void): void {
    if (this.#isClosed) return
    act()
    const { nextDeadlineMs } = this.#engine
    if (nextDeadlineMs >= this.#timerMs) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timerMs = nextDeadlineMs
    this.#timer = setTimeout(() => {
      this.#timerMs = Infinity
      this.#then(() => this.#engine.tick())
    }, Math.max(1, Math.ceil(nextDeadlineMs - this.#clock.monotonicMs())))
  }
}
