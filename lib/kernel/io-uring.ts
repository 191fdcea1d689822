/**
 * One io_uring: entries in, completions out. See io_uring(7), io_uring_setup(2), io_uring_enter(2).
 *
 * Used by one thread (SINGLE_ISSUER): completions come when it enters (DEFER_TASKRUN), never in between. Entries and
 * completions are read and written where the kernel sees them; only heads and tails need Atomics. What an entry points to
 * must be pinned until its completion; socket addresses are copied here and needn't be.
 * It knows nothing of sockets: `low` and `high` are the caller's words, which come back with the completion.
 */
import { closeSync } from 'node:fs'
import { NearcastError } from '../errors.ts'
import { check, errnoName, systemCalls, viewMemory } from './ffi.ts'
import { int32 } from './listen.ts'
import { PinnedMemory } from './memory.ts'

const [SYS_SETUP, SYS_ENTER, SYS_REGISTER] = [425, 426, 427]
const PARAMS_BYTES = 120
const SETUP_CQSIZE = 1 << 3
const SETUP_SUBMIT_ALL = 1 << 7
const SETUP_COOP_TASKRUN = 1 << 8
const SETUP_TASKRUN_FLAG = 1 << 9
const SETUP_SINGLE_ISSUER = 1 << 12
const SETUP_DEFER_TASKRUN = 1 << 13
const SETUP_NO_SQARRAY = 1 << 16
/** Linux 6.0: with it came multishot recv. */
const BASE = SETUP_CQSIZE | SETUP_SUBMIT_ALL | SETUP_COOP_TASKRUN | SETUP_TASKRUN_FLAG | SETUP_SINGLE_ISSUER
/** Best first: Linux 6.6, 6.1, 6.0. */
const FLAG_SETS = [BASE | SETUP_DEFER_TASKRUN | SETUP_NO_SQARRAY, BASE | SETUP_DEFER_TASKRUN, BASE]
const FEATURES_NEEDED = 1 | 2
const OFFSET_SQES = 0x1000_0000
const PROT_READ_WRITE = 3
const MAP_SHARED_POPULATE = 0x1 | 0x8000
const ENTER_GETEVENTS = 1
const REGISTER_EVENTFD = 4
const SQ_WORK_WAITS = 2 | 4
const CQ_EVENTFD_DISABLED = 1
const SQE_WORDS = 16
const CQE_WORDS = 4
const ADDRESS_BYTES = 128
const TWO_32 = 2 ** 32

export type Completed = (low: number, high: number, result: number, flags: number) => void

export class IoUring {
  readonly fd: number
  /** What the kernel granted; for people. */
  readonly features: readonly string[]
  readonly #calls = systemCalls()
  readonly #mappings: (readonly [address: number, bytes: number])[] = []
  readonly #addresses: PinnedMemory
  #ring: Int32Array
  #entries: Int32Array
  readonly #entryCount: number
  readonly #sqMask: number
  readonly #cqMask: number
  /** Places in `#ring`, in words. */
  readonly #at: { readonly sqHead: number; readonly sqTail: number; readonly sqFlags: number; readonly cqHead: number; readonly cqTail: number; readonly cqFlags: number; readonly cqes: number }
  #tail = 0
  #submitted = 0
  #closed = false

  /** Both powers of two. @throws NearcastError kernel.call-failed, kernel.unsupported */
  constructor(entries: number, completions: number) {
    const { fd, params, flags } = setUp(entries, completions)
    this.fd = fd
    try {
      const word = (offset: number): number => params.readUInt32LE(offset)
      const [sqEntries, cqEntries] = [word(0), word(4)]
      const ringBytes = Math.max(word(64) + sqEntries * 4, word(100) + cqEntries * 16)
      this.#ring = this.#map(ringBytes, 0)
      this.#entries = this.#map(sqEntries * SQE_WORDS * 4, OFFSET_SQES)
      this.#entryCount = sqEntries
      this.#at = { sqHead: word(40) / 4, sqTail: word(44) / 4, sqFlags: word(56) / 4, cqHead: word(80) / 4, cqTail: word(84) / 4, cqFlags: word(104) / 4, cqes: word(100) / 4 }
      this.#sqMask = sqEntries - 1
      this.#cqMask = cqEntries - 1
      // Entries are used in the order of their places, so the array of indices says just that.
      if ((flags & SETUP_NO_SQARRAY) === 0) for (let index = 0; index < sqEntries; index++) this.#ring[word(64) / 4 + index] = index
      this.#addresses = PinnedMemory.take(sqEntries * ADDRESS_BYTES)
      this.features = [...((flags & SETUP_DEFER_TASKRUN) === 0 ? [] : ['defer-taskrun']), ...((flags & SETUP_NO_SQARRAY) === 0 ? [] : ['no-sqarray'])]
    } catch (error) {
      closeSync(fd)
      throw error
    }
  }

  #map(bytes: number, offset: number): Int32Array {
    const address = check(this.#calls.mmap(0, bytes, PROT_READ_WRITE, MAP_SHARED_POPULATE, this.fd, offset), 'mmap of a ring')
    this.#mappings.push([address, bytes])
    return new Int32Array(viewMemory(address, bytes))
  }

