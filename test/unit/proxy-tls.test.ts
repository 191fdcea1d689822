/** TLS at the edge without sockets: the policy's state machine, limits, certificates by name, files that change. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { NetworkId } from '../../lib/address.ts'
import { parseIpv6 } from '../../lib/address.ts'
import { createLogger } from '../../lib/log.ts'
import type { AddressTls, NodeRow } from '../../lib/feed/messages.ts'
import type { PlaneAction, PlaneEvent, TlsServer, TlsSession } from '../../lib/plane/plane.ts'
import { decode } from '../../lib/proxy-protocol/decode.ts'
import { encodeV2 } from '../../lib/proxy-protocol/encode.ts'
import { findTlv } from '../../lib/proxy-protocol/header.ts'
import { decodeSsl } from '../../lib/proxy-protocol/tlv.ts'
import { Connection } from '../../proxy/connection.ts'
import type { ConnectionRecord } from '../../proxy/connection.ts'
import { tlvsOf } from '../../proxy/headers.ts'
import { CertificateFiles } from '../../proxy/tls/certificate-files.ts'
import { Certificates } from '../../proxy/tls/certificates.ts'
import type { CertificateText } from '../../proxy/tls/certificates.ts'
import type { TlsEdge } from '../../proxy/tls/client-tls.ts'
import { Handshakes } from '../../proxy/tls/handshakes.ts'
import { Termination } from '../../proxy/tls/termination.ts'
import { EdgeCa } from '../support/edge-certificates.ts'
import type { EdgeCertificate } from '../support/edge-certificates.ts'
import { until } from '../support/until.ts'

const [ACME, GLOBEX] = [1 as NetworkId, 2 as NetworkId]
const SERVER: TlsServer = { certificate: 'c', key: 'k', ticketKeys: new Uint8Array(48), sessionContext: '' }
const SESSION: TlsSession = { serverName: 'cache.example', protocol: 'TLSv1.3', cipher: 'TLS_AES_256_GCM_SHA384', alpn: null, resumed: false }
const SOURCE = { ip: parseIpv6('fdaa:0:1:2::5'), port: 40_000 }
const DESTINATION = { ip: parseIpv6('fdaa:0:1:0:1::9'), port: 6379 }
const NODE: NodeRow = { id: 'a', region: 'mad', host: 'h', hop: 'v2', endpoint: '[::1]:1', keys: [] }

/** A hello for `cache.example`. */
const HELLO = helloFor('cache.example')

function helloFor(name: string): Buffer {
  const bytes = Buffer.from(name)
  const list = Buffer.concat([Buffer.from([0, 0, bytes.length]), bytes])
  const extension = Buffer.concat([Buffer.from([0, 0, 0, list.length + 2, 0, list.length]), list])
  const body = Buffer.concat([Buffer.from([3, 3]), Buffer.alloc(32), Buffer.from([0, 0, 2, 0x13, 1, 1, 0, 0, extension.length]), extension])
  const message = Buffer.concat([Buffer.from([1, 0, 0, body.length]), body])
  return Buffer.concat([Buffer.from([0x16, 3, 1, 0, message.length]), message])
}

function files(certificate: EdgeCertificate | undefined, key = certificate): CertificateText {
  if (!certificate || !key) throw new Error('no certificate')
  return { file: certificate.certificateFile, certificate: certificate.certificate, key: key.key }
}

class Scene {
  clockMs = 0
  readonly handshakes = new Handshakes({ total: 3, perNetwork: 2 })
  readonly records: ConnectionRecord[] = []
  readonly headers: (readonly [string, unknown])[] = []

