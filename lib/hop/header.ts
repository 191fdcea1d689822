/**
 * The opening of every hop connection: a PROXY v2 header with TLV 0xE7, on top of lib/proxy-protocol. Pure.
 *
 *   session, probe   LOCAL;       version u8 = 1, kind u8 (1, 2), dialer, agent
 *   connection       PROXY TCP6;  version u8 = 1, kind u8 (3), purpose u8, epoch u32, generation u32, session 16 bytes,
 *                                 worker u16, counter u64, dialer, agent, service, mac 32 bytes
 *
 * Names are a length byte and that many bytes; numbers are big-endian. The mac ends the TLV: HMAC-SHA256 over the WHOLE
 * header (addresses and other TLVs too) with its own 32 bytes zeroed. TLVs beside ours are signed and passed on as they are.
 * What it doesn't do: replay (sessions.ts), and whether service, address and generation belong together (the agent).
 */
import { timingSafeEqual } from 'node:crypto'
import { ipv6FromBytes } from '../address.ts'
import { NearcastError } from '../errors.ts'
import type { SocketAddress } from '../plane/plane.ts'
import { decode } from '../proxy-protocol/decode.ts'
import { encodeV2 } from '../proxy-protocol/encode.ts'
import type { Endpoint, ProxyHeaderV2, Tlv } from '../proxy-protocol/header.ts'
import { FieldReader, FieldWriter } from './fields.ts'
import { hmacSha256 } from './mac.ts'
import { HOP_TLV, HOP_VERSION, MAC_BYTES, MAX_HOP_HEADER_BYTES, SESSION_BYTES } from './protocol.ts'

const KIND = { session: 1, probe: 2, connection: 3 } as const
const PURPOSE = { client: 0, replication: 1 } as const
const DIALER = /^(?:proxy|agent)\/[a-z0-9][a-z0-9-]{0,39}$/
const AGENT = /^[a-z0-9][a-z0-9-]{0,39}$/
/** Printable ASCII: a service id stands in logs and paths. */
const SERVICE = /^[\x21-\x7e]{1,64}$/
const MAX_U32 = 0xffff_ffff
const MAX_U64 = 0xffff_ffff_ffff_ffffn

export interface HopConnection {
  readonly purpose: 'client' | 'replication'
  /** `proxy/<id>` or `agent/<id>` */
  readonly dialer: string
  /** The node's bare id: a header for one agent is worth nothing at another. */
  readonly agent: string
  readonly service: string
  /** Of the destination address; 0 for replication. */
  readonly generation: number
  /** Which of the pair's keys signed it. */
  readonly epoch: number
  /** 16 bytes, the agent's challenge. */
  readonly session: Uint8Array
  readonly worker: number
  /** Once per (session, worker). */
  readonly counter: bigint
  readonly source: SocketAddress
  readonly destination: SocketAddress
  /** What else the header says (the client's TLS), in the order of the wire; signed like the rest. */
  readonly tlvs?: readonly Tlv[]
}

export interface ConnectionOpening {
  readonly kind: 'connection'
  readonly connection: HopConnection
  /** The whole header with the mac zeroed: what `mac` signs. */
  readonly signed: Uint8Array
  readonly mac: Uint8Array
}

export interface LocalOpening {
  readonly kind: 'session' | 'probe'
  readonly dialer: string
  readonly agent: string
}

export type HopOpening = LocalOpening | ConnectionOpening

export type DecodedOpening =
  | { readonly state: 'incomplete' }
  | { readonly state: 'done'; readonly opening: HopOpening; readonly headerBytes: number }
  | { readonly state: 'invalid'; readonly reason: string }

/** @throws NearcastError hop.protocol for names that are no identities. */
export function encodeSession(dialer: string, agent: string): Uint8Array {
  return encodeLocal(KIND.session, dialer, agent)
}

/** @throws NearcastError hop.protocol for names that are no identities. */
export function encodeProbe(dialer: string, agent: string): Uint8Array {
  return encodeLocal(KIND.probe, dialer, agent)
}

function encodeLocal(kind: number, dialer: string, agent: string): Uint8Array {
  checkNames(dialer, agent)
  const value = new FieldWriter().u8(HOP_VERSION).u8(kind).name(dialer).name(agent).bytes()
  return encodeV2({ command: 'local', addresses: { family: 'unspecified' }, tlvs: [{ type: HOP_TLV, value }] })
}

/** The signed header. `key` is that of `connection.epoch`. @throws NearcastError hop.protocol, proxy-header.invalid. */
export function encodeConnection(connection: HopConnection, key: Uint8Array): Uint8Array {
  checkNames(connection.dialer, connection.agent, connection.service)
  checkNumbers(connection)
  const value = new FieldWriter()
    .u8(HOP_VERSION)
    .u8(KIND.connection)
    .u8(PURPOSE[connection.purpose])
    .u32(connection.epoch)
    .u32(connection.generation)
    .raw(connection.session)
    .u16(connection.worker)
    .u64(connection.counter)
    .name(connection.dialer)
    .name(connection.agent)
    .name(connection.service)
    .raw(new Uint8Array(MAC_BYTES))
    .bytes()
  const header = encodeV2({
    command: 'proxy',
    addresses: { family: 'ipv6', transport: 'stream', source: connection.source, destination: connection.destination },
    // Ours is the last one: the mac ends the header.
    tlvs: [...(connection.tlvs ?? []), { type: HOP_TLV, value }],
  })
  header.set(hmacSha256(key, header), header.length - MAC_BYTES)
  return header
}

