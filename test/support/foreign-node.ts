/**
 * A data node that isn't ours: a small multitenant server that reads PROXY v1 and v2 itself, tells tenants apart by the
 * destination address, and accepts only the sources it was told (what such a node has to do: SECURITY.md).
 * Speaks enough RESP for redis-cli: PING, SET, GET, INFO, COMMAND, QUIT.
 *
 *   node test/support/foreign-node.ts --port 0 --allow fd00::/64 [--allow …] [--host ::] [--version either|v1|v2]
 *
 * Prints `{"port":N}` once it listens, then one line for each connection it read a header of or turned away.
 */
import { BlockList, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { parseArgs } from 'node:util'
import { formatIpv6, ipv6FromBytes } from '../../lib/address.ts'
import type { ProxyAddresses } from '../../lib/proxy-protocol/header.ts'
import { HeaderReader } from '../../lib/proxy-protocol/header-reader.ts'

const HEADER_TIMEOUT_MS = 5000
const MAX_REQUEST_BYTES = 1 << 20

export interface ForeignNodeOptions {
  readonly host?: string
  readonly port?: number
  /** `address/bits` of those who may connect at all; none allowed means nobody is. */
  readonly allow: readonly string[]
  readonly version?: 'v1' | 'v2' | 'either'
  readonly headerTimeoutMs?: number
  readonly onEvent?: (event: ForeignEvent) => void
}

export type ForeignEvent =
  | { readonly event: 'header'; readonly version: 1 | 2; readonly source: string | null; readonly tenant: string | null }
  | { readonly event: 'refused'; readonly reason: 'source' | 'header' | 'timeout'; readonly peer: string }

export class ForeignNode {
  readonly #options: ForeignNodeOptions
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #sources = new BlockList()
  /** destination address -> its data */
  readonly #tenants = new Map<string, Map<string, string>>()

  constructor(options: ForeignNodeOptions) {
    this.#options = options
    for (const prefix of options.allow) {
      const [address = '', bits = '128'] = prefix.split('/')
      this.#sources.addSubnet(address, Number(bits), address.includes(':') ? 'ipv6' : 'ipv4')
    }
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket))
  }

  /** @returns the port. */
  start(): Promise<number> {
    const { host = '::', port = 0 } = this.#options
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host, port }, () => resolve((this.#server.address() as AddressInfo).port))
    })
  }

  close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    return new Promise((resolve) => this.#server.close(() => resolve()))
  }

  #accept(socket: Socket): void {
    const peer = (socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/, '')
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('error', () => {})
    const refuse = (reason: 'source' | 'header' | 'timeout'): void => {
      this.#tell({ event: 'refused', reason, peer })
      socket.resetAndDestroy()
    }
    if (!this.#sources.check(peer, peer.includes(':') ? 'ipv6' : 'ipv4')) return refuse('source')
    const timer = setTimeout(() => refuse('timeout'), this.#options.headerTimeoutMs ?? HEADER_TIMEOUT_MS)
    socket.on('close', () => clearTimeout(timer))
    const reader = new HeaderReader({ version: this.#options.version ?? 'either' })
    let held: Buffer = Buffer.alloc(0)
    let tenant: Map<string, string> | null | undefined
    let name: string | null = null
    socket.on('data', (chunk: Buffer) => {
      const read = reader.push(chunk)
      if (read.state === 'incomplete') return
      if (read.state === 'invalid') return refuse('header')
      if (tenant === undefined) {
        clearTimeout(timer)
        const ends = endsOf(read.header.addresses)
        name = ends?.destination ?? null
        tenant = name === null ? null : this.#tenant(name)
        this.#tell({ event: 'header', version: read.header.version, source: ends?.source ?? null, tenant: name })
      }
      held = this.#answer(socket, Buffer.concat([held, read.payload]), tenant, name)
    })
    socket.on('end', () => socket.end())
  }

  #tenant(destination: string): Map<string, string> {
    const known = this.#tenants.get(destination) ?? new Map<string, string>()
    this.#tenants.set(destination, known)
    return known
  }

  /** @returns what is left: part of a request. */
  #answer(socket: Socket, held: Buffer, tenant: Map<string, string> | null, name: string | null): Buffer {
    let rest = held
    for (let request = readRequest(rest); request !== null; request = readRequest(rest)) {
      rest = rest.subarray(request.bytes)
      if (request.words.length > 0) socket.write(reply(request.words, tenant, name))
      if (request.words[0]?.toUpperCase() === 'QUIT') socket.end()
    }
    if (rest.length > MAX_REQUEST_BYTES) socket.destroy()
    return rest
  }

  #tell(event: ForeignEvent): void {
    this.#options.onEvent?.(event)
  }
}

/** Only TCP6 names a tenant. */
function endsOf(addresses: ProxyAddresses): { source: string; destination: string } | null {
  if (addresses.family !== 'ipv6') return null
  return { source: formatIpv6(ipv6FromBytes(addresses.source.ip)), destination: formatIpv6(ipv6FromBytes(addresses.destination.ip)) }
}

function bulk(text: string | undefined): string {
  return text === undefined ? '$-1\r\n' : `$${Buffer.byteLength(text)}\r\n${text}\r\n`
}

function reply(words: readonly string[], tenant: Map<string, string> | null, name: string | null): string {
  const [command = '', key = '', value = ''] = words
  switch (command.toUpperCase()) {
    case 'PING':
      return '+PONG\r\n'
    case 'QUIT':
    case 'CLIENT':
      return '+OK\r\n'
    case 'COMMAND':
      return '*0\r\n'
    case 'INFO':
      return bulk(`# Tenant\r\ntenant:${name ?? ''}\r\n`)
    case 'SET':
      if (tenant === null) return '-ERR no tenant: the header names no IPv6 destination\r\n'
      tenant.set(key, value)
      return '+OK\r\n'
    case 'GET':
      return tenant === null ? '-ERR no tenant: the header names no IPv6 destination\r\n' : bulk(tenant.get(key))
    default:
      return `-ERR unknown command '${command.slice(0, 32)}'\r\n`
  }
}

/** One whole request, an array of bulk strings or an inline line; null when there is none yet. */
function readRequest(bytes: Buffer): { readonly words: string[]; readonly bytes: number } | null {
  const newline = bytes.indexOf('\r\n')
  if (newline < 0) return null
  const line = bytes.toString('latin1', 0, newline)
  if (!line.startsWith('*')) return { words: line.split(' ').filter((word) => word !== ''), bytes: newline + 2 }
  const words: string[] = []
  let offset = newline + 2
  for (let left = Number(line.slice(1)); left > 0; left--) {
    const end = bytes.indexOf('\r\n', offset)
    if (end < 0) return null
    const start = end + 2
    const stop = start + Number(bytes.toString('latin1', offset + 1, end))
    if (bytes.length < stop + 2) return null
    words.push(bytes.toString('utf8', start, stop))
    offset = stop + 2
  }
  return { words, bytes: offset }
}

function say(line: unknown): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

if (import.meta.main) {
  const options = { host: { type: 'string' }, port: { type: 'string' }, allow: { type: 'string', multiple: true }, version: { type: 'string' } } as const
  const { values } = parseArgs({ options })
  const version = values.version === 'v1' || values.version === 'v2' ? values.version : 'either'
  const node = new ForeignNode({ host: values.host ?? '::', port: Number(values.port ?? 0), allow: values.allow ?? [], version, onEvent: say })
  say({ port: await node.start() })
}
