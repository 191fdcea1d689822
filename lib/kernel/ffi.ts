/**
 * System calls that Node has no interface for, through the C library. The ONLY importer of koffi.
 *
 * Every call returns what the kernel returns: a number >= 0, or the negated errno. Callers that can't go on use `check`.
 * Memory handed to a call is used during the call only (koffi pins it that long), so plain Buffers are safe here.
 * Synchronous calls run on the calling thread: that is what makes setns() and its undoing possible (namespaces.ts).
 * Linux only; elsewhere `probeFfi` answers no. It is loaded on first use, so that programs which never need it start
 * on any platform.
 */
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import type * as Koffi from 'koffi'
import { NearcastError } from '../errors.ts'

/** The answer of a feature probe. `unknown` = the probe itself couldn't be made; treat it as you like, but say so. */
export type Support =
  | { readonly answer: 'yes' }
  | { readonly answer: 'no'; readonly reason: string }
  | { readonly answer: 'unknown'; readonly reason: string }

export interface SystemCalls {
  socket(domain: number, type: number, protocol: number): number
  bind(fd: number, address: Uint8Array, bytes: number): number
  listen(fd: number, backlog: number): number
  getsockname(fd: number, address: Uint8Array, bytes: Uint8Array): number
  setsockopt(fd: number, level: number, option: number, value: Uint8Array, bytes: number): number
  getsockopt(fd: number, level: number, option: number, value: Uint8Array, bytes: Uint8Array): number
  recv(fd: number, buffer: Uint8Array, bytes: number, flags: number): number
  send(fd: number, buffer: Uint8Array, bytes: number, flags: number): number
  sendto(fd: number, buffer: Uint8Array, bytes: number, flags: number, address: Uint8Array, addressBytes: number): number
  /** struct msghdr, whose pointers are the caller's business: pinned memory. */
  sendmsg(fd: number, header: Uint8Array, flags: number): number
  /** struct mmsghdr array, likewise. */
  recvmmsg(fd: number, headers: Uint8Array, count: number, flags: number, timeout: null): number
  read(fd: number, buffer: Uint8Array, bytes: number): number
  write(fd: number, buffer: Uint8Array, bytes: number): number
  /** struct pollfd array, count, struct timespec (or null), signal mask (always null). */
  ppoll(fds: Uint8Array, count: number, timeout: Uint8Array | null, mask: null): number
  ioctl(fd: number, request: number, argument: Uint8Array): number
  /** For requests that take a number itself. */
  ioctlValue(fd: number, request: number, argument: number): number
  setns(fd: number, type: number): number
  waitid(kind: number, id: number, info: Uint8Array, options: number): number
  /** syscall(2), for calls that the C library has no name for. */
  syscall(number: number, first: number, second: Uint8Array): number
  prctl(option: number, argument: number, third: number, fourth: number, fifth: number): number
  getpeername(fd: number, address: Uint8Array, bytes: Uint8Array): number
  shutdown(fd: number, how: number): number
  fcntl(fd: number, command: number, argument: number): number
  dup3(from: number, to: number, flags: number): number
  flock(fd: number, operation: number): number
  /** Both begin with the number of their call: older C libraries have no name for them. */
  pidfdOpen(call: number, pid: number, flags: number): number
  pidfdSendSignal(call: number, fd: number, signal: number, info: null, flags: number): number
  eventfd(initial: number, flags: number): number
  clockGettime(clock: number, time: Uint8Array): number
  /** Begins with the number of its call, likewise. */
  schedSetattr(call: number, pid: number, attributes: Uint8Array, flags: number): number
  /** @returns an address; -errno is a small negative number. */
  mmap(address: number, bytes: number, protection: number, flags: number, fd: number, offset: number): number
  munmap(address: number, bytes: number): number
  madvise(address: number, bytes: number, advice: number): number
  /** `setup`, `enter` and `register` begin with the number of their call: the C library has no name for them. */
  ioUringSetup(call: number, entries: number, params: Uint8Array): number
  ioUringEnter(call: number, fd: number, submit: number, complete: number, flags: number, signals: null, size: number): number
  ioUringRegister(call: number, fd: number, operation: number, argument: Uint8Array, count: number): number
}