function misuse(why: string): NearcastError {
  return new NearcastError('hop.protocol', `A hop header can't be made: ${why}.`)
}

function checkNames(dialer: string, agent: string, service?: string): void {
  if (!DIALER.test(dialer)) throw misuse(`"${dialer.slice(0, 64)}" is not proxy/<id> or agent/<id>`)
  if (!AGENT.test(agent)) throw misuse(`"${agent.slice(0, 64)}" is no node id`)
  if (service !== undefined && !SERVICE.test(service)) throw misuse('a service id has 1 to 64 printable characters')
}

function checkNumbers({ epoch, generation, worker, counter, session }: HopConnection): void {
  if (!isWhole(epoch, MAX_U32) || !isWhole(generation, MAX_U32)) throw misuse('epoch and generation are 32-bit numbers')
  if (!isWhole(worker, 0xffff)) throw misuse('a worker is a 16-bit number')
  if (counter < 0n || counter > MAX_U64) throw misuse('a counter is a 64-bit number')
  if (session.length !== SESSION_BYTES) throw misuse(`a session has ${SESSION_BYTES} bytes`)
}

function isWhole(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max
}

/** Give it everything read so far. Reads nothing behind the header; the rest of `bytes` is the caller's. */
export function decodeOpening(bytes: Uint8Array): DecodedOpening {
  const decoded = decode(bytes, { version: 'v2', maxBytes: MAX_HOP_HEADER_BYTES })
  if (decoded.state !== 'done') return decoded
  const { header, headerBytes } = decoded
  const opening = openingOf(header, bytes.subarray(0, headerBytes))
  return typeof opening === 'string' ? { state: 'invalid', reason: opening } : { state: 'done', opening, headerBytes }
}

function openingOf(header: ProxyHeaderV2, whole: Uint8Array): HopOpening | string {
  const [ours, second] = header.tlvs.filter((tlv) => tlv.type === HOP_TLV)
  if (ours === undefined) return 'it has no hop TLV'
  if (second !== undefined) return 'it has two hop TLVs'
  const fields = new FieldReader(ours.value)
  if (fields.u8() !== HOP_VERSION) return `its hop version is not ${HOP_VERSION}`
  const kind = fields.u8()
  if (kind === KIND.connection) return connectionOf(header, ours.value, fields, whole)
  if (kind !== KIND.session && kind !== KIND.probe) return 'its kind is unknown'
  if (header.command !== 'local') return 'a session or probe is LOCAL'
  const dialer = fields.name()
  const agent = fields.name()
  if (!fields.exhausted) return 'its hop TLV is malformed'
  if (!DIALER.test(dialer) || !AGENT.test(agent)) return 'its dialer or agent is no identity'
  return { kind: kind === KIND.session ? 'session' : 'probe', dialer, agent }
}

function connectionOf(header: ProxyHeaderV2, value: Uint8Array, fields: FieldReader, whole: Uint8Array): HopOpening | string {
  const { command, addresses } = header
  if (command !== 'proxy' || addresses.family !== 'ipv6' || addresses.transport !== 'stream') return 'a connection is PROXY TCP6'
  const purpose = fields.u8()
  const epoch = fields.u32()
  const generation = fields.u32()
  const session = fields.raw(SESSION_BYTES)
  const worker = fields.u16()
  const counter = fields.u64()
  const dialer = fields.name()
  const agent = fields.name()
  const service = fields.name()
  const mac = fields.raw(MAC_BYTES)
  if (!fields.exhausted) return 'its hop TLV is malformed'
  if (purpose !== PURPOSE.client && purpose !== PURPOSE.replication) return 'its purpose is unknown'
  if (!DIALER.test(dialer) || !AGENT.test(agent)) return 'its dialer or agent is no identity'
  if (!SERVICE.test(service)) return 'its service is no id'
  const signed = Uint8Array.from(whole)
  const macOffset = value.byteOffset - whole.byteOffset + value.length - MAC_BYTES
  signed.fill(0, macOffset, macOffset + MAC_BYTES)
  const connection: HopConnection = {
    purpose: purpose === PURPOSE.client ? 'client' : 'replication',
    dialer,
    agent,
    service,
    generation,
    epoch,
    session,
    worker,
    counter,
    source: socketAddress(addresses.source),
    destination: socketAddress(addresses.destination),
    ...(header.tlvs.length > 1 && { tlvs: header.tlvs.filter((tlv) => tlv.type !== HOP_TLV).map(copied) }),
  }
  return { kind: 'connection', connection, signed, mac }
}

function copied({ type, value }: Tlv): Tlv {
  return { type, value: Uint8Array.from(value) }
}

function socketAddress({ ip, port }: Endpoint): SocketAddress {
  return { ip: ipv6FromBytes(ip), port }
}

/**
 * Whether the header was signed with the key of its epoch. Constant time in the signature.
 * `keys`: those of the pair (connection.dialer, this agent); the caller also checks that connection.agent is itself.
 */
export function verifyConnection(opening: ConnectionOpening, keys: ReadonlyMap<number, Uint8Array>): boolean {
  const key = keys.get(opening.connection.epoch)
  return key !== undefined && timingSafeEqual(hmacSha256(key, opening.signed), opening.mac)
}
