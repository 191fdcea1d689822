/**
 * The keys of one session and how far they are used (whitepaper, section 5.4.5). A peer has up to three: the one that is
 * used, the one before it (packets under way), and one that the other side made and hasn't used yet.
 */
import { ReplayWindow } from '../hop/replay-window.ts'
import type { Aead, AeadFactory } from './aead.ts'
import { PADDING_BYTES, REJECT_AFTER_MESSAGES, REJECT_AFTER_MS, REKEY_AFTER_MESSAGES, TAG_BYTES, TRANSPORT_HEADER_BYTES } from './constants.ts'
import { writeTransportHeader } from './messages.ts'
import type { SessionKeys } from './noise.ts'

export class Session {
  readonly isInitiator: boolean
  /** How the other side names it to us, and we to the other side. */
  readonly localIndex: number
  readonly remoteIndex: number
  readonly sinceMs: number
  readonly #sending: Aead
  readonly #receiving: Aead
  readonly #window = new ReplayWindow()
  #counter = 0

  /** Zeroes `keys`. */
  constructor(of: { readonly isInitiator: boolean; readonly localIndex: number; readonly remoteIndex: number; readonly nowMs: number }, keys: SessionKeys, aead: AeadFactory) {
    this.isInitiator = of.isInitiator
    this.localIndex = of.localIndex
    this.remoteIndex = of.remoteIndex
    this.sinceMs = of.nowMs
    this.#sending = aead(keys.sending)
    this.#receiving = aead(keys.receiving)
    keys.sending.fill(0)
    keys.receiving.fill(0)
  }

  isOver(nowMs: number): boolean {
    return nowMs - this.sinceMs >= REJECT_AFTER_MS || this.#counter >= REJECT_AFTER_MESSAGES
  }

  get isWorn(): boolean {
    return this.#counter > REKEY_AFTER_MESSAGES
  }

  /** Only when it isn't over. Padded up to `mtu` at most. `room` says where the datagram may stand. */
  seal(packet: Uint8Array, mtu: number, room?: (bytes: number) => Uint8Array | null): Uint8Array {
    const padded = Math.ceil(packet.length / PADDING_BYTES) * PADDING_BYTES
    const length = packet.length > mtu ? packet.length : Math.min(padded, mtu)
    const bytes = TRANSPORT_HEADER_BYTES + length + TAG_BYTES
    const datagram = room?.(bytes) ?? new Uint8Array(bytes)
    const counter = this.#counter++
    writeTransportHeader(datagram, this.remoteIndex, counter)
    datagram.set(packet, TRANSPORT_HEADER_BYTES)
    datagram.fill(0, TRANSPORT_HEADER_BYTES + packet.length, TRANSPORT_HEADER_BYTES + length)
    const body = datagram.subarray(TRANSPORT_HEADER_BYTES)
    this.#sending.seal(counter, body.subarray(0, length), body)
    return datagram
  }

  /** @returns the packet with its padding, in `memory`; null when it is forged, or came before. */
  open(counter: number, sealed: Uint8Array, memory: Uint8Array): Uint8Array | null {
    if (counter < 0 || counter >= REJECT_AFTER_MESSAGES || !this.#receiving.open(counter, sealed, memory)) return null
    return this.#window.accept(BigInt(counter)) ? memory.subarray(0, sealed.length - TAG_BYTES) : null
  }

  /** Zeroes the keys. */
  close(): void {
    this.#sending.close()
    this.#receiving.close()
  }
}
