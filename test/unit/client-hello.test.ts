import { once } from 'node:events'
import { createServer } from 'node:net'
import { connect } from 'node:tls'
import type { ConnectionOptions } from 'node:tls'
import { array, assert, integer, nat, oneof, property, tuple, uint8Array, uniqueArray } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MAX_HELLO_BYTES, MAX_HELLO_RECORDS, MAX_HELLO_WIRE_BYTES, parseClientHello } from '../../proxy/tls/client-hello.ts'
import { testSeed } from '../support/random.ts'

/** What Node's OpenSSL sends first. */
async function realHello(options: ConnectionOptions): Promise<Buffer> {
  const server = createServer().listen(0, '::1')
  await once(server, 'listening')
  const client = connect({ host: '::1', port: Number(Object(server.address()).port), rejectUnauthorized: false, ...options })
  client.on('error', () => undefined)
  const [socket] = await once(server, 'connection')
  const [bytes] = await once(socket, 'data')
  client.destroy()
  socket.destroy()
  server.close()
  return bytes
}

const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff])
const vector8 = (bytes: Buffer): Buffer => Buffer.concat([Buffer.from([bytes.length]), bytes])
const vector16 = (bytes: Buffer): Buffer => Buffer.concat([u16(bytes.length), bytes])
const extension = (type: number, bytes: Buffer): Buffer => Buffer.concat([u16(type), vector16(bytes)])
const serverName = (...names: string[]): Buffer =>
  extension(0, vector16(Buffer.concat(names.map((name) => Buffer.concat([Buffer.from([0]), vector16(Buffer.from(name, 'latin1'))])))))

interface Parts {
  readonly version?: number
  readonly session?: Buffer
  readonly suites?: Buffer
  readonly compressions?: Buffer
  readonly extensions?: readonly Buffer[] | null
  readonly tail?: Buffer
}

function message(parts: Parts = {}): Buffer {
  const { version = 0x0303, session = Buffer.alloc(32), suites = Buffer.from([0x13, 1]), compressions = Buffer.from([0]), extensions = [], tail = Buffer.alloc(0) } = parts
  const body = [u16(version), Buffer.alloc(32, 7), vector8(session), vector16(suites), vector8(compressions)]
  if (extensions !== null) body.push(vector16(Buffer.concat(extensions)))
  const whole = Buffer.concat([...body, tail])
  return Buffer.concat([Buffer.from([1, whole.length >> 16, (whole.length >> 8) & 0xff, whole.length & 0xff]), whole])
}

function record(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0x16, 3, 1]), vector16(bytes)])
}

const hello = (parts?: Parts): Buffer => record(message(parts))

