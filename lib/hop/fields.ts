/**
 * Fields of a binary message in their order: big-endian numbers, raw bytes, names (length byte, then bytes).
 *
 * The reader never throws and never reads past its end: what is missing reads as zero or empty and `exhausted` then
 * stays false, so that one check at the end replaces one per field.
 */
export class FieldReader {
  readonly #bytes: Uint8Array
  #offset = 0
  #short = false

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** True when all bytes were read and none was missing. */
  get exhausted(): boolean {
    return !this.#short && this.#offset === this.#bytes.length
  }

  /** A copy; zeros when there are fewer bytes left. */
  raw(length: number): Uint8Array {
    if (this.#short || this.#bytes.length - this.#offset < length) {
      this.#short = true
      return new Uint8Array(length)
    }
    this.#offset += length
    return Uint8Array.from(this.#bytes.subarray(this.#offset - length, this.#offset))
  }

  u8(): number {
    return this.raw(1)[0] ?? 0
  }

  u16(): number {
    return new DataView(this.raw(2).buffer).getUint16(0)
  }

  u32(): number {
    return new DataView(this.raw(4).buffer).getUint32(0)
  }

  u64(): bigint {
    return new DataView(this.raw(8).buffer).getBigUint64(0)
  }

  /** One character a byte: names are ASCII, what isn't fails the pattern it is checked with. */
  name(): string {
    return Buffer.from(this.raw(this.u8())).toString('latin1')
  }
}

/** Ranges are the caller's duty. */
export class FieldWriter {
  readonly #parts: Uint8Array[] = []

  raw(bytes: Uint8Array): this {
    this.#parts.push(Uint8Array.from(bytes))
    return this
  }

  u8(value: number): this {
    return this.raw(Uint8Array.of(value))
  }

  u16(value: number): this {
    return this.#number(2, (view) => view.setUint16(0, value))
  }

  u32(value: number): this {
    return this.#number(4, (view) => view.setUint32(0, value))
  }

  u64(value: bigint): this {
    return this.#number(8, (view) => view.setBigUint64(0, value))
  }

  name(text: string): this {
    const bytes = Buffer.from(text, 'latin1')
    return this.u8(bytes.length).raw(bytes)
  }

  bytes(): Uint8Array {
    return Buffer.concat(this.#parts)
  }

  #number(length: number, write: (view: DataView) => void): this {
    const bytes = new Uint8Array(length)
    write(new DataView(bytes.buffer))
    return this.raw(bytes)
  }
}
