/**
 * Datagrams by UDP, through Node: one socket for IPv4 and one for IPv6, on the same port. It never fragments by itself
 * and never names anything by DNS: end points are addresses.
 */
import { createSocket } from 'node:dgram'
import type { Socket, SocketOptions } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { NearcastError } from '../errors.ts'
import { socketFamily } from '../kernel/listen.ts'
import type { Bind, Endpoint } from './bind.ts'

export interface UdpBindOptions {
  /** Default 0: any free one. */
  readonly port?: number
  /** An address each, or null for none. Default: every one of the host. */
  readonly ipv4?: string | null
  readonly ipv6?: string | null
  /** Instead of all that: a UDP socket that somebody else has opened and bound, which belongs to the bind from here on. */
  readonly fd?: number
  /** Of each socket's buffers. Default 2 MiB; the system may allow less. */
  readonly bufferBytes?: number
}

/** Hosts are addresses already; without this each datagram would cost a turn of the loop. */
const lookup: SocketOptions['lookup'] = (host, _options, done) => done(null, host, 4)

export class UdpBind implements Bind {
  readonly #options: UdpBindOptions
  #ipv4: Socket | null = null
  #ipv6: Socket | null = null
  #port: number

  constructor(options: UdpBindOptions = {}) {
    this.#options = options
    this.#port = options.port ?? 0
  }

  get port(): number {
    return this.#port
  }

  async open(receive: (datagram: Uint8Array, from: Endpoint) => void): Promise<void> {
    const { ipv4 = '0.0.0.0', ipv6 = '::', fd } = this.#options
    try {
      if (fd !== undefined) return await this.#adopt(fd, receive)
      if (ipv4 !== null) this.#ipv4 = await this.#openOne({ type: 'udp4' }, ipv4, receive)
      if (ipv6 !== null) this.#ipv6 = await this.#openOne({ type: 'udp6', ipv6Only: true }, ipv6, receive)
    } catch (error) {
      await this.close()
      throw error
    }
  }

  send(datagram: Uint8Array, to: Endpoint): void {
    const socket = isIPv6(to.host) ? this.#ipv6 : this.#ipv4
    // Anything else makes Node throw.
    if (socket === null || !(to.port > 0 && to.port < 0x1_0000)) return
    socket.send(datagram, to.port, to.host)
  }

  async close(): Promise<void> {
    const open = [this.#ipv4, this.#ipv6].filter((socket) => socket !== null)
    this.#ipv4 = null
    this.#ipv6 = null
    await Promise.all(open.map((socket) => new Promise<void>((resolve) => socket.close(resolve))))
  }

  async #adopt(fd: number, receive: (datagram: Uint8Array, from: Endpoint) => void): Promise<void> {
    if (socketFamily(fd) === 6) this.#ipv6 = await this.#openOne({ type: 'udp6' }, { fd }, receive)
    else this.#ipv4 = await this.#openOne({ type: 'udp4' }, { fd }, receive)
  }

  #openOne(family: { readonly type: 'udp4' | 'udp6'; readonly ipv6Only?: boolean }, place: string | { readonly fd: number }, receive: (datagram: Uint8Array, from: Endpoint) => void): Promise<Socket> {
    const { bufferBytes = 2 << 20 } = this.#options
    const address = typeof place === 'string' ? place : `descriptor ${place.fd}`
    const socket = createSocket({ ...family, recvBufferSize: bufferBytes, sendBufferSize: bufferBytes, ...(lookup && { lookup }) })
    socket.on('message', (datagram, { address: host, port }) => receive(datagram, { host, port }))
    return new Promise((resolve, reject) => {
      socket.once('error', (error: NodeJS.ErrnoException) => {
        socket.close()
        const where = `${family.type === 'udp6' ? `[${address}]` : address}:${this.#port}`
        reject(
          error.code === 'EADDRINUSE'
            ? new NearcastError('listen.in-use', `UDP ${where} is already in use; stop what holds it or name another port.`, { cause: error })
            : new NearcastError('listen.failed', `Can't receive at UDP ${where}: ${error.code ?? error.message}.`, { cause: error }),
        )
      })
      const bound = (): void => {
        socket.removeAllListeners('error')
        // A datagram that can't be sent (no route, refused) is lost, as on the way.
        socket.on('error', () => {})
        this.#port = socket.address().port
        resolve(socket)
      }
      if (typeof place === 'string') socket.bind(this.#port, place, bound)
      else socket.bind(place, bound)
    })
  }
}
