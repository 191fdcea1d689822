/**
 * A UDP socket that moves many datagrams with one call (udp(7): UDP_SEGMENT, UDP_GRO; recvmmsg(2)). Out: datagrams of one
 * size, the last may be shorter, one behind the other in memory, to one address. In: several buffers at once, each with one
 * datagram or with a row of them that the kernel has put together.
 *
 * Non-blocking. Everything that the kernel sees lies in one piece of pinned memory.
 */
import { closeSync } from 'node:fs'
import { check, errnoName, systemCalls } from './ffi.ts'
import type { Support } from './ffi.ts'
import { bindUdp, boundPort, int32, socketFamily } from './listen.ts'
import { PinnedMemory } from './memory.ts'

const SOL_SOCKET = 1
const SO_RCVBUF = 8
const SO_SNDBUF = 7
const SOL_UDP = 17
const UDP_SEGMENT = 103
const UDP_GRO = 104
const MSG_DONTWAIT = 0x40
const F_GETFL = 3
const F_SETFL = 4
const O_NONBLOCK = 0o4000

/** struct mmsghdr: a msghdr of 56 bytes, then how much came. */
const MMSGHDR_BYTES = 64
const IOVEC_BYTES = 16
const NAME_BYTES = 32
/** CMSG_SPACE of an int. */
const CONTROL_BYTES = 24
const MESSAGES = 16
/** A row of datagrams at its largest, and a bit, so that buffers don't all begin at the same lines of the cache. */
const BUFFER_BYTES = 65_536 + 1_088
export const MAX_ROW_BYTES = 65_000
/** UDP_MAX_SEGMENTS of older kernels. */
export const MAX_ROW_DATAGRAMS = 64
const SEND_BYTES = 4 * 65_536

/** Where things stand in the memory. */
const RECEIVE_HEADERS = 0
const VECTORS = RECEIVE_HEADERS + MESSAGES * MMSGHDR_BYTES
const NAMES = VECTORS + MESSAGES * IOVEC_BYTES
const CONTROLS = NAMES + MESSAGES * NAME_BYTES
const SEND_HEADER = CONTROLS + MESSAGES * CONTROL_BYTES
const SEND_VECTOR = SEND_HEADER + MMSGHDR_BYTES
const SEND_NAME = SEND_VECTOR + IOVEC_BYTES
const SEND_CONTROL = SEND_NAME + NAME_BYTES
const BUFFERS = 4096
const OUTGOING = BUFFERS + Math.ceil((MESSAGES * BUFFER_BYTES) / 4096) * 4096
const MEMORY_BYTES = OUTGOING + SEND_BYTES

/** Of a msghdr, in words of 4 bytes. */
const [NAME_LENGTH, CONTROL_LENGTH, FLAGS, RECEIVED] = [2, 10, 12, 14]

export class UdpSocket {
  readonly fd: number
  readonly family: 4 | 6
  readonly port: number
  /** Where datagrams that are to be sent are put. */
  readonly outgoing: Uint8Array
  readonly #calls = systemCalls()
  readonly #memory = PinnedMemory.take(MEMORY_BYTES)
  readonly #words = new Int32Array(this.#memory.bytes.buffer, this.#memory.bytes.byteOffset, BUFFERS / 4)
  readonly #receiveHeaders = this.#memory.bytes.subarray(RECEIVE_HEADERS, VECTORS)
  readonly #sendHeader = this.#memory.bytes.subarray(SEND_HEADER, SEND_VECTOR)
  readonly #sendVector = new DataView(this.#memory.bytes.buffer, this.#memory.bytes.byteOffset + SEND_VECTOR, IOVEC_BYTES)
  #isSegmenting = true
  #isClosed = false

