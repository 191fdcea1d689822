/**
 * A receiver of PROXY headers with a tiny application behind it (PING is answered +PONG, any other line -ERR), and with the
 * faults that others have had. Each says how the header is cut off; null is the right way.
 */
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { once } from 'node:events'
import type { Decoded } from '../../lib/proxy-protocol/header.ts'
import { decode } from '../../lib/proxy-protocol/decode.ts'

export type Cut = { readonly state: 'incomplete' | 'invalid' | 'crash' } | { readonly state: 'done'; readonly headerBytes: number }

const V2_FIXED_BYTES = 16
const LOCAL = 0x20
const isV2 = (bytes: Buffer): boolean => bytes.length >= V2_FIXED_BYTES && bytes[0] === 0x0d

export const FAULTS = {
  guesses: (bytes: Buffer): Cut => {
    const answer = decode(bytes)
    return answer.state === 'invalid' ? { state: 'done', headerBytes: 0 } : answer
  },
  'reads every header': (bytes: Buffer): Cut => {
    let headerBytes = 0
    for (;;) {
      const answer: Decoded = decode(bytes.subarray(headerBytes))
      if (answer.state !== 'done') return headerBytes === 0 ? answer : { state: 'done', headerBytes }
      headerBytes += answer.headerBytes
    }
  },
  'takes LOCAL for 16 bytes': (bytes: Buffer): Cut => (isV2(bytes) && bytes[12] === LOCAL ? { state: 'done', headerBytes: V2_FIXED_BYTES } : decode(bytes)),
  'takes TLVs for payload': (bytes: Buffer): Cut => {
    const answer = decode(bytes)
    return answer.state === 'done' && isV2(bytes) && bytes[13] === 0x11 ? { state: 'done', headerBytes: 28 } : answer
  },
  'stops at an empty TLV': (bytes: Buffer): Cut => {
    const answer = decode(bytes)
    const empty = answer.state === 'done' && answer.header.version === 2 && answer.header.tlvs.some(({ value }) => value.length === 0)
    return empty ? { state: 'incomplete' } : answer
  },
  'crashes at LOCAL without addresses': (bytes: Buffer): Cut => {
    const deadly = isV2(bytes) && bytes[12] === LOCAL && bytes[13] === 0x21 && bytes.readUInt16BE(14) === 0
    return deadly ? { state: 'crash' } : decode(bytes)
  },
  'ignores version and length': (bytes: Buffer): Cut => {
    if (!isV2(bytes)) return decode(bytes)
    const headerBytes = V2_FIXED_BYTES + bytes.readUInt16BE(14)
    return bytes.length < headerBytes ? { state: 'incomplete' } : { state: 'done', headerBytes }
  },
  'takes any line': (bytes: Buffer): Cut => {
    const end = bytes.indexOf('\n')
    if (bytes[0] === 0x0d) return decode(bytes)
    return end < 0 ? { state: 'incomplete' } : { state: 'done', headerBytes: end + 1 }
  },
} as const satisfies Record<string, (bytes: Buffer) => Cut>

export class FaultyReceiver {
  readonly #server = createServer((socket) => this.#serve(socket))
  readonly #sockets = new Set<Socket>()
  readonly #cut: (bytes: Buffer) => Cut
  readonly #banner: string

  /** `banner`: said at once, before any header; latin1. */
  constructor(fault: keyof typeof FAULTS | null, banner = '') {
    this.#cut = fault === null ? decode : FAULTS[fault]
    this.#banner = banner
  }

  async listen(): Promise<{ host: string; port: number }> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return { host: '127.0.0.1', port: (this.#server.address() as AddressInfo).port }
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket))
    if (this.#banner !== '') socket.write(this.#banner, 'latin1')
    let held = Buffer.alloc(0)
    let inside = false
    socket.on('data', (chunk: Buffer) => {
      held = Buffer.concat([held, chunk])
      if (!inside) {
        const cut = this.#cut(held)
        if (cut.state === 'crash') return this.close()
        if (cut.state === 'invalid') return socket.resetAndDestroy()
        if (cut.state !== 'done') return
        inside = true
        held = held.subarray(cut.headerBytes)
      }
      for (let end = held.indexOf('\n'); end >= 0; end = held.indexOf('\n')) {
        const line = held.toString('latin1', 0, end).trim()
        held = held.subarray(end + 1)
        socket.write(line === 'PING' ? '+PONG\r\n' : '-ERR unknown\r\n')
      }
    })
  }
}
