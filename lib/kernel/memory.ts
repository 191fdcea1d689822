/**
 * Memory that the kernel may use at any time: mapped, so no garbage collector moves or frees it, and handed to the kernel
 * by address with the bounds checked here.
 *
 * Never unmapped: a view of unmapped memory would end the process at its next touch. What is released gives its pages back
 * and is taken again by the next one of the same size.
 */
import { check, systemCalls, viewMemory } from './ffi.ts'

const PROT_READ_WRITE = 3
const MAP_PRIVATE_ANONYMOUS_NORESERVE = 0x2 | 0x20 | 0x4000
const MADV_DONTNEED = 4

const released = new Map<number, PinnedMemory[]>()

export class PinnedMemory {
  readonly address: number
  readonly bytes: Uint8Array<ArrayBuffer>
  #taken = true

  private constructor(address: number, size: number) {
    this.address = address
    this.bytes = new Uint8Array(viewMemory(address, size))
  }

  /** Zeroed. `size` is a multiple of the page size. @throws NearcastError kernel.call-failed */
  static take(size: number): PinnedMemory {
    const again = released.get(size)?.pop()
    if (again) {
      again.#taken = true
      return again
    }
    return new PinnedMemory(check(systemCalls().mmap(0, size, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS_NORESERVE, -1, 0), 'mmap'), size)
  }

  /** @throws RangeError beyond the memory, or after its release */
  addressOf(offset: number, length: number): number {
    if (!this.#taken || offset < 0 || length < 0 || offset + length > this.bytes.length) {
      throw new RangeError(`${length} bytes at ${offset} aren't in these ${this.#taken ? this.bytes.length : 0}.`)
    }
    return this.address + offset
  }

  /** The kernel must have let go of it: no ring has it registered or under way. Idempotent. */
  release(): void {
    if (!this.#taken) return
    this.#taken = false
    check(systemCalls().madvise(this.address, this.bytes.length, MADV_DONTNEED), 'madvise')
    const { length } = this.bytes
    released.set(length, [...(released.get(length) ?? []), this])
  }
}
