/**
 * Fields of a binary message in their order: big-endian numbers, raw bytes, names (length byte, then bytes).
 *
 * The reader never throws and never reads past its end: what is missing reads as zero or empty and `exhausted` then
 * stays false, so that one check at the end replaces one per field. Every connection is opened with such a message, so
 * both work in place and copy only what they hand out.
 */
export class FieldReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #offset = 0
  #short = false

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  /** True when all bytes were read and none was missing. */
  get exhausted(): boolean {
    return !this.#short && this.#offset === this.#bytes.length
  }

  /** A copy; zeros when there are fewer bytes left. */
  raw(length: number): Uint8Array {
    const offset = this.#take(length)
    return offset < 0 ? new Uint8Array(length) : new Uint8Array(this.#bytes.subarray(offset, offset + length))
  }

  u8(): number {
    const offset = this.#take(1)
    return offset < 0 ? 0 : this.#view.getUint8(offset)
  }

  u16(): number {
    const offset = this.#take(2)
    return offset < 0 ? 0 : this.#view.getUint16(offset)
  }

  u32(): number {
    const offset = this.#take(4)
    return offset < 0 ? 0 : this.#view.getUint32(offset)
  }

  u64(): bigint {
    const offset = this.#take(8)
    return offset < 0 ? 0n : this.#view.getBigUint64(offset)
  }

  /** One character a byte: names are ASCII, what isn't fails the pattern it is checked with. */
  name(): string {
    const length = this.u8()
    const offset = this.#take(length)
    return offset < 0 ? '\0'.repeat(length) : Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + offset, length).toString('latin1')
  }

  /** Where the next `length` bytes begin; -1 when they aren't there, from then on. */
  #take(length: number): number {
    const offset = this.#offset
    if (this.#short || this.#bytes.length - offset < length) {
      this.#short = true
      return -1
    }
    this.#offset += length
    return offset
  }
}

/** What a message of ours takes. A longer one doubles it. */
const FIRST_BYTES = 256

/** Ranges are the caller's duty. */
export class FieldWriter {
  #buffer = Buffer.alloc(FIRST_BYTES)
  #length = 0

  raw(bytes: Uint8Array): this {
    this.#buffer.set(bytes, this.#advance(bytes.length))
    return this
  }

  u8(value: number): this {
    const offset = this.#advance(1)
    this.#buffer.writeUInt8(value, offset)
    return this
  }

  u16(value: number): this {
    const offset = this.#advance(2)
    this.#buffer.writeUInt16BE(value, offset)
    return this
  }

  u32(value: number): this {
    const offset = this.#advance(4)
    this.#buffer.writeUInt32BE(value, offset)
    return this
  }

  u64(value: bigint): this {
    const offset = this.#advance(8)
    this.#buffer.writeBigUInt64BE(value, offset)
    return this
  }

  name(text: string): this {
    this.u8(text.length)
    const offset = this.#advance(text.length)
    this.#buffer.write(text, offset, 'latin1')
    return this
  }

  /** What was written; nothing may be written after it. */
  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length)
  }

  /** @returns where the next `length` bytes go. */
  #advance(length: number): number {
    const offset = this.#length
    this.#length += length
    if (this.#length > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(this.#length, 2 * this.#buffer.length))
      larger.set(this.#buffer)
      this.#buffer = larger
    }
    return offset
  }
}