describe('ClientHello', () => {
  test('what OpenSSL sends: name, protocols, versions', async () => {
    const bytes = await realHello({ servername: 'Cache.Flycast', ALPNProtocols: ['redis', 'h2'] })
    expect(parseClientHello(bytes)).toEqual({ state: 'done', hello: { serverName: 'cache.flycast', alpn: ['redis', 'h2'], versions: [0x0304, 0x0303] } })
    const bare = await realHello({ maxVersion: 'TLSv1.2' })
    expect(parseClientHello(bare)).toEqual({ state: 'done', hello: { serverName: null, alpn: [], versions: [0x0303] } })
  })

  test('every prefix is incomplete, never wrong, and what follows the hello is left alone', async () => {
    const bytes = await realHello({ servername: 'cache.flycast' })
    const whole = parseClientHello(bytes)
    for (let length = 0; length < bytes.length; length++) expect(parseClientHello(bytes.subarray(0, length))).toEqual({ state: 'incomplete' })
    expect(parseClientHello(Buffer.concat([bytes, Buffer.from('more')]))).toEqual(whole)
  })

  test('cut into records anywhere, it says the same', () => {
    const seed = testSeed('client-hello records')
    const bytes = message({ extensions: [serverName('a.example'), extension(16, vector16(vector8(Buffer.from('redis'))))] })
    assert(
      property(uniqueArray(integer({ min: 1, max: bytes.length - 1 }), { maxLength: MAX_HELLO_RECORDS - 1 }), (cuts) => {
        const edges = [0, ...cuts.toSorted((left, right) => left - right), bytes.length]
        const records = edges.slice(1).map((edge, index) => record(bytes.subarray(edges[index], edge)))
        const wire = Buffer.concat(records)
        expect(parseClientHello(wire)).toEqual({ state: 'done', hello: { serverName: 'a.example', alpn: ['redis'], versions: [0x0303] } })
        for (let length = 0; length < wire.length; length += 7) expect(parseClientHello(wire.subarray(0, length)).state).toBe('incomplete')
      }),
      { seed, numRuns: 100 },
    )
  })

  test.each<[string, Buffer, string]>([
    ['another first byte', Buffer.from('*1\r\n$4\r\nPING\r\n'), 'no handshake record'],
    ['an alert', Buffer.from([0x15, 3, 3, 0, 2, 2, 40]), 'no handshake record'],
    ['another protocol', Buffer.from([0x16, 0x45]), 'no version of TLS'],
    ['SSL 2', hello({ version: 0x0200 }), 'no version of TLS'],
    ['an empty record', Buffer.from([0x16, 3, 1, 0, 0]), 'a record of a length that is not allowed'],
    ['a record that is too long', Buffer.from([0x16, 3, 1, 0x40, 1]), 'a record of a length that is not allowed'],
    ['a ServerHello', record(Buffer.from([2, 0, 0, 0])), 'no ClientHello'],
    ['a hello that would be too long', record(Buffer.from([1, 0, 0x40, 1])), 'too long'],
    ['two messages in a record', record(Buffer.concat([message(), message()])), 'more than a ClientHello'],
    ['crumbs', Buffer.concat([...message().subarray(0, 40)].map((byte) => record(Buffer.from([byte])))), 'cut into too many records'],
    ['an empty body', record(Buffer.from([1, 0, 0, 0])), 'cut short'],
    ['a long session id', hello({ session: Buffer.alloc(33) }), 'a session id that is too long'],
    ['no suites', hello({ suites: Buffer.alloc(0) }), 'no list of cipher suites'],
    ['half a suite', hello({ suites: Buffer.alloc(3) }), 'no list of cipher suites'],
    ['no compression', hello({ compressions: Buffer.alloc(0) }), 'no list of compressions'],
    ['bytes behind the extensions', hello({ tail: Buffer.from([1]) }), 'bytes left over'],
    ['an extension twice', hello({ extensions: [serverName('a.b'), serverName('a.b')] }), 'an extension twice'],
    ['an extension that is longer than its list', hello({ extensions: [Buffer.from([0, 1, 0, 9])] }), 'cut short'],
    ['two names', hello({ extensions: [serverName('a.b', 'c.d')] }), 'two server names'],
    ['no names', hello({ extensions: [extension(0, vector16(Buffer.alloc(0)))] }), 'an empty list of server names'],
    ['a name with a NUL', hello({ extensions: [serverName('a.b\0.c')] }), 'a server name that is no host name'],
    ['an empty name', hello({ extensions: [serverName('')] }), 'a server name that is no host name'],
    ['a name of 300', hello({ extensions: [serverName('a.'.repeat(150))] }), 'a server name that is no host name'],
    ['a name for a log', hello({ extensions: [serverName('a\n{"msg":"x"}')] }), 'a server name that is no host name'],
    ['an address', hello({ extensions: [serverName('fdaa::1')] }), 'a server name that is no host name'],
    ['an empty protocol', hello({ extensions: [extension(16, vector16(vector8(Buffer.alloc(0))))] }), 'an empty protocol name'],
    ['no protocols', hello({ extensions: [extension(16, vector16(Buffer.alloc(0)))] }), 'an empty list of protocols'],
    ['half a version', hello({ extensions: [extension(43, vector8(Buffer.from([3])))] }), 'cut short'],
    ['no versions', hello({ extensions: [extension(43, vector8(Buffer.alloc(0)))] }), 'an empty list of versions'],
  ])('%s is refused: %#', (_what, bytes, reason) => {
    expect(parseClientHello(bytes)).toEqual({ state: 'invalid', reason })
  })

  test('without extensions (an old client) and with a dot at the end of its name', () => {
    expect(parseClientHello(hello({ extensions: null }))).toEqual({ state: 'done', hello: { serverName: null, alpn: [], versions: [0x0303] } })
    expect(parseClientHello(hello({ extensions: [serverName('A_1.Example.')] }))).toMatchObject({ hello: { serverName: 'a_1.example' } })
  })

  test('the longest hello fits the limit of what has to be held, in as many records as it may have', () => {
    const room = MAX_HELLO_BYTES - message().length + 4
    const bytes = message({ extensions: [extension(21, Buffer.alloc(room - 4))] })
    expect(bytes.length).toBe(4 + MAX_HELLO_BYTES)
    const size = Math.ceil(bytes.length / MAX_HELLO_RECORDS)
    const wire = Buffer.concat(Array.from({ length: MAX_HELLO_RECORDS }, (_, index) => record(bytes.subarray(index * size, (index + 1) * size))))
    expect(wire.length).toBe(MAX_HELLO_WIRE_BYTES)
    expect(parseClientHello(wire).state).toBe('done')
    expect(parseClientHello(wire.subarray(0, -1)).state).toBe('incomplete')
  })

  test('whatever comes, it answers and keeps its limits', async () => {
    const seed = testSeed('client-hello fuzz')
    const valid = await realHello({ servername: 'cache.flycast', ALPNProtocols: ['redis'] })
    const states = new Set<string>()
    const flipped = array(tuple(nat(valid.length - 1), nat(255)), { minLength: 1, maxLength: 6 }).map((flips) => {
      const bytes = Buffer.from(valid)
      for (const [offset, value] of flips) bytes[offset] = value
      return bytes
    })
    const noise = uint8Array({ maxLength: 600 }).map((bytes) => Buffer.concat([Buffer.from([0x16, 3, 1]), bytes]))
    assert(
      property(oneof(flipped, noise), nat(700), (bytes, cut) => {
        const parsed = parseClientHello(bytes.subarray(0, cut))
        const whole = parseClientHello(bytes)
        states.add(whole.state)
        // More bytes complete a hello or show that it is wrong; they never change what has been said.
        if (parsed.state !== 'incomplete') expect(whole).toEqual(parsed)
        if (whole.state === 'done') expect(whole.hello.serverName ?? 'x').toMatch(/^[a-z0-9_.-]{1,253}$/)
      }),
      { seed, numRuns: 3000 },
    )
    expect([...states].toSorted()).toEqual(['done', 'incomplete', 'invalid'])
  })
})