  connection(policy: AddressTls['policy'] | null, network = ACME): Connection {
    const edge: TlsEdge = {
      handshakes: this.handshakes,
      server: (_tls, name) => (name === null || name === 'cache.example' ? SERVER : 'unknown-name'),
      handshakeTimeoutMs: 500,
      firstByteMs: 300,
      now: () => this.clockMs,
    }
    const tls = policy === null ? {} : { tls: { policy } }
    return new Connection({
      id: 1,
      route: () => ({ allowed: true, network, org: 'acme', service: 'cache', address: 'fdaa:0:1:0:1::9', generation: 1, ...tls }),
      candidates: () => [{ node: NODE }],
      header: ({ node }, _route, _source, _destination, seen) => {
        this.headers.push([node.id, seen])
        return { target: { kind: 'unix', path: '/x' }, bytes: Buffer.from('header'), expectsStatus: false }
      },
      tls: edge,
      now: () => this.clockMs,
      dialResult: () => undefined,
      ended: (record) => this.records.push(record),
      connectTimeoutMs: () => 100,
      deadlineMs: 1000,
    })
  }
}

const accepted: PlaneEvent = { type: 'accepted', source: SOURCE, destination: DESTINATION, peer: { kind: 'anonymous' } }
const received = (bytes: Uint8Array): PlaneEvent => ({ type: 'received', side: 'client', bytes })
const closed: PlaneEvent = { type: 'closed', result: { bytesUp: 0, bytesDown: 0, durationMs: 1, endedBy: 'client', how: 'end' } }
const kinds = (actions: readonly PlaneAction[]): string[] => actions.map((action) => action.type)
const alertIn = (actions: readonly PlaneAction[]): number | undefined => actions.flatMap((action) => (action.type === 'write' ? [action.bytes[6]] : []))[0]

let scene: Scene
beforeEach(() => {
  scene = new Scene()
})

