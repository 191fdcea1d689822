/**
 * A process that isn't this one's child, held by a descriptor: pidfd_open(2), Linux 5.3. Its number may come to mean another
 * process once it has ended, the descriptor never does.
 */
import { closeSync } from 'node:fs'
import type { Socket } from 'node:net'
import { constants } from 'node:os'
import type { Support } from './ffi.ts'
import { check, errnoName, systemCalls } from './ffi.ts'
import { watchDescriptor } from './watched-descriptor.ts'

/** The same on all architectures that Node runs on. */
const PIDFD_SEND_SIGNAL = 424
const PIDFD_OPEN = 434
/** Nobody has that number, or only a group that its process has left behind. */
const GONE: ReadonlySet<number> = new Set([constants.errno.ESRCH, constants.errno.EINVAL, constants.errno.ENOENT])

export class ProcessHandle {
  readonly pid: number
  readonly #socket: Socket
  readonly #fd: number
  /** Resolves when it has ended, or the handle was closed. */
  readonly ended: Promise<void>
  #closed = false

  private constructor(pid: number, fd: number) {
    this.pid = pid
    // One to signal, one to watch: it becomes readable when the process ends, and then refuses to be read.
    const watched = openHandle(pid)
    if (watched < 0) closeSync(fd)
    check(watched, 'pidfd_open')
    this.#fd = fd
    this.#socket = watchDescriptor(watched, () => undefined)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.ended = promise
    this.#socket.on('close', () => {
      this.close()
      resolve()
    })
    this.#socket.resume()
  }

  /** @returns null: there is no such process. @throws NearcastError kernel.call-failed */
  static open(pid: number): ProcessHandle | null {
    const fd = openHandle(pid)
    if (GONE.has(-fd)) return null
    return new ProcessHandle(pid, check(fd, 'pidfd_open'))
  }

  /** @returns false: it has ended, or isn't ours to signal. */
  signal(name: 'SIGTERM' | 'SIGKILL'): boolean {
    return !this.#closed && systemCalls().pidfdSendSignal(PIDFD_SEND_SIGNAL, this.#fd, constants.signals[name], null, 0) === 0
  }

  /** Keeps the process alive that holds it, until then. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    closeSync(this.#fd)
    this.#socket.destroy()
  }
}

export function probeProcessHandles(): Support {
  if (process.platform !== 'linux') return { answer: 'no', reason: `${process.platform} isn't Linux` }
  try {
    const fd = openHandle(process.pid)
    if (fd < 0) return { answer: 'no', reason: `pidfd_open: ${errnoName(fd)}` }
    closeSync(fd)
    return { answer: 'yes' }
  } catch (error) {
    return { answer: 'no', reason: error instanceof Error ? error.message : String(error) }
  }
}

/** Close-on-exec by itself. */
function openHandle(pid: number): number {
  return systemCalls().pidfdOpen(PIDFD_OPEN, pid, 0)
}