  /** Writes one entry; it goes to the kernel with the next `enter`. `address` is memory that stays, or 0. */
  push(operation: number, sqeFlags: number, ioprio: number, fd: number, address: number, length: number, operationFlags: number, low: number, high: number, group = 0, offset = 0): void {
    if (this.#tail - this.#submitted >= this.#entryCount) this.enter(0)
    const at = (this.#tail & this.#sqMask) * SQE_WORDS
    const entries = this.#entries
    entries[at] = operation | (sqeFlags << 8) | (ioprio << 16)
    entries[at + 1] = fd
    entries[at + 2] = offset
    entries[at + 3] = 0
    entries[at + 4] = address | 0
    entries[at + 5] = Math.floor(address / TWO_32)
    entries[at + 6] = length
    entries[at + 7] = operationFlags
    entries[at + 8] = low
    entries[at + 9] = high
    entries[at + 10] = group
    entries[at + 11] = 0
    entries[at + 12] = 0
    entries[at + 13] = 0
    this.#tail = (this.#tail + 1) | 0
  }

  /** A place for a socket address beside the entry that is pushed next: the kernel copies it when that is submitted. */
  pin(bytes: Uint8Array): number {
    if (bytes.length > ADDRESS_BYTES) throw new RangeError(`${bytes.length} bytes are no socket address.`)
    if (this.#tail - this.#submitted >= this.#entryCount) this.enter(0)
    const offset = (this.#tail & this.#sqMask) * ADDRESS_BYTES
    this.#addresses.bytes.set(bytes, offset)
    return this.#addresses.addressOf(offset, bytes.length)
  }

  get unsubmitted(): number {
    return (this.#tail - this.#submitted) | 0
  }

  /** Something to submit, to run or to reap. */
  get hasWork(): boolean {
    return this.#tail !== this.#submitted || this.#mustEnter || Atomics.load(this.#ring, this.#at.cqTail) !== (this.#ring[this.#at.cqHead] ?? 0)
  }

  get #mustEnter(): boolean {
    return (Atomics.load(this.#ring, this.#at.sqFlags) & SQ_WORK_WAITS) !== 0
  }

  /** Submits, and lets the kernel post completions; waits for so many of them (0 = none). @throws NearcastError kernel.call-failed */
  enter(complete: number): void {
    const waiting = this.unsubmitted
    if (this.#closed || (waiting === 0 && complete === 0 && !this.#mustEnter)) return
    Atomics.store(this.#ring, this.#at.sqTail, this.#tail)
    const result = this.#calls.ioUringEnter(SYS_ENTER, this.fd, waiting, complete, ENTER_GETEVENTS, null, 0)
    this.#submitted = Atomics.load(this.#ring, this.#at.sqHead)
    if (result >= 0) return
    const errno = errnoName(result)
    // A signal, completions that must be reaped first, or no memory for a moment: what wasn't taken is submitted next time.
    if (errno !== 'EINTR' && errno !== 'EBUSY' && errno !== 'EAGAIN') check(result, 'io_uring_enter')
  }

  /** @returns how many there were. Entries may be pushed meanwhile. */
  reap(completed: Completed): number {
    const { cqHead, cqTail, cqes } = this.#at
    const ring = this.#ring
    let head = ring[cqHead] ?? 0
    let count = 0
    for (const tail = Atomics.load(ring, cqTail); head !== tail; count++) {
      const at = cqes + (head & this.#cqMask) * CQE_WORDS
      const low = ring[at] ?? 0
      const high = ring[at + 1] ?? 0
      const result = ring[at + 2] ?? 0
      const flags = ring[at + 3] ?? 0
      head = (head + 1) | 0
      Atomics.store(ring, cqHead, head)
      completed(low, high, result, flags)
    }
    return count
  }

  /** While silenced the eventfd isn't written; look at `hasWork` after ending it. */
  silence(silent: boolean): void {
    Atomics.store(this.#ring, this.#at.cqFlags, silent ? CQ_EVENTFD_DISABLED : 0)
  }

  /** Written when there are completions, or will be at the next `enter`. */
  registerEventfd(eventfd: number): void {
    this.register(REGISTER_EVENTFD, int32(eventfd), 1, 'eventfd')
  }

  register(operation: number, argument: Uint8Array, count: number, what: string): void {
    check(this.#calls.ioUringRegister(SYS_REGISTER, this.fd, operation, argument, count), `io_uring_register ${what}`)
  }

  /** Idempotent. What is under way is cancelled by the kernel, later: end it before. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    // Views of what is unmapped must not be touched any more.
    this.#ring = this.#entries = new Int32Array(0)
    closeSync(this.fd)
    for (const [address, bytes] of this.#mappings) this.#calls.munmap(address, bytes)
    this.#addresses.release()
  }
}

function setUp(entries: number, completions: number): { readonly fd: number; readonly params: Buffer; readonly flags: number } {
  let result = 0
  for (const flags of FLAG_SETS) {
    const params = Buffer.alloc(PARAMS_BYTES)
    params.writeUInt32LE(completions, 4)
    params.writeUInt32LE(flags, 8)
    result = systemCalls().ioUringSetup(SYS_SETUP, entries, params)
    if (result >= 0 && (params.readUInt32LE(20) & FEATURES_NEEDED) === FEATURES_NEEDED) return { fd: result, params, flags }
    if (result >= 0) closeSync(result)
    if (result >= 0 || errnoName(result) !== 'EINVAL') break
  }
  if (result >= 0 || errnoName(result) === 'EINVAL') throw new NearcastError('kernel.unsupported', 'This kernel has an io_uring without what is needed here; Linux 6.0 has it.')
  throw new NearcastError('kernel.call-failed', `io_uring_setup: ${errnoName(result)}.`, { cause: { errno: -result } })
}