const SIGNATURES: Record<keyof SystemCalls, string> = {
  socket: 'int socket(int, int, int)',
  bind: 'int bind(int, const void *, unsigned int)',
  listen: 'int listen(int, int)',
  getsockname: 'int getsockname(int, void *, void *)',
  setsockopt: 'int setsockopt(int, int, int, const void *, unsigned int)',
  getsockopt: 'int getsockopt(int, int, int, void *, void *)',
  recv: 'long recv(int, void *, size_t, int)',
  send: 'long send(int, const void *, size_t, int)',
  sendto: 'long sendto(int, const void *, size_t, int, const void *, unsigned int)',
  sendmsg: 'long sendmsg(int, const void *, int)',
  recvmmsg: 'int recvmmsg(int, void *, unsigned int, int, void *)',
  read: 'long read(int, void *, size_t)',
  write: 'long write(int, const void *, size_t)',
  ppoll: 'int ppoll(void *, unsigned long, void *, void *)',
  ioctl: 'int ioctl(int, unsigned long, void *)',
  ioctlValue: 'int ioctl(int, unsigned long, unsigned long)',
  setns: 'int setns(int, int)',
  waitid: 'int waitid(int, unsigned int, void *, int)',
  syscall: 'long syscall(long, long, void *)',
  prctl: 'int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)',
  getpeername: 'int getpeername(int, void *, void *)',
  shutdown: 'int shutdown(int, int)',
  fcntl: 'int fcntl(int, int, int)',
  dup3: 'int dup3(int, int, int)',
  flock: 'int flock(int, int)',
  pidfdOpen: 'long syscall(long, int, unsigned int)',
  pidfdSendSignal: 'long syscall(long, int, int, void *, unsigned int)',
  eventfd: 'int eventfd(unsigned int, int)',
  clockGettime: 'int clock_gettime(int, void *)',
  schedSetattr: 'long syscall(long, int, void *, unsigned int)',
  mmap: 'intptr_t mmap(uintptr_t, size_t, int, int, int, int64_t)',
  munmap: 'int munmap(uintptr_t, size_t)',
  madvise: 'int madvise(uintptr_t, size_t, int)',
  ioUringSetup: 'long syscall(long, unsigned int, void *)',
  ioUringEnter: 'long syscall(long, int, unsigned int, unsigned int, unsigned int, void *, size_t)',
  ioUringRegister: 'long syscall(long, int, unsigned int, void *, unsigned int)',
}

interface Library {
  readonly calls: SystemCalls
  readonly view: (address: number, bytes: number) => ArrayBuffer
}

let loaded: Library | undefined

/** @throws NearcastError kernel.unsupported where the C library or one of its functions can't be reached. */
export function systemCalls(): SystemCalls {
  loaded ??= load()
  return loaded.calls
}

/** Memory that isn't JavaScript's. Whoever unmaps it sees to it that nobody touches the view any more: that would end the process. */
export function viewMemory(address: number, bytes: number): ArrayBuffer {
  loaded ??= load()
  return loaded.view(address, bytes)
}

function load(): Library {
  if (process.platform !== 'linux') {
    throw new NearcastError('kernel.unsupported', `This needs Linux system calls; ${process.platform} has none of them.`)
  }
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi
    const library = koffi.load(null)
    const calls = Object.entries(SIGNATURES).map(([name, signature]) => {
      const call = library.func(signature)
      return [name, (...values: unknown[]): number => {
        const result = Number(call(...values))
        return result === -1 ? -koffi.errno() : result
      }]
    })
    return { calls: Object.fromEntries(calls) as SystemCalls, view: (address, bytes) => koffi.view(address, bytes) }
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new NearcastError('kernel.unsupported', `The FFI can't be loaded here (${why}); install again with optional packages.`, { cause: error })
  }
}

/** Of OpenSSL, in Node's own process. They return 1. */
export interface Sha256Functions {
  init(state: Uint8Array): number
  update(state: Uint8Array, bytes: Uint8Array, length: number): number
  final(digest: Uint8Array, state: Uint8Array): number
}

/** null where Node doesn't export them. */
export function probeSha256Functions(): Sha256Functions | null {
  try {
    const library = (createRequire(import.meta.url)('koffi') as typeof Koffi).load(null)
    return {
      init: library.func('int SHA256_Init(void *)'),
      update: library.func('int SHA256_Update(void *, const void *, size_t)'),
      final: library.func('int SHA256_Final(void *, void *)'),
    }
  } catch {
    return null
  }
}

export function probeFfi(): Support {
  if (process.platform !== 'linux') return { answer: 'no', reason: `${process.platform} isn't Linux` }
  try {
    return systemCalls().socket(-1, 0, 0) < 0 ? { answer: 'yes' } : { answer: 'unknown', reason: 'socket(-1) succeeded' }
  } catch (error) {
    return { answer: 'no', reason: error instanceof Error ? error.message : String(error) }
  }
}

/** Of two names for one number (EAGAIN, EWOULDBLOCK) the first in the alphabet stands. */
const ERRNO_NAMES = new Map(Object.entries(constants.errno).toSorted(([a], [b]) => (a < b ? 1 : -1)).map(([name, number]) => [number, name]))

/** `EPERM` for -1 … */
export function errnoName(result: number): string {
  return ERRNO_NAMES.get(-result) ?? `errno ${-result}`
}

/** @throws NearcastError kernel.call-failed when `result` is negative; its message names what was tried and the errno. */
export function check(result: number, what: string): number {
  if (result >= 0) return result
  throw new NearcastError('kernel.call-failed', `${what}: ${errnoName(result)}.`, { cause: { errno: -result } })
}
