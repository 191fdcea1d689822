/**
 * A TUN interface of the system: whole IP packets (Documentation/networking/tuntap.rst) behind a virtio_net_hdr of 10 bytes: many
 * segments of a TCP stream come and go as one packet, without their checksums.
 * It goes when its descriptor is closed. It belongs to the network namespace of the thread that opens it.
 *
 * Reading and writing never block; watched-descriptor.ts waits for it.
 */
import { constants, openSync } from 'node:fs'
import { Descriptor } from './descriptor.ts'
import { check, errnoName, systemCalls } from './ffi.ts'
import { AF_INET6 } from './socket-address.ts'
import { NearcastError } from '../errors.ts'

const TUN_PATH = '/dev/net/tun'
const TUNSETIFF = 0x4004_54ca
/** IFF_TUN, IFF_NO_PI, IFF_VNET_HDR */
const FLAGS = 0x0001 | 0x1000 | 0x4000
const TUNSETOFFLOAD = 0x4004_54d0
/** TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6 */
const OFFLOADS = 1 | 2 | 4
const F_DUPFD_CLOEXEC = 1030
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000
const SIOCGIFFLAGS = 0x8913
const SIOCSIFFLAGS = 0x8914
const SIOCSIFMTU = 0x8922
const IFF_UP = 1
/** struct ifreq: the name is 16 bytes, then the value. */
const IFREQ_BYTES = 40
const VALUE_OFFSET = 16
const MAX_NAME_BYTES = 15

export class TunDevice {
  /** What the kernel made of the name: `wg%d` becomes `wg0`. */
  readonly name: string
  readonly #descriptor: Descriptor
  readonly #calls = systemCalls()

  /** `mtu`: 1280 at least, for IPv6. @throws NearcastError wireguard.tun-unavailable, kernel.call-failed, kernel.unsupported */
  constructor(name: string, mtu: number) {
    this.#descriptor = new Descriptor(openTun())
    try {
      const request = Buffer.alloc(IFREQ_BYTES)
      request.write(name.slice(0, MAX_NAME_BYTES))
      request.writeUInt16LE(FLAGS, VALUE_OFFSET)
      const made = this.#calls.ioctl(this.#descriptor.fd, TUNSETIFF, request)
      if (errnoName(made) === 'EPERM') throw unavailable('CAP_NET_ADMIN is missing in the user namespace that owns this network')
      check(made, `TUN interface ${name}`)
      this.name = request.toString('utf8', 0, request.indexOf(0))
      // A kernel without it hands over ordinary packets, behind the same header.
      this.#calls.ioctlValue(this.#descriptor.fd, TUNSETOFFLOAD, OFFLOADS)
      this.#start(mtu)
    } catch (error) {
      this.#descriptor.close()
      throw error
    }
  }

  /** Another descriptor of the same interface, which belongs to the caller: the interface goes with the last one. @throws NearcastError kernel.call-failed */
  duplicate(): number {
    return check(this.#calls.fcntl(this.#descriptor.fd, F_DUPFD_CLOEXEC, 0), 'F_DUPFD_CLOEXEC')
  }

  /** @returns the bytes of one packet and its header; 0 when there is none; below 0 once the interface is gone. */
  read(buffer: Uint8Array): number {
    const bytes = this.#calls.read(this.#descriptor.fd, buffer, buffer.length)
    return errnoName(bytes) === 'EAGAIN' || errnoName(bytes) === 'EINTR' ? 0 : bytes
  }

  /** The first `bytes` of `buffer`: a header and a packet. @returns false when the kernel doesn't take it: the interface is down, or it is no IP packet. */
  write(buffer: Uint8Array, bytes: number): boolean {
    return this.#descriptor.isOpen && this.#calls.write(this.#descriptor.fd, buffer, bytes) === bytes
  }

  /** Idempotent. */
  close(): void {
    this.#descriptor.close()
  }

  #start(mtu: number): void {
    const socket = new Descriptor(check(this.#calls.socket(AF_INET6, SOCK_DGRAM_CLOEXEC, 0), 'socket'))
    try {
      const request = Buffer.alloc(IFREQ_BYTES)
      request.write(this.name)
      request.writeInt32LE(mtu, VALUE_OFFSET)
      check(this.#calls.ioctl(socket.fd, SIOCSIFMTU, request), `MTU of ${this.name}`)
      check(this.#calls.ioctl(socket.fd, SIOCGIFFLAGS, request), `flags of ${this.name}`)
      request.writeUInt16LE(request.readUInt16LE(VALUE_OFFSET) | IFF_UP, VALUE_OFFSET)
      check(this.#calls.ioctl(socket.fd, SIOCSIFFLAGS, request), `${this.name} up`)
    } finally {
      socket.close()
    }
  }
}

function openTun(): number {
  try {
    return openSync(TUN_PATH, constants.O_RDWR | constants.O_NONBLOCK)
  } catch (error) {
    throw unavailable(error instanceof Error ? error.message : String(error))
  }
}

function unavailable(reason: string): NearcastError {
  return new NearcastError('wireguard.tun-unavailable', `No TUN interface here: ${reason}.`)
}
