/**
 * A descriptor that is no socket, watched by Node's event loop.
 *
 * Node has no way to watch a bare descriptor, but a net.Socket is a descriptor watched and read; so one is made over a
 * socket, and the descriptor put in its place (dup3) before it reads for the first time. That costs a wake-up one `read`, and
 * no thread.
 */
import { closeSync } from 'node:fs'
import { Socket } from 'node:net'
import { check, systemCalls } from './ffi.ts'

const AF_UNIX = 1
const SOCK_STREAM_NONBLOCK_CLOEXEC = 1 | 0o4000 | 0o2000000
const O_CLOEXEC = 0o2000000
/** Larger than what is read, so that libuv doesn't ask for more. */
const READ_BYTES = 16

/**
 * `woken`: so many bytes were read into `buffer`; one that can't be read closes the socket instead. Takes `descriptor` over: who destroys the
 * socket closes it. Nothing is watched before `resume()`. @throws NearcastError kernel.call-failed
 */
export function watchDescriptor(descriptor: number, woken: (bytes: number) => void, buffer: Uint8Array = Buffer.alloc(READ_BYTES)): Socket {
  const calls = systemCalls()
  try {
    const fd = check(calls.socket(AF_UNIX, SOCK_STREAM_NONBLOCK_CLOEXEC, 0), 'socket')
    const onread = {
      buffer,
      callback: (bytes: number) => {
        woken(bytes)
        return true
      },
    }
    // Undocumented: without it the socket is watched before the descriptor is in its place.
    const options = { fd, readable: true, writable: false, onread, manualStart: true }
    const socket = new Socket(options)
    socket.on('error', () => undefined)
    check(calls.dup3(descriptor, fd, O_CLOEXEC), 'dup3')
    return socket
  } finally {
    closeSync(descriptor)
  }
}