describe('policy', () => {
  test('without one nothing of the client is read', () => {
    expect(kinds(scene.connection(null).on(accepted))).toEqual(['timer', 'timer', 'dial'])
  })

  test('terminate: hello, handshake, then a dial, and the record tells it', () => {
    const connection = scene.connection('terminate')
    const first = connection.on(accepted)
    expect(kinds(first)).not.toContain('dial')
    expect(first).toContainEqual({ type: 'timer', name: 'tls', afterMs: 500 })
    expect(scene.handshakes.open).toBe(1)
    expect(connection.on(received(HELLO.subarray(0, 20)))).toEqual([])
    scene.clockMs = 200
    expect(connection.on(received(HELLO))).toContainEqual({ type: 'secure', side: 'client', server: SERVER, timeoutMs: 300 })
    expect(scene.handshakes.open).toBe(1)
    scene.clockMs = 2000
    const secured = connection.on({ type: 'secured', side: 'client', session: SESSION })
    expect(kinds(secured)).toContain('dial')
    expect(secured).toContainEqual({ type: 'timer', name: 'deadline', afterMs: 1000 })
    expect(scene.handshakes.open).toBe(0)
    expect(scene.headers).toEqual([['a', { mode: 'terminated', session: SESSION }]])
    scene.clockMs = 2010
    expect(kinds(connection.on({ type: 'dialled' }))).toContain('carry')
    connection.on(closed)
    expect(scene.records[0]).toMatchObject({ outcome: 'carried', connectMs: 10, tls: { mode: 'terminated' } })
  })

  test('terminate: plain bytes are no TLS', () => {
    const connection = scene.connection('terminate')
    connection.on(accepted)
    expect(kinds(connection.on(received(Buffer.from('PING\r\n'))))).toEqual(['reset'])
    connection.on(closed)
    expect(scene.records[0]).toMatchObject({ outcome: 'tls-failed', tls: { mode: 'failed', reason: 'not-tls' }, attempts: [] })
    expect(scene.handshakes.open).toBe(0)
  })

  test('an unknown name: unrecognized_name, before anything is made', () => {
    const connection = scene.connection('terminate')
    connection.on(accepted)
    const actions = connection.on(received(helloFor('other.example')))
    expect(kinds(actions)).toEqual(['write', 'close'])
    expect(alertIn(actions)).toBe(112)
    connection.on(closed)
    expect(scene.records[0]).toMatchObject({ outcome: 'tls-failed', tls: { reason: 'unknown-name', serverName: 'other.example' } })
  })

  test('a malformed hello: decode_error', () => {
    const connection = scene.connection('auto')
    connection.on(accepted)
    expect(alertIn(connection.on(received(Buffer.from([0x16, 3, 1, 0, 0]))))).toBe(50)
  })

  test.each<[string, PlaneEvent]>([
    ['another byte', received(Buffer.from('*1\r\n'))],
    ['silence', { type: 'timer', name: 'tls' }],
    ["the client's end", { type: 'ended', side: 'client' }],
  ])('auto: %s means plain, and no more is read', (_what, event) => {
    const connection = scene.connection('auto')
    expect(connection.on(accepted)).toContainEqual({ type: 'timer', name: 'tls', afterMs: 300 })
    expect(scene.handshakes.open).toBe(0)
    const actions = connection.on(event)
    expect(kinds(actions)).toContain('dial')
    if (event.type !== 'ended') expect(actions).toContainEqual({ type: 'read', side: 'client', limitBytes: 0 })
    expect(scene.headers).toEqual([['a', { mode: 'plain' }]])
  })

  test('auto: 0x16 means TLS, in one arrival or byte by byte', () => {
    const whole = scene.connection('auto')
    whole.on(accepted)
    expect(kinds(whole.on(received(HELLO)))).toContain('secure')
    const slow = scene.connection('auto')
    slow.on(accepted)
    for (let length = 1; length < HELLO.length; length++) expect(kinds(slow.on(received(HELLO.subarray(0, length))))).not.toContain('secure')
    expect(kinds(slow.on(received(HELLO)))).toContain('secure')
    expect(scene.handshakes.open).toBe(2)
  })

  test('passthrough: the hello is looked at and passed on', () => {
    const connection = scene.connection('passthrough')
    connection.on(accepted)
    const actions = connection.on(received(helloFor('other.example')))
    expect(kinds(actions)).toContain('dial')
    expect(kinds(actions)).not.toContain('secure')
    expect(scene.headers).toEqual([['a', { mode: 'passthrough', serverName: 'other.example' }]])
    expect(scene.handshakes.open).toBe(0)
  })

  test.each<[string, PlaneEvent, string]>([
    ['late', { type: 'timer', name: 'tls' }, 'timeout'],
    ['gone', { type: 'ended', side: 'client' }, 'closed'],
  ])('a half hello that is %s is reset', (_what, event, reason) => {
    const connection = scene.connection('terminate')
    connection.on(accepted)
    connection.on(received(HELLO.subarray(0, 9)))
    expect(kinds(connection.on(event))).toEqual(['reset'])
    connection.on(closed)
    expect(scene.records[0]).toMatchObject({ outcome: 'tls-failed', tls: { reason } })
  })

  test('a failed handshake is recorded; one that is cut gives its place back', () => {
    const failing = scene.connection('terminate')
    failing.on(accepted)
    failing.on(received(HELLO))
    expect(failing.on({ type: 'secure-failed', side: 'client', reason: 'client-certificate' })).toEqual([])
    failing.on(closed)
    expect(scene.records[0]).toMatchObject({ outcome: 'tls-failed', tls: { reason: 'client-certificate', serverName: 'cache.example' } })
    const cut = scene.connection('terminate')
    cut.on(accepted)
    cut.on(received(HELLO))
    expect(scene.handshakes.open).toBe(1)
    cut.on(closed)
    expect(scene.handshakes.open).toBe(0)
    expect(scene.records[1]).toMatchObject({ outcome: 'client-gone', tls: null })
  })

  test('half handshakes are bounded per network and in all, before anything is held', () => {
    const [one, two] = [scene.connection('terminate'), scene.connection('terminate')]
    for (const each of [one, two]) each.on(accepted)
    expect(kinds(scene.connection('terminate').on(accepted))).toContain('reset')
    const other = scene.connection('auto', GLOBEX)
    other.on(accepted)
    expect(kinds(other.on(received(HELLO.subarray(0, 5))))).not.toContain('reset')
    const last = scene.connection('auto', GLOBEX)
    last.on(accepted)
    expect(kinds(last.on(received(HELLO)))).toContain('reset')
    // Plain clients are none of it.
    const plain = scene.connection('auto', GLOBEX)
    plain.on(accepted)
    expect(kinds(plain.on(received(Buffer.from('*'))))).toContain('dial')
    one.on(closed)
    expect(kinds(scene.connection('terminate').on(accepted))).not.toContain('reset')
  })
})

