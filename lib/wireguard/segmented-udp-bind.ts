/**
 * Datagrams by UDP, a row of them with one call of the kernel (lib/kernel/udp-socket.ts): those that leave in one turn of the
 * loop to one address leave together. For Linux with io_uring, which waits for what comes; elsewhere there is `UdpBind`.
 */
import { ReadableWatch } from '../kernel/readable-watch.ts'
import { decodeSocketAddress, encodeSocketAddress } from '../kernel/socket-address.ts'
import { MAX_ROW_BYTES, MAX_ROW_DATAGRAMS, UdpSocket } from '../kernel/udp-socket.ts'
import type { Bind, Endpoint } from './bind.ts'
import type { UdpBindOptions } from './udp-bind.ts'

const BUFFER_BYTES = 4 << 20
/** Of senders whose address we have as text; then we forget all of them, and begin again. */
const MAX_KNOWN = 4096
/** struct sockaddr_in and sockaddr_in6. */
const [IPV4_NAME_BYTES, IPV6_NAME_BYTES] = [16, 28]

type Receive = (datagram: Uint8Array, from: Endpoint) => void

/** An end point with its struct sockaddr. */
interface UdpEndpoint extends Endpoint {
  readonly socketAddress: Uint8Array
}

export class SegmentedUdpBind implements Bind {
  readonly #options: UdpBindOptions
  readonly #ways: UdpWay[] = []
  #watch: ReadableWatch | null = null

  constructor(options: UdpBindOptions = {}) {
    this.#options = options
  }

  get port(): number {
    return this.#ways[0]?.socket.port ?? this.#options.port ?? 0
  }

  /** @throws NearcastError listen.*, kernel.* */
  async open(receive: Receive): Promise<void> {
    const { ipv4 = '0.0.0.0', ipv6 = '::', fd, bufferBytes = BUFFER_BYTES } = this.#options
    try {
      if (fd !== undefined) this.#ways.push(new UdpWay(UdpSocket.adopt(fd, bufferBytes), receive))
      else {
        for (const host of [ipv4, ipv6]) if (host !== null) this.#ways.push(new UdpWay(UdpSocket.bind(host, this.port, bufferBytes), receive))
      }
      this.#watch = new ReadableWatch(this.#ways.map((way) => ({ fd: way.socket.fd, read: () => way.read() })))
    } catch (error) {
      await this.close()
      throw error
    }
  }

  room(bytes: number, to: Endpoint): Uint8Array | null {
    const name = nameOf(to)
    return name === null ? null : (this.#wayTo(name)?.room(bytes) ?? null)
  }

  send(datagram: Uint8Array, to: Endpoint): void {
    const name = nameOf(to)
    if (name !== null) this.#wayTo(name)?.send(datagram, name)
  }

  close(): Promise<void> {
    this.#watch?.close()
    this.#watch = null
    for (const way of this.#ways.splice(0)) way.close()
    return Promise.resolve()
  }

  #wayTo(name: Uint8Array): UdpWay | undefined {
    const family = name.length === IPV6_NAME_BYTES ? 6 : 4
    return this.#ways.find(({ socket }) => socket.family === family)
  }
}

/** One socket: the row that is being gathered, and who was heard. */
class UdpWay {
  readonly socket: UdpSocket
  readonly #receive: Receive
  readonly #known = new Map<string, UdpEndpoint>()
  #last: UdpEndpoint | null = null
  /** The row: from where on, how much, of what size, to whom. */
  #start = 0
  #bytes = 0
  #datagramBytes = 0
  #count = 0
  #to: Uint8Array | null = null
  #isComplete = false
  #isScheduled = false

  constructor(socket: UdpSocket, receive: Receive) {
    this.socket = socket
    this.#receive = receive
  }

  read(): boolean {
    return this.socket.receive((row, datagramBytes, name) => {
      const from = this.#endpointOf(name)
      for (let start = 0; start < row.length; start += datagramBytes) this.#receive(row.subarray(start, start + datagramBytes), from)
    })
  }

  /** Where the next datagram would stand anyway. */
  room(bytes: number): Uint8Array | null {
    const { outgoing } = this.socket
    if (this.#start + this.#bytes + bytes > outgoing.length) this.#flush(0)
    const start = this.#start + this.#bytes
    return start + bytes > outgoing.length ? null : outgoing.subarray(start, start + bytes)
  }

  send(datagram: Uint8Array, name: Uint8Array): void {
    const { length } = datagram
    if (length === 0 || length > MAX_ROW_BYTES) return
    const { outgoing } = this.socket
    let place = this.#start + this.#bytes
    const isThere = datagram.buffer === outgoing.buffer && datagram.byteOffset === outgoing.byteOffset + place
    if (!isThere) {
      if (place + length > outgoing.length) {
        this.#flush(0)
        place = 0
      }
      outgoing.set(datagram, place)
    }
    const joins = this.#to === name && !this.#isComplete && length <= this.#datagramBytes && this.#count < MAX_ROW_DATAGRAMS && this.#bytes + length <= MAX_ROW_BYTES
    if (!joins) {
      this.#flush(place)
      this.#datagramBytes = length
      this.#to = name
    }
    this.#bytes += length
    this.#count++
    this.#isComplete = length < this.#datagramBytes
    if (this.#isScheduled) return
    this.#isScheduled = true
    queueMicrotask(this.#flushScheduled)
  }

  close(): void {
    this.#flush(0)
    this.socket.close()
    this.#isScheduled = true
  }

  readonly #flushScheduled = (): void => {
    this.#isScheduled = false
    this.#flush(0)
  }

  /** What comes next begins at `next`. */
  #flush(next: number): void {
    if (this.#count > 0 && this.#to !== null) this.socket.send(this.#start, this.#bytes, this.#datagramBytes, this.#to)
    this.#start = next
    this.#bytes = 0
    this.#count = 0
    this.#to = null
    this.#isComplete = false
  }

  #endpointOf(name: Uint8Array): UdpEndpoint {
    const length = this.socket.family === 6 ? IPV6_NAME_BYTES : IPV4_NAME_BYTES
    if (this.#last !== null && isSameAddress(this.#last.socketAddress, name, length)) return this.#last
    const socketAddress = Uint8Array.from(name.subarray(0, length))
    const key = Buffer.from(socketAddress.buffer).toString('latin1')
    let known = this.#known.get(key)
    if (known === undefined) {
      if (this.#known.size >= MAX_KNOWN) this.#known.clear()
      known = { ...decodeSocketAddress(socketAddress), socketAddress }
      this.#known.set(key, known)
    }
    this.#last = known
    return known
  }
}

/** Of end points that somebody named, and didn't hear of by a bind of this kind. */
const named = new WeakMap<Endpoint, Uint8Array | null>()

/** The same object for the same end point. null for what is none. */
function nameOf(to: Endpoint): Uint8Array | null {
  if ('socketAddress' in to) return (to as UdpEndpoint).socketAddress
  let name = named.get(to)
  if (name === undefined) {
    name = encoded(to)
    named.set(to, name)
  }
  return name
}

function encoded({ host, port }: Endpoint): Uint8Array | null {
  try {
    return port > 0 && port < 0x1_0000 ? encodeSocketAddress(host, port).bytes : null
  } catch {
    return null
  }
}

function isSameAddress(left: Uint8Array, right: Uint8Array, length: number): boolean {
  for (let index = 0; index < length; index++) if (left[index] !== right[index]) return false
  return true
}