  /** A socket that is bound already and belongs to this one from here on. @throws NearcastError kernel.call-failed */
  constructor(bound: { readonly fd: number; readonly port: number }, bufferBytes: number) {
    this.fd = bound.fd
    this.port = bound.port
    this.outgoing = this.#memory.bytes.subarray(OUTGOING, OUTGOING + SEND_BYTES)
    try {
      this.family = socketFamily(this.fd)
      const flags = check(this.#calls.fcntl(this.fd, F_GETFL, 0), 'F_GETFL')
      check(this.#calls.fcntl(this.fd, F_SETFL, flags | O_NONBLOCK), 'O_NONBLOCK')
      check(this.#calls.setsockopt(this.fd, SOL_UDP, UDP_GRO, int32(1), 4), 'UDP_GRO')
      for (const option of [SO_RCVBUF, SO_SNDBUF]) check(this.#calls.setsockopt(this.fd, SOL_SOCKET, option, int32(bufferBytes), 4), 'socket buffer')
      this.#layOut()
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** @throws NearcastError listen.in-use, listen.failed, kernel.call-failed */
  static bind(host: string, port: number, bufferBytes: number): UdpSocket {
    return new UdpSocket(bindUdp(host, port), bufferBytes)
  }

  /** Of a socket that somebody else has opened and bound. @throws NearcastError kernel.call-failed */
  static adopt(fd: number, bufferBytes: number): UdpSocket {
    return new UdpSocket({ fd, port: boundPort(fd) }, bufferBytes)
  }

  /**
   * Takes what has come, up to 16 rows. `take` may use `row` during the call only: datagrams of `datagramBytes` one behind
   * the other, the last may be shorter; `name` is the sender's struct sockaddr. @returns false when there was nothing
   */
  receive(take: (row: Uint8Array, datagramBytes: number, name: Uint8Array) => void): boolean {
    for (let index = 0; index < MESSAGES; index++) this.#rest(index)
    const count = this.#calls.recvmmsg(this.fd, this.#receiveHeaders, MESSAGES, MSG_DONTWAIT, null)
    // Anything but a count is an error of an earlier datagram, or nothing.
    for (let index = 0; index < count; index++) {
      const header = (RECEIVE_HEADERS + index * MMSGHDR_BYTES) / 4
      const bytes = this.#words[header + RECEIVED] ?? 0
      const control = (CONTROLS + index * CONTROL_BYTES) / 4
      const isRow = (this.#words[header + CONTROL_LENGTH] ?? 0) >= 20 && this.#words[control + 2] === SOL_UDP && this.#words[control + 3] === UDP_GRO
      const start = BUFFERS + index * BUFFER_BYTES
      const name = NAMES + index * NAME_BYTES
      const datagramBytes = isRow ? Math.max(1, this.#words[control + 4] ?? 0) : bytes
      if (bytes > 0) take(this.#memory.bytes.subarray(start, start + bytes), datagramBytes, this.#memory.bytes.subarray(name, name + NAME_BYTES))
      if (this.#isClosed) return false
    }
    return count > 0
  }

  /**
   * Sends `bytes` of `outgoing` from `offset` on, as datagrams of `datagramBytes`, at most 64 and MAX_ROW_BYTES. `name`: a
   * struct sockaddr of this family. What the kernel doesn't take is lost.
   */
  send(offset: number, bytes: number, datagramBytes: number, name: Uint8Array): void {
    this.#memory.bytes.set(name, SEND_NAME)
    this.#words[SEND_HEADER / 4 + NAME_LENGTH] = name.length
    if (bytes <= datagramBytes) return void this.#sendRow(offset, bytes, 0)
    if (this.#isSegmenting) {
      const errno = errnoName(this.#sendRow(offset, bytes, datagramBytes))
      if (errno !== 'EIO' && errno !== 'EINVAL' && errno !== 'EMSGSIZE') return
      // EIO: an interface that can't fill in checksums. The others: a way that these datagrams don't fit in whole.
      if (errno === 'EIO') this.#isSegmenting = false
    }
    for (let sent = 0; sent < bytes; sent += datagramBytes) this.#sendRow(offset + sent, Math.min(datagramBytes, bytes - sent), 0)
  }

  /** Idempotent. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    closeSync(this.fd)
    this.#memory.release()
  }

  #sendRow(offset: number, bytes: number, datagramBytes: number): number {
    this.#sendVector.setBigUint64(0, BigInt(this.#memory.addressOf(OUTGOING + offset, bytes)), true)
    this.#sendVector.setUint32(8, bytes, true)
    this.#words[SEND_HEADER / 4 + CONTROL_LENGTH] = datagramBytes > 0 ? CONTROL_BYTES : 0
    // The value is 16 bits; what stands behind it is padding.
    this.#words[SEND_CONTROL / 4 + 4] = datagramBytes
    return this.#calls.sendmsg(this.fd, this.#sendHeader, MSG_DONTWAIT)
  }

  /** As before a call: the kernel writes how much it has used over what there is. */
  #rest(index: number): void {
    const header = (RECEIVE_HEADERS + index * MMSGHDR_BYTES) / 4
    this.#words[header + NAME_LENGTH] = NAME_BYTES
    this.#words[header + CONTROL_LENGTH] = CONTROL_BYTES
    this.#words[header + FLAGS] = 0
  }

  #layOut(): void {
    const view = new DataView(this.#memory.bytes.buffer, this.#memory.bytes.byteOffset, BUFFERS)
    const pointer = (at: number, offset: number, length: number): void => view.setBigUint64(at, BigInt(this.#memory.addressOf(offset, length)), true)
    const header = (at: number, name: number, vector: number, control: number): void => {
      pointer(at, name, NAME_BYTES)
      pointer(at + 16, vector, IOVEC_BYTES)
      view.setUint32(at + 24, 1, true)
      pointer(at + 32, control, CONTROL_BYTES)
    }
    for (let index = 0; index < MESSAGES; index++) {
      const vector = VECTORS + index * IOVEC_BYTES
      header(RECEIVE_HEADERS + index * MMSGHDR_BYTES, NAMES + index * NAME_BYTES, vector, CONTROLS + index * CONTROL_BYTES)
      pointer(vector, BUFFERS + index * BUFFER_BYTES, BUFFER_BYTES)
      view.setUint32(vector + 8, BUFFER_BYTES, true)
    }
    header(SEND_HEADER, SEND_NAME, SEND_VECTOR, SEND_CONTROL)
    // struct cmsghdr: its length with the 16-bit value, level, type.
    view.setUint32(SEND_CONTROL, 18, true)
    view.setUint32(SEND_CONTROL + 8, SOL_UDP, true)
    view.setUint32(SEND_CONTROL + 12, UDP_SEGMENT, true)
  }
}

/** Whether this kernel sends and receives rows. */
export function probeUdpRows(): Support {
  try {
    const { fd } = bindUdp('127.0.0.1', 0)
    try {
      for (const [option, name] of [[UDP_SEGMENT, 'UDP_SEGMENT'], [UDP_GRO, 'UDP_GRO']] as const) {
        const result = systemCalls().setsockopt(fd, SOL_UDP, option, int32(option === UDP_GRO ? 1 : 0), 4)
        if (result < 0) return { answer: 'no', reason: `${name}: ${errnoName(result)}` }
      }
      return { answer: 'yes' }
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    return { answer: 'unknown', reason: error instanceof Error ? error.message : String(error) }
  }
}