describe('what the header says', () => {
  const addresses = { family: 'ipv6', transport: 'stream', source: SOURCE, destination: DESTINATION } as const
  const ssl = (session: TlsSession) => {
    const decoded = decode(encodeV2({ command: 'proxy', addresses, tlvs: tlvsOf({ mode: 'terminated', session }) }))
    if (decoded.state !== 'done') throw new Error('no header')
    const value = findTlv(decoded.header, 0x20)?.value
    const info = value && decodeSsl(value)
    return { info, text: (type: number) => Buffer.from(info?.tlvs.find((each) => each.type === type)?.value ?? []).toString(), header: decoded.header }
  }

  test('SSL, ALPN and AUTHORITY of a terminated client', () => {
    const { info, text, header } = ssl({ ...SESSION, alpn: 'redis' })
    expect([info?.client, info?.verify]).toEqual([1, 1])
    expect([text(0x21), text(0x23), text(0x22)]).toEqual(['TLSv1.3', 'TLS_AES_256_GCM_SHA384', ''])
    expect(Buffer.from(findTlv(header, 0x02)?.value ?? []).toString()).toBe('cache.example')
    expect(Buffer.from(findTlv(header, 0x01)?.value ?? []).toString()).toBe('redis')
  })

  test('a client certificate: verified, its name, over this connection or the session', () => {
    const clientCertificate = { commonName: 'app-1', fingerprint256: 'AA' }
    const fresh = ssl({ ...SESSION, serverName: null, clientCertificate })
    expect([fresh.info?.client, fresh.info?.verify, fresh.text(0x22)]).toEqual([1 | 2 | 4, 0, 'app-1'])
    expect(findTlv(fresh.header, 0x02)).toBeUndefined()
    expect(ssl({ ...SESSION, resumed: true, clientCertificate }).info?.client).toBe(1 | 4)
    expect(ssl({ ...SESSION, clientCertificate: { ...clientCertificate, commonName: 'x'.repeat(300) } }).text(0x22)).toBe('')
  })

  test('plain and failed clients say nothing, passed on ones their name', () => {
    expect([tlvsOf(null), tlvsOf({ mode: 'plain' }), tlvsOf({ mode: 'passthrough', serverName: null })]).toEqual([[], [], []])
    expect(tlvsOf({ mode: 'passthrough', serverName: 'a.b' })).toEqual([{ type: 2, value: Buffer.from('a.b') }])
  })
})

