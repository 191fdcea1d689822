/**
 * A packet socket on one interface: whole Ethernet frames in and out, with PACKET_VNET_HDR, so that a frame keeps its
 * offload state (checksum still to be filled in, GSO of up to 64 KiB) across a relay. See packet(7), virtio_net.h.
 *
 * Non-blocking; `waitReadable` blocks the thread. An ordinary user may open one inside a user namespace of its own.
 */
import { closeSync } from 'node:fs'
import { networkInterfaceIndex } from './interface-index.ts'
import { check, errnoName, systemCalls } from './ffi.ts'
import { int32 } from './listen.ts'

const AF_PACKET = 17
const SOCK_RAW_NONBLOCK_CLOEXEC = 3 | 0o4000 | 0o2000000
const SOL_SOCKET = 1
const SO_RCVBUFFORCE = 33
const SO_RCVBUF = 8
const SO_SNDBUFFORCE = 32
const SO_SNDBUF = 7
const SOL_PACKET = 263
const PACKET_VNET_HDR = 15
const PACKET_IGNORE_OUTGOING = 23
const ETH_P_ALL_NETWORK_ORDER = 0x0300
const POLLIN = 1
const POLLFD_BYTES = 8
/** virtio_net_hdr + Ethernet + the largest GSO packet. */
export const MAX_FRAME_BYTES = 10 + 14 + 65_536

export class PacketSocket {
  readonly fd: number
  readonly #calls = systemCalls()

  /** `bufferBytes` for each direction. @throws NearcastError kernel.call-failed (EPERM without CAP_NET_RAW) */
  constructor(interfaceName: string, bufferBytes = 8 << 20) {
    // Protocol 0 until bound: a socket that is open on every interface would first collect foreign frames.
    this.fd = check(this.#calls.socket(AF_PACKET, SOCK_RAW_NONBLOCK_CLOEXEC, 0), 'packet socket')
    try {
      check(this.#calls.setsockopt(this.fd, SOL_PACKET, PACKET_VNET_HDR, int32(1), 4), 'PACKET_VNET_HDR')
      check(this.#calls.setsockopt(this.fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, int32(1), 4), 'PACKET_IGNORE_OUTGOING')
      this.#buffer(SO_RCVBUFFORCE, SO_RCVBUF, bufferBytes)
      this.#buffer(SO_SNDBUFFORCE, SO_SNDBUF, bufferBytes)
      const address = Buffer.alloc(20)
      address.writeUInt16LE(AF_PACKET, 0)
      address.writeUInt16LE(ETH_P_ALL_NETWORK_ORDER, 2)
      address.writeInt32LE(networkInterfaceIndex(interfaceName), 4)
      check(this.#calls.bind(this.fd, address, address.length), `bind ${interfaceName}`)
    } catch (error) {
      closeSync(this.fd)
      throw error
    }
  }

  /** The forced size needs CAP_NET_ADMIN of the first user namespace; the plain one is cut to the system's limit. */
  #buffer(forced: number, plain: number, bytes: number): void {
    if (this.#calls.setsockopt(this.fd, SOL_SOCKET, forced, int32(bytes), 4) < 0) {
      check(this.#calls.setsockopt(this.fd, SOL_SOCKET, plain, int32(bytes), 4), 'socket buffer')
    }
  }

  /** @returns the bytes of one frame (header included), or 0 when there is none. */
  receive(buffer: Uint8Array): number {
    const bytes = this.#calls.recv(this.fd, buffer, buffer.length, 0)
    if (bytes >= 0) return bytes
    const errno = errnoName(bytes)
    if (errno === 'EAGAIN' || errno === 'EINTR' || errno === 'ENETDOWN') return 0
    return check(bytes, 'packet recv')
  }

  /** @returns false when the kernel had no room or the interface is down: the frame is lost, as on a real link. */
  send(frame: Uint8Array): boolean {
    return this.#calls.send(this.fd, frame, frame.length, 0) >= 0
  }

  close(): void {
    closeSync(this.fd)
  }
}

/** Waits for one or more descriptors, for reading. Made once per set, because it is used in a hot loop. */
export class ReadableWait {
  readonly #calls = systemCalls()
  readonly #fds: Buffer
  readonly #timeout = Buffer.alloc(16)
  readonly #count: number

  constructor(fds: readonly number[]) {
    this.#count = fds.length
    this.#fds = Buffer.alloc(fds.length * POLLFD_BYTES)
    fds.forEach((fd, index) => {
      this.#fds.writeInt32LE(fd, index * POLLFD_BYTES)
      this.#fds.writeInt16LE(POLLIN, index * POLLFD_BYTES + 4)
    })
  }

  /** Blocks the thread until something is readable, closed or failed, or the time is over. null = no limit. @returns how many */
  wait(timeoutMs: number | null): number {
    if (timeoutMs !== null) {
      const nanoseconds = Math.max(0, Math.round(timeoutMs * 1e6))
      this.#timeout.writeBigInt64LE(BigInt(Math.floor(nanoseconds / 1e9)), 0)
      this.#timeout.writeBigInt64LE(BigInt(nanoseconds % 1e9), 8)
    }
    const ready = this.#calls.ppoll(this.#fds, this.#count, timeoutMs === null ? null : this.#timeout, null)
    return errnoName(ready) === 'EINTR' ? 0 : check(ready, 'ppoll')
  }

  /** After `wait`: true for readable as well as for closed or failed, which a read then tells apart. */
  isReady(index: number): boolean {
    return this.#fds.readInt16LE(index * POLLFD_BYTES + 6) !== 0
  }
}
