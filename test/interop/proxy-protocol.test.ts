/**
 * Our headers read by others, theirs read by us: proxy-protocol-js, HAProxy, nginx (stream).
 * HAProxy and nginx are real processes; where one is missing its tests are skipped with the reason.
 */
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { connect } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { Peer, V1BinaryProxyProtocol, V2ProxyProtocol } from 'proxy-protocol-js'
import * as oracle from 'proxy-protocol-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { formatIpv6, ipv6FromBytes, parseIpv6 } from '../../lib/address.ts'
import { encodeConnection } from '../../lib/hop/header.ts'
import { SSL_CLIENT, TLV, TLV_SSL } from '../../lib/proxy-protocol/constants.ts'
import { decode } from '../../lib/proxy-protocol/decode.ts'
import { encodeV1, encodeV2 } from '../../lib/proxy-protocol/encode.ts'
import type { ProxyAddresses, ProxyHeader } from '../../lib/proxy-protocol/header.ts'
import { findTlv } from '../../lib/proxy-protocol/header.ts'
import { decodeSsl } from '../../lib/proxy-protocol/tlv.ts'
import { createTestCa } from '../support/certificates.ts'
import { foreignVersion, ForeignProxy, freePort, nginxStreamModule } from '../support/foreign-proxy.ts'
import { HeaderCollector } from '../support/header-collector.ts'
import { randomAddresses } from '../support/proxy-headers.ts'
import { Random, testSeed } from '../support/random.ts'

const flycast: ProxyAddresses = {
  family: 'ipv6',
  transport: 'stream',
  source: { ip: parseIpv6('fdaa:0:47fb:2:3:4:5:6'), port: 40_000 },
  destination: { ip: parseIpv6('fdaa:0:47fb:0:1::16'), port: 6379 },
}
const ipv4: ProxyAddresses = {
  family: 'ipv4',
  transport: 'stream',
  source: { ip: Uint8Array.of(192, 0, 2, 7), port: 40_001 },
  destination: { ip: Uint8Array.of(192, 0, 2, 8), port: 6380 },
}
const FLYCAST_SEEN = 'fdaa:0:47fb:2:3:4:5:6 fdaa:0:47fb:0:1::16 40000 6379'
const IPV4_SEEN = '192.0.2.7 192.0.2.8 40001 6380'
const tlvs = [
  { type: TLV.authority, value: Buffer.from('cache.flycast') },
  { type: TLV.uniqueId, value: Buffer.from('0001') },
  { type: TLV.noop, value: new Uint8Array(0) },
  { type: 0xe0, value: Uint8Array.of(0, 1, 0, 255) },
]

function theirs(addresses: ProxyAddresses): V2ProxyProtocol {
  if (addresses.family === 'unspecified') throw new Error('unreachable')
  const transport = addresses.transport === 'stream' ? oracle.TransportProtocol.STREAM : oracle.TransportProtocol.DGRAM
  const { Command } = oracle
  if (addresses.family === 'unix') {
    const [source, destination] = [addresses.source, addresses.destination].map((path) => oracle.UnixAddress.createFrom([...path]))
    if (!source || !destination) throw new Error('unreachable')
    return new V2ProxyProtocol(Command.PROXY, transport, new oracle.UnixProxyAddress(source, destination))
  }
  const { source, destination, family } = addresses
  const made =
    family === 'ipv4'
      ? new oracle.IPv4ProxyAddress(oracle.IPv4Address.createFrom([...source.ip]), source.port, oracle.IPv4Address.createFrom([...destination.ip]), destination.port)
      : new oracle.IPv6ProxyAddress(oracle.IPv6Address.createFrom([...source.ip]), source.port, oracle.IPv6Address.createFrom([...destination.ip]), destination.port)
  return new V2ProxyProtocol(Command.PROXY, transport, made)
}

