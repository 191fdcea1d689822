/**
 * What a dial to a node begins with, by the node's hop: a signed v2 header (lib/hop), or plain v2 or v1 towards foreign
 * nodes that read PROXY headers themselves. Source and destination are the client's own: the DESTINATION is the tenant.
 */
import { encodeConnection } from '../lib/hop/header.ts'
import { signingKey } from '../lib/hop/keys.ts'
import type { SocketAddress } from '../lib/plane/plane.ts'
import { encodeV1, encodeV2 } from '../lib/proxy-protocol/encode.ts'
import type { ProxyAddresses, Tlv } from '../lib/proxy-protocol/header.ts'
import { SSL_CLIENT, TLV, TLV_SSL } from '../lib/proxy-protocol/constants.ts'
import { encodeSsl } from '../lib/proxy-protocol/tlv.ts'
import type { Route } from './connection-record.ts'
import type { Opening } from './connection.ts'
import type { Node } from './nearest/node.ts'
import type { ClientTlsRecord } from './tls/client-tls.ts'

/** What is read of a node; Node has it. */
export type DialledNode = Pick<Node, 'row' | 'target'> & {
  /** Each thread that dials numbers its headers by itself. */
  readonly session: { readonly session: Uint8Array | null; readonly worker: number; nextCounter(): bigint } | null
}

export interface SignedOpening extends Opening {
  /** The session that the header counts in; null for foreign nodes. */
  readonly session: Uint8Array | null
}

/**
 * `self`: our identity. null while the node can't be dialled: no session with it, no key, an endpoint that is no address.
 * @throws NearcastError hop.protocol, proxy-header.invalid when route or node can't stand in a header.
 */
export function openingFor(
  self: string,
  node: DialledNode,
  route: Route,
  source: SocketAddress,
  destination: SocketAddress,
  tls: ClientTlsRecord | null = null,
): SignedOpening | null {
  const { row, target } = node
  if (target === null) return null
  const addresses: ProxyAddresses = { family: 'ipv6', transport: 'stream', source, destination }
  if (row.hop === 'v1') return { target, bytes: encodeV1(addresses), expectsStatus: false, session: null }
  if (row.hop === 'v2') return { target, bytes: encodeV2({ command: 'proxy', addresses, tlvs: tlvsOf(tls) }), expectsStatus: false, session: null }
  const session = node.session?.session ?? null
  const key = signingKey(row.keys)
  if (!node.session || session === null || key === null) return null
  const connection = {
    purpose: 'client' as const,
    dialer: self,
    agent: row.id,
    service: route.service,
    generation: route.generation,
    epoch: key.epoch,
    session,
    worker: node.session.worker,
    counter: node.session.nextCounter(),
    source,
    destination,
    tlvs: tlvsOf(tls),
  }
  return { target, bytes: encodeConnection(connection, key.key), expectsStatus: true, session }
}

/** Longer names than this come from certificates of a tenant's CA; they aren't worth a header. */
const MAX_COMMON_NAME_BYTES = 255
/** Specification, section 2.2.6: not zero without a verified client certificate. */
const UNVERIFIED = 1

/** What the proxy knows of the client's TLS (specification, sections 2.2.1, 2.2.2 and 2.2.6). Version 1 can't say it. */
export function tlvsOf(tls: ClientTlsRecord | null): Tlv[] {
  if (tls?.mode === 'passthrough') return tls.serverName === null ? [] : [tlv(TLV.authority, tls.serverName)]
  if (tls?.mode !== 'terminated') return []
  const { serverName, alpn, protocol, cipher, resumed, clientCertificate } = tls.session
  const name = clientCertificate?.commonName ?? ''
  const presented = clientCertificate ? SSL_CLIENT.certificateSession | (resumed ? 0 : SSL_CLIENT.certificateConnection) : 0
  const ssl = encodeSsl({
    client: SSL_CLIENT.ssl | presented,
    verify: clientCertificate ? 0 : UNVERIFIED,
    tlvs: [
      tlv(TLV_SSL.version, protocol),
      tlv(TLV_SSL.cipher, cipher),
      ...(name !== '' && Buffer.byteLength(name) <= MAX_COMMON_NAME_BYTES ? [tlv(TLV_SSL.commonName, name)] : []),
    ],
  })
  return [
    ...(alpn === null ? [] : [tlv(TLV.alpn, alpn)]),
    ...(serverName === null ? [] : [tlv(TLV.authority, serverName)]),
    { type: TLV.ssl, value: ssl },
  ]
}

function tlv(type: number, text: string): Tlv {
  return { type, value: Buffer.from(text) }
}