describe('certificates', () => {
  let directory: string
  let ca: EdgeCa
  let [one, wild, other]: readonly (EdgeCertificate | undefined)[] = []
  const log = createLogger('proxy', 'silent')

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'nearcast-tls-'))
    ca = await EdgeCa.create(directory)
    one = await ca.issue(['one.example', 'Eins.example'])
    wild = await ca.issue(['*.wild.example'])
    other = await ca.issue(['other.example'])
  })
  afterAll(() => rmSync(directory, { recursive: true }))

  test('exact names, one label for a wildcard, nobody else', () => {
    const set = new Certificates([files(one), files(wild)])
    const found = ['one.example', 'eins.example', 'a.wild.example', 'wild.example', 'a.b.wild.example', 'two.example', 'example'].map((name) => set.find(name)?.names[0] ?? null)
    expect(found).toEqual(['one.example', 'one.example', '*.wild.example', null, null, null, null])
    expect(set.first?.names[0]).toBe('one.example')
  })

  test('of two for a name, the one that lasts longer', async () => {
    const expired = await ca.issue(['one.example'], { expired: true })
    expect(new Certificates([files(expired), files(one)]).find('one.example')?.certificate).toBe(one?.certificate)
    expect(new Certificates([files(one), files(expired)]).find('one.example')?.certificate).toBe(one?.certificate)
  })

  test('a foreign key, no certificate, no name: refused with the file', async () => {
    expect(() => new Certificates([files(one, other)])).toThrow(/edge-ca-1\.crt can't be used: the key isn't/)
    expect(() => new Certificates([{ ...files(one), certificate: 'nonsense' }])).toThrow(expect.objectContaining({ code: 'tls.certificate-invalid' }))
    expect(() => new Certificates([{ ...files(one), key: 'nonsense' }])).toThrow(expect.objectContaining({ code: 'tls.certificate-invalid' }))
  })

  test('one object per certificate and policy, new ones with new ticket keys or certificates', async () => {
    const cache = await ca.issue(['cache.flycast'])
    const termination = new Termination()
    const plain: AddressTls = { policy: 'terminate' }
    expect(termination.server(plain, 'one.example', null)).toBe('no-certificate')
    termination.use(new Certificates([files(one), files(wild), files(cache)]))
    const server = termination.server(plain, 'one.example', null)
    expect(termination.server({ policy: 'auto' }, 'eins.example', null)).toBe(server)
    expect(termination.server(plain, null, null)).toBe(server)
    expect(termination.server(plain, null, 'unheard-of')).toBe(server)
    expect(termination.server(plain, null, 'cache')).toMatchObject({ certificate: cache.certificate })
    expect(termination.server(plain, 'nobody.example', null)).toBe('unknown-name')
    const strict = termination.server({ policy: 'terminate', clientCa: ca.pem }, 'one.example', null)
    if (typeof server === 'string' || typeof strict === 'string') throw new Error('no server')
    expect(strict.sessionContext).not.toBe(server.sessionContext)
    expect(strict.ticketKeys).toBe(server.ticketKeys)
    termination.rotateTicketKeys()
    const rotated = termination.server(plain, 'one.example', null)
    expect(typeof rotated === 'string' || rotated.ticketKeys === server.ticketKeys).toBe(false)
    termination.use(new Certificates([]))
    expect(termination.server(plain, 'one.example', null)).toBe('no-certificate')
  })

  test('files: taken up when they change, in whatever order; what is wrong leaves the old in force', async () => {
    const place = mkdtempSync(join(directory, 'watched-'))
    const put = (name: string, content: string): void => {
      writeFileSync(join(place, `${name}.new`), content)
      renameSync(join(place, `${name}.new`), join(place, name))
    }
    const sets: Certificates[] = []
    put('a.pem', files(one).certificate)
    put('a.key', files(one).key)
    const watched = new CertificateFiles({ certificates: [], directory: place, log, changed: (set) => sets.push(set) })
    try {
      watched.start()
      expect(sets.map((set) => set.all.length)).toEqual([1])
      put('b.crt', files(wild).certificate)
      put('b.key', files(wild).key)
      await until('the second is in force', () => sets.at(-1)?.find('x.wild.example') !== null)
      put('a.pem', files(other).certificate)
      await until('the mismatch is told', () => watched.fault !== null)
      expect(watched.fault).toMatchObject({ code: 'tls.certificate-invalid', message: expect.stringContaining('a.pem') })
      expect(sets.at(-1)?.find('one.example')).not.toBeNull()
      put('a.key', files(other).key)
      await until('mended', () => watched.fault === null)
      expect(sets.at(-1)?.find('one.example')).toBeNull()
      expect(sets.at(-1)?.find('other.example')).not.toBeNull()
      const count = sets.length
      watched.reload()
      expect(sets.length).toBe(count)
    } finally {
      watched.close()
    }
  })

  test('a file that is not there is a fault and not the end; it may come later', async () => {
    const place = mkdtempSync(join(directory, 'late-'))
    const pair = { certificate: join(place, 'c.pem'), key: join(place, 'c.key') }
    const sets: Certificates[] = []
    const watched = new CertificateFiles({ certificates: [pair], log, changed: (set) => sets.push(set) })
    try {
      watched.start()
      expect([watched.fault?.code, sets.length]).toEqual(['tls.certificate-unreadable', 0])
      writeFileSync(pair.key, files(one).key)
      writeFileSync(pair.certificate, files(one).certificate)
      await until('in force', () => sets.length === 1 && watched.fault === null)
    } finally {
      watched.close()
    }
  })
})