describe('proxy-protocol-js', () => {
  const random = new Random(testSeed('interop proxy-protocol-js'))
  const rounds = Array.from({ length: 500 }, () => randomAddresses(random, ['ipv4', 'ipv6', 'unix']))

  test('version 2: the same bytes, and they read ours', () => {
    for (const addresses of rounds) {
      const ours = encodeV2({ command: 'proxy', addresses })
      expect(Buffer.from(ours).equals(theirs(addresses).build())).toBe(true)
      expect(V2ProxyProtocol.parse(ours).proxyAddress).toEqual(theirs(addresses).proxyAddress)
      expect(decode(theirs(addresses).build())).toMatchObject({ state: 'done', header: { command: 'proxy', addresses } })
    }
  })

  test('version 1: the same bytes, and they read ours', () => {
    for (const addresses of rounds) {
      if (addresses.family === 'unix' || addresses.family === 'unspecified') continue
      const stream = { ...addresses, transport: 'stream' as const }
      const text = (ip: Uint8Array): string => (addresses.family === 'ipv4' ? ip.join('.') : formatIpv6(ipv6FromBytes(ip)))
      const [source, destination] = [addresses.source, addresses.destination].map(({ ip, port }) => new Peer(text(ip), port))
      if (!source || !destination) throw new Error('unreachable')
      const protocol = addresses.family === 'ipv4' ? oracle.INETProtocol.TCP4 : oracle.INETProtocol.TCP6
      const bytes = new V1BinaryProxyProtocol(protocol, source, destination).build()
      expect(Buffer.from(encodeV1(stream)).equals(bytes)).toBe(true)
      expect(V1BinaryProxyProtocol.parse(encodeV1(stream))).toMatchObject({ inetProtocol: protocol, source, destination })
      expect(decode(bytes)).toMatchObject({ state: 'done', header: { version: 1, addresses: stream } })
    }
  })
})

/** Writes in one piece, answers what comes back until the end. */
async function exchange(path: string, bytes: Uint8Array): Promise<string> {
  const socket = connect(path)
  const chunks: Buffer[] = []
  let failure = ''
  socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', (error) => (failure = error.message))
  socket.write(bytes)
  await new Promise((resolve) => socket.on('close', resolve))
  return Buffer.concat(chunks).toString() + failure
}

/** Says something through a foreign proxy. The caller destroys the socket. */
async function speak(socket: Socket, payload: string, ready = 'connect'): Promise<{ address: string; port: number }> {
  await once(socket, ready)
  socket.on('error', () => {})
  socket.write(payload)
  return { address: socket.localAddress ?? '', port: socket.localPort ?? 0 }
}

/** What HAProxy answers when it saw `seen`: addresses, ports, then authority and unique id. */
function httpAnswer(seen: string): RegExp {
  return new RegExp(`200 OK[^]*\r\n\r\n${seen.replaceAll('.', '\\.')}$`)
}

const HTTP = Buffer.from('GET / HTTP/1.0\r\n\r\n')
const haproxy = foreignVersion('haproxy')
if (haproxy === null) process.stdout.write('skipped: HAProxy is not installed\n')

