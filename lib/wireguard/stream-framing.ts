/**
 * Datagrams in a stream of bytes, for where UDP doesn't get through: each as its length, 32 bits in network order, and itself;
 * a length of 0 says that the other side is still there. The client's stream begins with a word of four bytes. As flyctl does
 * it, over WebSocket messages whose boundaries mean nothing. Pure.
 */
import { MAX_STREAM_DATAGRAM_BYTES, STREAM_MAGIC } from './constants.ts'

const LENGTH_BYTES = 4

/** What a client sends first. */
export function streamOpening(): Uint8Array {
  return word(STREAM_MAGIC)
}

export function streamKeepalive(): Uint8Array {
  return word(0)
}

export function streamFrame(datagram: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(LENGTH_BYTES + datagram.length)
  bytes.set(word(datagram.length))
  bytes.set(datagram, LENGTH_BYTES)
  return bytes
}

function word(value: number): Uint8Array {
  const bytes = new Uint8Array(LENGTH_BYTES)
  new DataView(bytes.buffer).setUint32(0, value)
  return bytes
}

export class StreamDecoder {
  #rest = new Uint8Array(0)
  #opened: boolean
  #isBroken = false

  /** `expectsOpening`: of a client's stream. */
  constructor(expectsOpening: boolean) {
    this.#opened = !expectsOpening
  }

  /** A client has said what it begins with. */
  get isOpen(): boolean {
    return this.#opened
  }

  /** `use` gets each datagram that is whole, for the time of the call. @returns false when this is no such stream: nothing more is taken */
  push(chunk: Uint8Array, use: (datagram: Uint8Array) => void): boolean {
    if (this.#isBroken) return false
    const bytes = this.#rest.length === 0 ? chunk : joined(this.#rest, chunk)
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    let offset = 0
    if (!this.#opened && bytes.length >= LENGTH_BYTES) {
      if (view.getUint32(0) !== STREAM_MAGIC) return this.#break()
      this.#opened = true
      offset = LENGTH_BYTES
    }
    while (this.#opened && bytes.length - offset >= LENGTH_BYTES) {
      const length = view.getUint32(offset)
      if (length > MAX_STREAM_DATAGRAM_BYTES) return this.#break()
      const end = offset + LENGTH_BYTES + length
      if (end > bytes.length) break
      if (length > 0) use(bytes.subarray(offset + LENGTH_BYTES, end))
      offset = end
    }
    // At most one datagram that isn't whole; a copy (Buffer's own slice makes none), because the chunk is whoever's who called.
    this.#rest = new Uint8Array(bytes.subarray(offset))
    return true
  }

  #break(): false {
    this.#isBroken = true
    this.#rest = new Uint8Array(0)
    return false
  }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(first.length + second.length)
  bytes.set(first)
  bytes.set(second, first.length)
  return bytes
}
