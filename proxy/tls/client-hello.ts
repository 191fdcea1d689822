/**
 * Reads a TLS ClientHello (RFC 8446 section 4.1.2; RFC 6066 section 3 for the name), to know the server name before any
 * TLS library is asked for memory. Pure and incremental: give it everything received so far, again and again.
 *
 * It checks the structure that it reads, not the offer: a hello that is `done` may still be refused by the TLS library.
 * Limits: MAX_HELLO_BYTES for the message, MAX_HELLO_RECORDS for the records it comes in; more is `invalid` before it
 * has arrived.
 */
export const MAX_HELLO_BYTES = 16_384
/** One is usual; a hello may be cut into records, but not into crumbs. */
export const MAX_HELLO_RECORDS = 16
/** Everything that may have to be held until a hello is read: the message and a head per record. */
export const MAX_HELLO_WIRE_BYTES = 4 + MAX_HELLO_BYTES + 5 * MAX_HELLO_RECORDS
/** The first byte of every TLS connection: a record of type handshake. */
export const TLS_FIRST_BYTE = 0x16

const RECORD_HEAD_BYTES = 5
const MAX_RECORD_BYTES = 16_384
const CLIENT_HELLO = 1
const EXTENSION = { serverName: 0, alpn: 16, supportedVersions: 43 } as const
const HOST_NAME = 0
/** What may be looked up as a name: no address, no port, no byte that looks different in a log. */
const NAME = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/

export interface ClientHello {
  /** Lower case, without a dot at its end; null when the client names none. */
  readonly serverName: string | null
  /** Offered protocols, as the client ordered them. */
  readonly alpn: readonly string[]
  /** Offered versions: 0x0303 is TLS 1.2, 0x0304 is 1.3. */
  readonly versions: readonly number[]
}

export type ParsedHello =
  | { readonly state: 'incomplete' }
  | { readonly state: 'done'; readonly hello: ClientHello }
  | { readonly state: 'invalid'; readonly reason: string }

const INCOMPLETE: ParsedHello = { state: 'incomplete' }

export function parseClientHello(bytes: Uint8Array): ParsedHello {
  const message = handshakeMessage(bytes)
  if (message === null) return INCOMPLETE
  if (typeof message === 'string') return { state: 'invalid', reason: message }
  try {
    return { state: 'done', hello: readHello(new Reader(message)) }
  } catch (error) {
    if (error instanceof Malformed) return { state: 'invalid', reason: error.message }
    throw error
  }
}

/** The first handshake message, out of its records; null while bytes are missing; a reason when there can't be one. */
function handshakeMessage(bytes: Uint8Array): Uint8Array | string | null {
  const parts: Uint8Array[] = []
  let held = 0
  let wanted = 4
  let offset = 0
  for (let records = 0; held < wanted; records++) {
    if (offset < bytes.length && bytes[offset] !== TLS_FIRST_BYTE) return 'no handshake record'
    if (offset + 1 < bytes.length && bytes[offset + 1] !== 3) return 'no version of TLS'
    if (records === MAX_HELLO_RECORDS) return 'cut into too many records'
    if (bytes.length - offset < RECORD_HEAD_BYTES) return null
    const length = u16(bytes, offset + 3)
    if (length === 0 || length > MAX_RECORD_BYTES) return 'a record of a length that is not allowed'
    const part = bytes.subarray(offset + RECORD_HEAD_BYTES, offset + RECORD_HEAD_BYTES + length)
    parts.push(part)
    held += part.length
    if (wanted === 4) {
      const head = Buffer.concat(parts, Math.min(held, 4))
      if (head.length > 0 && head[0] !== CLIENT_HELLO) return 'no ClientHello'
      if (head.length === 4) {
        const size = head.readUIntBE(1, 3)
        if (size > MAX_HELLO_BYTES) return 'too long'
        wanted = 4 + size
      }
    }
    if (held < wanted && part.length < length) return null
    offset += RECORD_HEAD_BYTES + length
  }
  // What the last record holds beyond the message would be a second one, which no client may send yet.
  const whole = Buffer.concat(parts)
  return whole.length > wanted ? 'more than a ClientHello' : whole.subarray(4)
}

class Malformed extends Error {}

/** Vectors in their order; everything missing or left over is malformed. */
class Reader {
  readonly #bytes: Uint8Array
  #offset = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get left(): number {
    return this.#bytes.length - this.#offset
  }

  take(length: number): Uint8Array {
    if (length > this.left) throw new Malformed('cut short')
    this.#offset += length
    return this.#bytes.subarray(this.#offset - length, this.#offset)
  }

  u8(): number {
    return this.take(1)[0] ?? 0
  }

  u16(): number {
    return u16(this.take(2), 0)
  }

  /** A vector with its length in one byte or two before it. */
  vector(lengthBytes: 1 | 2): Reader {
    return new Reader(this.take(lengthBytes === 1 ? this.u8() : this.u16()))
  }

  rest(): Uint8Array {
    return this.take(this.left)
  }

  end(): void {
    if (this.left > 0) throw new Malformed('bytes left over')
  }
}

function readHello(reader: Reader): ClientHello {
  const legacyVersion = reader.u16()
  if (legacyVersion >> 8 !== 3) throw new Malformed('no version of TLS')
  reader.take(32)
  if (reader.vector(1).left > 32) throw new Malformed('a session id that is too long')
  const suites = reader.vector(2).left
  if (suites === 0 || suites % 2 !== 0) throw new Malformed('no list of cipher suites')
  if (reader.vector(1).left === 0) throw new Malformed('no list of compressions')
  const extensions = reader.left === 0 ? new Map<number, Reader>() : readExtensions(reader.vector(2))
  reader.end()
  return {
    serverName: readServerName(extensions.get(EXTENSION.serverName)),
    alpn: readAlpn(extensions.get(EXTENSION.alpn)),
    versions: readVersions(extensions.get(EXTENSION.supportedVersions)) ?? [legacyVersion],
  }
}

function readExtensions(reader: Reader): Map<number, Reader> {
  const extensions = new Map<number, Reader>()
  while (reader.left > 0) {
    const type = reader.u16()
    if (extensions.has(type)) throw new Malformed('an extension twice')
    extensions.set(type, reader.vector(2))
  }
  return extensions
}

function readServerName(extension: Reader | undefined): string | null {
  if (!extension) return null
  const list = extension.vector(2)
  extension.end()
  let name: string | null = null
  while (list.left > 0) {
    const type = list.u8()
    const value = Buffer.from(list.vector(2).rest()).toString('latin1')
    if (type !== HOST_NAME) continue
    if (name !== null) throw new Malformed('two server names')
    name = value.toLowerCase().replace(/\.$/, '')
    if (!NAME.test(name)) throw new Malformed('a server name that is no host name')
  }
  if (name === null) throw new Malformed('an empty list of server names')
  return name
}

function readAlpn(extension: Reader | undefined): string[] {
  if (!extension) return []
  const list = extension.vector(2)
  extension.end()
  const names: string[] = []
  while (list.left > 0) {
    const name = list.vector(1)
    if (name.left === 0) throw new Malformed('an empty protocol name')
    names.push(Buffer.from(name.rest()).toString('latin1'))
  }
  if (names.length === 0) throw new Malformed('an empty list of protocols')
  return names
}

function readVersions(extension: Reader | undefined): number[] | null {
  if (!extension) return null
  const list = extension.vector(1)
  extension.end()
  const versions: number[] = []
  while (list.left > 0) versions.push(list.u16())
  if (versions.length === 0) throw new Malformed('an empty list of versions')
  return versions
}

function u16(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0)
}