describe.skipIf(haproxy === null)(`HAProxy (${haproxy})`, () => {
  const proxy = new ForeignProxy()
  const collector = new HeaderCollector()
  const checks = new HeaderCollector()
  const ports = { v1: 0, v2: 0, all: 0, v1Ipv4: 0 }

  beforeAll(async () => {
    const [to, checked] = [await collector.listen(), await checks.listen()]
    for (const name of ['v1', 'v2', 'all', 'v1Ipv4'] as const) ports[name] = await freePort()
    const { certificate, key } = createTestCa(proxy.dir).issue('nearcast://proxy/foreign')
    writeFileSync(join(proxy.dir, 'server.pem'), certificate + key)
    await proxy.start(
      'haproxy',
      `
defaults
  mode tcp
  timeout connect 5s
  timeout client 5s
  timeout server 5s
listen v1
  bind ::1:${ports.v1}
  server s [::1]:${to} send-proxy
listen v1-ipv4
  bind 127.0.0.1:${ports.v1Ipv4}
  server s [::1]:${to} send-proxy
listen v2
  bind ::1:${ports.v2}
  server s [::1]:${to} send-proxy-v2
listen all
  bind ::1:${ports.all} ssl crt ${join(proxy.dir, 'server.pem')}
  unique-id-format %[src_port,hex]
  server s [::1]:${to} send-proxy-v2-ssl-cn proxy-v2-options crc32c,unique-id,authority,ssl,cert-key,cert-sig,ssl-cipher
backend checked
  server s [::1]:${checked} check inter 50ms send-proxy-v2 check-send-proxy
frontend receive
  mode http
  bind unix@${proxy.ready} accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src] %[dst] %[src_port] %[dst_port] %[fc_pp_authority] %[fc_pp_unique_id]"
`,
    )
  })
  afterAll(async () => {
    await proxy.stop()
    await collector.close()
    await checks.close()
  })

  test.each<[string, () => Uint8Array, RegExp]>([
    ['version 1', () => encodeV1(flycast), httpAnswer(`${FLYCAST_SEEN}  `)],
    ['version 1 of IPv4', () => encodeV1(ipv4), httpAnswer(`${IPV4_SEEN}  `)],
    ['version 1, UNKNOWN', () => encodeV1({ family: 'unspecified' }), /200 OK/],
    ['version 2', () => encodeV2({ command: 'proxy', addresses: flycast }), httpAnswer(`${FLYCAST_SEEN}  `)],
    ['version 2 of IPv4', () => encodeV2({ command: 'proxy', addresses: ipv4 }), httpAnswer(`${IPV4_SEEN}  `)],
    ['version 2 with TLVs and a checksum', () => encodeV2({ command: 'proxy', addresses: flycast, tlvs, crc32c: true }), httpAnswer(`${FLYCAST_SEEN} cache.flycast 0001`)],
    ['version 2, LOCAL', () => encodeV2({ command: 'local', addresses: { family: 'unspecified' } }), /200 OK/],
    ['version 2, LOCAL with TLVs', () => encodeV2({ command: 'local', addresses: { family: 'unspecified' }, tlvs, crc32c: true }), /200 OK/],
    ['a signed header of the hop', signedHeader, httpAnswer(`${FLYCAST_SEEN}  `)],
  ])('%s: it reads ours', async (_name, header, expected) => {
    expect(await exchange(proxy.ready, Buffer.concat([header(), HTTP]))).toMatch(expected)
  })

  test('it judges our checksum as we do', async () => {
    const wrong = encodeV2({ command: 'proxy', addresses: flycast, tlvs, crc32c: true })
    wrong[20] = (wrong[20] ?? 0) ^ 1
    expect(decode(wrong).state).toBe('invalid')
    expect(await exchange(proxy.ready, Buffer.concat([wrong, HTTP]))).not.toContain('200 OK')
  })

  test.each([
    ['v1', 1],
    ['v2', 2],
  ] as const)('we read its %s', async (name, version) => {
    const socket = connect(ports[name], '::1')
    const own = await speak(socket, `hello ${name}`)
    const { header } = await collector.find(name, ({ payload }) => payload === `hello ${name}`)
    expect(header.version).toBe(version)
    expect(ends(header)).toBe(`::1 ${own.port} ::1 ${ports[name]}`)
    socket.destroy()
  })

  test('we read its v1 of IPv4', async () => {
    const socket = connect(ports.v1Ipv4, '127.0.0.1')
    const own = await speak(socket, 'hello IPv4')
    const { header } = await collector.find('v1 of IPv4', ({ payload }) => payload === 'hello IPv4')
    expect(header).toMatchObject({
      version: 1,
      addresses: {
        family: 'ipv4',
        source: { ip: Uint8Array.of(127, 0, 0, 1), port: own.port },
        destination: { ip: Uint8Array.of(127, 0, 0, 1), port: ports.v1Ipv4 },
      },
    })
    socket.destroy()
  })

  test('we read its v2 with TLS members, authority, unique id and checksum', async () => {
    const socket = connectTls({ port: ports.all, host: '::1', servername: 'cache.flycast', rejectUnauthorized: false, minVersion: 'TLSv1.3' })
    const own = await speak(socket, 'hello TLS', 'secureConnect')
    const { header } = await collector.find('TLS', ({ payload }) => payload === 'hello TLS')
    expect(ends(header)).toBe(`::1 ${own.port} ::1 ${ports.all}`)
    const text = (type: number): string | undefined => {
      const tlv = findTlv(header, type)
      return tlv && Buffer.from(tlv.value).toString()
    }
    expect(text(TLV.authority)).toBe('cache.flycast')
    expect(text(TLV.uniqueId)?.length).toBeGreaterThan(0)
    expect(findTlv(header, TLV.crc32c)?.value.length).toBe(4)
    const ssl = decodeSsl(findTlv(header, TLV.ssl)?.value ?? new Uint8Array(0))
    expect(ssl?.client).toBe(SSL_CLIENT.ssl)
    const sub = (type: number): string => Buffer.from(ssl?.tlvs.find((tlv) => tlv.type === type)?.value ?? []).toString()
    expect(sub(TLV_SSL.version)).toBe('TLSv1.3')
    expect(sub(TLV_SSL.cipher)).toMatch(/^TLS_/)
    socket.destroy()
  })

  test('we read the LOCAL of its health checks', async () => {
    const { header } = await checks.find('a check', () => true)
    expect(header).toMatchObject({ version: 2, command: 'local', addresses: { family: 'unspecified' } })
  })
})

