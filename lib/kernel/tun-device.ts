/**
 * A TUN interface of the system: whole IP packets (Documentation/networking/tuntap.rst), each alone, or with `offload` behind a
 * virtio_net_hdr of 10 bytes: then many segments of a TCP stream come and go as one packet, without their checksums.
 * It goes when its descriptor is closed. It belongs to the network namespace of the thread that opens it.
 *
 * libuv can't wait for one: `ReadableWait` in a thread of its own does. Reading and writing never block.
 */
import { constants, openSync, writeSync } from 'node:fs'
import { Descriptor } from './descriptor.ts'
import { check, errnoName, systemCalls } from './ffi.ts'
import { AF_INET6 } from './socket-address.ts'
import { NearcastError } from '../errors.ts'

const TUN_PATH = '/dev/net/tun'
const TUNSETIFF = 0x4004_54ca
const IFF_TUN_WITHOUT_HEADER = 0x0001 | 0x1000
const IFF_VNET_HDR = 0x4000
const TUNSETOFFLOAD = 0x4004_54d0
/** TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6 */
const OFFLOADS = 1 | 2 | 4
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
  /** Of segmentation. With `offload` the header is there in any case. */
  readonly hasOffload: boolean
  readonly #descriptor: Descriptor
  readonly #calls = systemCalls()

  /** `mtu`: 1280 at least, for IPv6. `offload` stays off where the kernel hasn't got it: look at `hasOffload`. @throws NearcastError wireguard.tun-unavailable, kernel.call-failed, kernel.unsupported */
  constructor(name: string, mtu: number, offload = false) {
    this.#descriptor = new Descriptor(openTun())
    try {
      const request = Buffer.alloc(IFREQ_BYTES)
      request.write(name.slice(0, MAX_NAME_BYTES))
      request.writeUInt16LE(IFF_TUN_WITHOUT_HEADER | (offload ? IFF_VNET_HDR : 0), VALUE_OFFSET)
      const made = this.#calls.ioctl(this.#descriptor.fd, TUNSETIFF, request)
      if (errnoName(made) === 'EPERM') throw unavailable('CAP_NET_ADMIN is missing in the user namespace that owns this network')
      check(made, `TUN interface ${name}`)
      this.name = request.toString('utf8', 0, request.indexOf(0))
      this.hasOffload = offload && this.#calls.ioctlValue(this.#descriptor.fd, TUNSETOFFLOAD, OFFLOADS) >= 0
      this.#start(mtu)
    } catch (error) {
      this.#descriptor.close()
      throw error
    }
  }

  get fd(): number {
    return this.#descriptor.fd
  }

  /** @returns the bytes of one packet; 0 when there is none; below 0 once the interface is gone. */
  read(buffer: Uint8Array): number {
    return readTun(this.fd, buffer)
  }

  /** @returns false when the kernel doesn't take it: the interface is down, or it is no IP packet. */
  write(packet: Uint8Array): boolean {
    try {
      return this.#descriptor.isOpen && writeSync(this.fd, packet) === packet.length
    } catch {
      return false
    }
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

/** `TunDevice.read` for a thread that has the number only. */
export function readTun(fd: number, buffer: Uint8Array): number {
  const bytes = systemCalls().read(fd, buffer, buffer.length)
  return errnoName(bytes) === 'EAGAIN' || errnoName(bytes) === 'EINTR' ? 0 : bytes
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
