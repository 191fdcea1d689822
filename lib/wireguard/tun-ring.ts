/**
 * Packets from the thread that reads an interface to the thread that seals them: a ring of slots in shared memory, one
 * writer and one reader. The writer waits while it is full, so the interface's own queue fills and drops, as it should.
 */
const HEADS = 4
const WRITTEN = 0
const READ = 1
const TOLD = 2
const STOPPED = 3
const SLOTS = 256
const LENGTH_BYTES = 4

export class TunRing {
  readonly memory: SharedArrayBuffer
  readonly #heads: Int32Array
  readonly #bytes: Uint8Array
  readonly #lengths: DataView
  readonly #slotBytes: number

  private constructor(memory: SharedArrayBuffer, slotBytes: number) {
    this.memory = memory
    this.#slotBytes = slotBytes
    this.#heads = new Int32Array(memory, 0, HEADS)
    this.#bytes = new Uint8Array(memory, 4 * HEADS)
    this.#lengths = new DataView(memory, 4 * HEADS)
  }

  static make(maxPacketBytes: number): TunRing {
    const slotBytes = LENGTH_BYTES + Math.ceil(maxPacketBytes / 4) * 4
    return new TunRing(new SharedArrayBuffer(4 * HEADS + SLOTS * slotBytes), slotBytes)
  }

  static over(memory: SharedArrayBuffer): TunRing {
    return new TunRing(memory, (memory.byteLength - 4 * HEADS) / SLOTS)
  }

  get isStopped(): boolean {
    return Atomics.load(this.#heads, STOPPED) === 1
  }

  stop(): void {
    Atomics.store(this.#heads, STOPPED, 1)
    Atomics.notify(this.#heads, READ)
  }

  /** Blocks while the ring is full, `waitMs` at most. @returns false when it still is */
  hasRoom(waitMs: number): boolean {
    const read = Atomics.load(this.#heads, READ)
    if (((Atomics.load(this.#heads, WRITTEN) - read) | 0) < SLOTS) return true
    Atomics.wait(this.#heads, READ, read, waitMs)
    return Atomics.load(this.#heads, READ) !== read
  }

  /** Only when there is room. */
  put(packet: Uint8Array): void {
    const written = Atomics.load(this.#heads, WRITTEN)
    const offset = (written & (SLOTS - 1)) * this.#slotBytes
    this.#lengths.setUint32(offset, packet.length)
    this.#bytes.set(packet, offset + LENGTH_BYTES)
    Atomics.store(this.#heads, WRITTEN, (written + 1) | 0)
  }

  /** Whether the reader has to be told: once until it has looked. */
  mustTell(): boolean {
    return Atomics.exchange(this.#heads, TOLD, 1) === 0
  }

  /** Hands over what is there, up to one ring full; each packet may be used during the call only. @returns whether more may follow */
  take(use: (packet: Uint8Array) => void): boolean {
    Atomics.store(this.#heads, TOLD, 0)
    for (let count = 0; count < SLOTS; count++) {
      const read = Atomics.load(this.#heads, READ)
      if (read === Atomics.load(this.#heads, WRITTEN)) return false
      const offset = (read & (SLOTS - 1)) * this.#slotBytes
      const start = offset + LENGTH_BYTES
      use(this.#bytes.subarray(start, start + this.#lengths.getUint32(offset)))
      Atomics.store(this.#heads, READ, (read + 1) | 0)
      if ((read & 31) === 31) Atomics.notify(this.#heads, READ)
    }
    Atomics.notify(this.#heads, READ)
    return true
  }
}