const streamModule = nginxStreamModule()
if (streamModule === null) process.stdout.write('skipped: nginx with its stream module is not installed\n')

describe.skipIf(streamModule === null)(`nginx (${foreignVersion('nginx')})`, () => {
  const proxy = new ForeignProxy()
  const collector = new HeaderCollector()
  let port = 0

  beforeAll(async () => {
    const to = await collector.listen()
    port = await freePort()
    await proxy.start(
      'nginx',
      `
${streamModule}
daemon off;
master_process off;
pid ${join(proxy.dir, 'nginx.pid')};
events { worker_connections 64; }
stream {
  server {
    listen [::1]:${port};
    proxy_pass [::1]:${to};
    proxy_protocol on;
  }
  server {
    listen unix:${proxy.ready} proxy_protocol;
    return "$proxy_protocol_addr $proxy_protocol_server_addr $proxy_protocol_port $proxy_protocol_server_port";
  }
}
`,
    )
  })
  afterAll(async () => {
    await proxy.stop()
    await collector.close()
  })

  test.each<[string, () => Uint8Array, string]>([
    ['version 1', () => encodeV1(flycast), FLYCAST_SEEN],
    ['version 1 of IPv4', () => encodeV1(ipv4), IPV4_SEEN],
    ['version 2', () => encodeV2({ command: 'proxy', addresses: flycast }), FLYCAST_SEEN],
    ['version 2 of IPv4', () => encodeV2({ command: 'proxy', addresses: ipv4 }), IPV4_SEEN],
    ['version 2 with TLVs', () => encodeV2({ command: 'proxy', addresses: flycast, tlvs }), FLYCAST_SEEN],
  ])('%s: it reads ours', async (_name, header, seen) => {
    expect(await exchange(proxy.ready, header())).toBe(seen)
  })

  test('we read its v1', async () => {
    const socket = connect(port, '::1')
    const own = await speak(socket, 'hello nginx')
    const { header } = await collector.find('nginx', ({ payload }) => payload === 'hello nginx')
    expect(header.version).toBe(1)
    expect(ends(header)).toBe(`::1 ${own.port} ::1 ${port}`)
    socket.destroy()
  })
})

function signedHeader(): Uint8Array {
  if (flycast.family !== 'ipv6') throw new Error('unreachable')
  const [source, destination] = [flycast.source, flycast.destination].map(({ ip, port }) => ({ ip: ipv6FromBytes(ip), port }))
  if (!source || !destination) throw new Error('unreachable')
  const names = { purpose: 'client', dialer: 'proxy/mad-1', agent: 'gru-1', service: 'cache' } as const
  const numbers = { generation: 1, epoch: 1, session: new Uint8Array(16), worker: 0, counter: 1n }
  return encodeConnection({ ...names, ...numbers, source, destination }, new Uint8Array(32))
}

/** `source port destination port` of an IPv6 header. */
function ends({ addresses }: ProxyHeader): string {
  if (addresses.family !== 'ipv6') return addresses.family
  return [addresses.source, addresses.destination].map(({ ip, port }) => `${formatIpv6(ipv6FromBytes(ip))} ${port}`).join(' ')
}
