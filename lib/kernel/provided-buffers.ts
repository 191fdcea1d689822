/**
 * Buffers that the kernel picks itself when bytes arrive (IORING_REGISTER_PBUF_RING): an idle connection holds none.
 *
 * Each buffer is at one place: with the kernel (in the ring), taken (by whoever got its number), or spare. Spare ones are
 * given out last in, first out, and the kernel gets few of them, more when it has run out: so those in use stay in the
 * processor's cache, and pages that no rush has touched cost nothing. Memory comes in segments and is pinned.
 */
import type { IoUring } from './io-uring.ts'
import { PinnedMemory } from './memory.ts'

const REGISTER_PBUF_RING = 22
const REGISTER_BYTES = 40
const ENTRY_BYTES = 16
/** The tail lives in the reserved half-word of the first entry. */
const TAIL_HALF_WORD = 7
const TWO_32 = 2 ** 32

export interface ProvidedBuffersOptions {
  /** Of one buffer; a power of two. */
  readonly bufferBytes: number
  /** Of one segment; a power of two. */
  readonly segmentBuffers: number
  readonly maxSegments: number
  /** How many the kernel has at first, and at most (a power of two, <= 32,768, and half of all: senders need some, too). */
  readonly lent: number
  readonly maxLent: number
}

export class ProvidedBuffers {
  readonly group: number
  readonly bufferBytes: number
  readonly #options: ProvidedBuffersOptions
  readonly #ringMemory: PinnedMemory
  readonly #words: Int32Array
  readonly #halves: Uint16Array
  readonly #segments: PinnedMemory[] = []
  readonly #spare: number[] = []
  /** By number: 1 while somebody has it. */
  readonly #taken: Uint8Array
  #takenCount = 0
  #lentCount = 0
  #lentWanted: number
  #tail = 0

  /** @throws NearcastError kernel.call-failed */
  constructor(ring: IoUring, group: number, options: ProvidedBuffersOptions) {
    this.group = group
    this.bufferBytes = options.bufferBytes
    this.#options = options
    this.#lentWanted = options.lent
    this.#taken = new Uint8Array(options.segmentBuffers * options.maxSegments)
    this.#ringMemory = PinnedMemory.take(Math.max(4096, options.maxLent * ENTRY_BYTES))
    const { buffer } = this.#ringMemory.bytes
    this.#words = new Int32Array(buffer)
    this.#halves = new Uint16Array(buffer)
    // The same memory may have served another ring: what the kernel reads begins at 0 again.
    this.#halves[TAIL_HALF_WORD] = 0
    const argument = Buffer.alloc(REGISTER_BYTES)
    argument.writeBigUInt64LE(BigInt(this.#ringMemory.addressOf(0, options.maxLent * ENTRY_BYTES)), 0)
    argument.writeUInt32LE(options.maxLent, 8)
    argument.writeUInt16LE(group, 12)
    ring.register(REGISTER_PBUF_RING, argument, 1, 'buffers')
    this.lend()
  }

  /** In the hands of connections. */
  get taken(): number {
    return this.#takenCount
  }

  /** Memory that has been touched at most. */
  get bytes(): number {
    return this.#segments.length * this.#options.segmentBuffers * this.bufferBytes
  }

  /** Gives the kernel what it should have. Once per turn, after what it has used has been `received`. */
  lend(): void {
    const tail = this.#tail
    while (this.#lentCount < this.#lentWanted) {
      const id = this.#takeSpare()
      if (id < 0) break
      const at = (this.#tail & (this.#options.maxLent - 1)) * 4
      const address = this.addressOf(id, 0, this.bufferBytes)
      this.#words[at] = address | 0
      this.#words[at + 1] = Math.floor(address / TWO_32)
      this.#words[at + 2] = this.bufferBytes
      this.#halves[at * 2 + 6] = id
      this.#tail++
      this.#lentCount++
    }
    if (this.#tail !== tail) Atomics.store(this.#halves, TAIL_HALF_WORD, this.#tail & 0xffff)
  }

  /** The kernel has put bytes into it: it is the caller's now. */
  received(id: number): void {
    this.#lentCount--
    this.#take(id)
  }

  /** The kernel found none: it gets more of them from here on. @returns whether it has some now */
  ranOut(): boolean {
    // Many connections find out at once, and mean one shortage: with all of it lent out anew it is over.
    if (this.#lentCount < this.#lentWanted) this.#lentWanted = Math.min(this.#options.maxLent, this.#lentWanted * 2)
    this.lend()
    return this.#lentCount > 0
  }

  /** `take` would find one. */
  get hasSpare(): boolean {
    return this.#spare.length > 0 || this.#segments.length < this.#options.maxSegments
  }

  /** Few are left: what can wait elsewhere should. */
  get scarce(): boolean {
    const { segmentBuffers, maxSegments } = this.#options
    const left = this.#spare.length + (maxSegments - this.#segments.length) * segmentBuffers
    return left * 4 < segmentBuffers * maxSegments
  }

  /** @returns one for writing, or -1 when there is none. */
  take(): number {
    const id = this.#takeSpare()
    if (id >= 0) this.#take(id)
    return id
  }

  #take(id: number): void {
    this.#taken[id] = 1
    this.#takenCount++
  }

  #takeSpare(): number {
    const id = this.#spare.pop()
    if (id !== undefined) return id
    const { segmentBuffers, maxSegments } = this.#options
    if (this.#segments.length >= maxSegments) return -1
    const first = this.#segments.length * segmentBuffers
    this.#segments.push(PinnedMemory.take(segmentBuffers * this.bufferBytes))
    for (let each = first + segmentBuffers - 1; each > first; each--) this.#spare.push(each)
    return first
  }

  /** @throws Error for one that isn't taken: given back twice it would be two connections'. */
  release(id: number): void {
    if (this.#taken[id] !== 1) throw new Error(`Buffer ${id} isn't taken.`)
    this.#taken[id] = 0
    this.#takenCount--
    this.#spare.push(id)
  }

  addressOf(id: number, offset: number, length: number): number {
    const { segmentBuffers } = this.#options
    const at = (id % segmentBuffers) * this.bufferBytes + offset
    if (offset + length > this.bufferBytes) throw new RangeError(`${length} bytes at ${offset} aren't in one buffer.`)
    return this.#segment(id).addressOf(at, length)
  }

  /** A copy that is JavaScript's. */
  copyOf(id: number, length: number): Buffer {
    const at = (id % this.#options.segmentBuffers) * this.bufferBytes
    return Buffer.from(this.#segment(id).bytes.subarray(at, at + length))
  }

  /** @throws RangeError when it doesn't fit */
  write(id: number, offset: number, bytes: Uint8Array): void {
    if (offset + bytes.length > this.bufferBytes) throw new RangeError(`${bytes.length} bytes at ${offset} don't fit into one buffer.`)
    this.#segment(id).bytes.set(bytes, (id % this.#options.segmentBuffers) * this.bufferBytes + offset)
  }

  /** `length` bytes of the beginning of one behind what another has. */
  append(from: number, length: number, to: number, offset: number): void {
    const at = (from % this.#options.segmentBuffers) * this.bufferBytes
    this.write(to, offset, this.#segment(from).bytes.subarray(at, at + length))
  }

  #segment(id: number): PinnedMemory {
    const segment = this.#segments[Math.floor(id / this.#options.segmentBuffers)]
    if (!segment) throw new RangeError(`There is no buffer ${id}.`)
    return segment
  }

  /** After the ring is closed. */
  close(): void {
    for (const segment of this.#segments) segment.release()
    this.#segments.length = 0
    this.#ringMemory.release()
  }
}
