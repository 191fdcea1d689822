/** A TCP server that reads a PROXY header and the payload behind it, from whoever dials. */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { createServer } from 'node:net'
import type { ProxyHeader } from '../../lib/proxy-protocol/header.ts'
import { HeaderReader } from '../../lib/proxy-protocol/header-reader.ts'
import { until } from './until.ts'

export interface Collected {
  readonly header: ProxyHeader
  payload: string
}

export class HeaderCollector {
  readonly collected: Collected[] = []
  readonly invalid: string[] = []
  readonly #sockets = new Set<Socket>()
  readonly #server = createServer((socket) => this.#serve(socket))

  async listen(): Promise<number> {
    this.#server.listen(0, '::1')
    await once(this.#server, 'listening')
    const address = this.#server.address()
    return address !== null && typeof address === 'object' ? address.port : 0
  }

  /** The first header that `matches`. */
  async find(what: string, matches: (collected: Collected) => boolean): Promise<Collected> {
    await until(what, () => this.invalid.length > 0 || this.collected.some(matches))
    if (this.invalid.length > 0) throw new Error(`${what}: ${this.invalid.join()}`)
    const found = this.collected.find(matches)
    if (found === undefined) throw new Error(what)
    return found
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    const reader = new HeaderReader()
    let collected: Collected | undefined
    socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket))
    socket.on('data', (chunk: Buffer) => {
      const read = reader.push(chunk)
      if (read.state === 'invalid') this.invalid.push(`${read.reason}: ${chunk.toString('hex')}`)
      if (read.state !== 'done') return
      if (collected === undefined) this.collected.push((collected = { header: read.header, payload: '' }))
      collected.payload += Buffer.from(read.payload).toString('latin1')
    })
  }
}
