/**
 * WireGuard without sockets, interfaces, clock or randomness of its own: datagrams and packets go in, datagrams and
 * packets come out, and `nextDeadlineMs` says when `tick` has something to do.
 *
 * What stands in whom it may talk to is `setPeer` and `removePeer`, at any time; others don't notice. Everything that
 * comes from the network is hostile: what isn't authentic changes nothing but a counter.
 */
import { nodeAead } from './aead.ts'
import type { AeadFactory } from './aead.ts'
import { AllowedIps } from './allowed-ips.ts'
import type { Endpoint } from './bind.ts'
import { DEFAULT_MTU, HANDSHAKES_PER_SECOND, KEEPALIVE_TIMEOUT_MS, KEY_BYTES, MAX_PACKET_BYTES, MAX_WAITING_BYTES, MAX_WAITING_PACKETS, REJECT_AFTER_MS, REKEY_AFTER_MS, REKEY_TIMEOUT_MS } from './constants.ts'
import type { RandomBytes } from './cookies.ts'
import { Deadlines } from './deadlines.ts'
import { Drops } from './drops.ts'
import { Handshakes } from './handshakes.ts'
import { ipLength, ipShape } from './ip-packet.ts'
import { Jitter } from './jitter.ts'
import { KeyPair, PublicKey } from './keys.ts'
import { decodeMessage } from './messages.ts'
import type { Message } from './messages.ts'
import { NO_PRESHARED_KEY } from './noise.ts'
import { Peer } from './peer.ts'
import type { PeerContact, PeerOptions, PeerStatus } from './peer.ts'
import { formatPrefix, parsePrefix } from './prefix.ts'
import type { Session } from './session.ts'
import { Sessions } from './sessions.ts'
import { NearcastError } from '../errors.ts'

export interface Clock {
  /** Never set back. */
  monotonicMs(): number
  /** Since 1970; may jump. */
  wallMs(): number
}

export interface EngineOutput {
  /** The datagram belongs to the callee. */
  send(datagram: Uint8Array, to: Endpoint): void
  /** As a bind's. */
  room?(bytes: number, to: Endpoint): Uint8Array | null
  /** A packet from a peer, which may be used during the call only. */
  deliver(packet: Uint8Array, publicKey: string): void
}

export interface EngineOptions {
  /** 32 bytes; zeroed. */
  readonly privateKey: Uint8Array
  readonly clock: Clock
  readonly random: RandomBytes
  readonly output: EngineOutput
  /** Default: Node's. */
  readonly aead?: AeadFactory
  /** Of the packets inside. Default 1420. */
  readonly mtu?: number
  /** More than these a second ask for a cookie. Default 200. */
  readonly handshakesPerSecond?: number
  /**
   * Just-in-time peers: asked for a key that is no peer's; once it has proven itself it becomes one. Called before that,
   * so it must be cheap and change nothing.
   */
  readonly admit?: (publicKey: string) => PeerOptions | null
  /** A new session with a peer stands: both sides have shown that they have its keys. Called before anything comes out of it. */
  readonly established?: (publicKey: string) => void
}

const KEEPALIVE = new Uint8Array(0)
const LATE_MS = REJECT_AFTER_MS - KEEPALIVE_TIMEOUT_MS - REKEY_TIMEOUT_MS

export class Engine {
  readonly drops = new Drops()
  readonly #options: EngineOptions
  readonly #peers = new Map<string, Peer>()
  readonly #allowedIps = new AllowedIps<Peer>()
  readonly #sessions: Sessions
  readonly #deadlines = new Deadlines<Peer>()
  readonly #mtu: number
  readonly #jitter: Jitter
  #memory = new Uint8Array(2048)
  #waitingBytes = 0
  #handshakes: Handshakes
  #publicKey: PublicKey
  /** Options of a just-in-time peer that hasn't proven itself. */
  #candidate: { readonly peer: Peer; readonly options: PeerOptions } | null = null

  constructor(options: EngineOptions) {
    this.#options = options
    this.#mtu = options.mtu ?? DEFAULT_MTU
    this.#sessions = new Sessions(options.random)
    this.#jitter = new Jitter(options.random)
    const local = KeyPair.fromPrivate(options.privateKey)
    this.#publicKey = local.publicKey
    this.#handshakes = this.#start(local)
  }

  /** Base64. */
  get publicKey(): string {
    return this.#publicKey.text
  }

  /** In the clock's monotonic time; Infinity for never. */
  get nextDeadlineMs(): number {
    return this.#deadlines.nextMs
  }

  get sessionCount(): number {
    return this.#sessions.count
  }

  /** Makes a new identity of us: every session ends, every peer has to learn the key. `bytes` is zeroed. */
  setPrivateKey(bytes: Uint8Array): void {
    const local = KeyPair.fromPrivate(bytes)
    this.#handshakes.close()
    for (const peer of this.#peers.values()) {
      this.#forget(peer)
      peer.shared?.fill(0)
      peer.shared = null
    }
    this.#publicKey = local.publicKey
    this.#handshakes = this.#start(local)
  }

  /** Adds a peer, or changes what is named; its sessions stay. @throws NearcastError wireguard.key-invalid, address.invalid */
  setPeer(publicKey: string, options: PeerOptions = {}): void {
    const prefixes = options.allowedIps?.map(parsePrefix)
    if (options.presharedKey && options.presharedKey.length !== KEY_BYTES) throw new NearcastError('wireguard.key-invalid', 'A preshared key has 32 bytes.')
    if (publicKey === this.publicKey) throw new NearcastError('wireguard.key-invalid', 'This is our own public key; name that of the peer.')
    let peer = this.#peers.get(publicKey)
    if (peer === undefined) {
      peer = this.#newPeer(new PublicKey(publicKey))
      this.#peers.set(publicKey, peer)
    }
    if (options.presharedKey !== undefined) peer.presharedKey = options.presharedKey === null ? NO_PRESHARED_KEY : Uint8Array.from(options.presharedKey)
    if (options.endpoint !== undefined) peer.endpoint = options.endpoint
    if (prefixes !== undefined) {
      this.#allowedIps.remove(peer)
      for (const prefix of prefixes) this.#allowedIps.insert(prefix, peer)
    }
    if (options.persistentKeepaliveSeconds !== undefined) {
      const nowMs = this.#options.clock.monotonicMs()
      peer.timers.setPersistent(1000 * options.persistentKeepaliveSeconds, nowMs)
      if (options.persistentKeepaliveSeconds > 0) this.#keepAlive(peer, nowMs)
      this.#schedule(peer)
    }
  }

  /** One prefix: from now on this peer's, or nobody's; its others stay. Nothing happens for who is no peer. @throws NearcastError address.invalid */
  setOwner(prefix: string, publicKey: string | null): void {
    const parsed = parsePrefix(prefix)
    if (publicKey === null) return this.#allowedIps.delete(parsed)
    const peer = this.#peers.get(publicKey)
    if (peer !== undefined) this.#allowedIps.insert(parsed, peer)
  }

  /** Whose the address is that stands there in a packet (16 bytes): a public key, or null. */
  ownerAt(packet: Uint8Array, offset: number): string | null {
    return this.#allowedIps.lookup(packet, offset, 16)?.publicKey.text ?? null
  }

  /** What shows whether a peer is there; null for who is no peer. */
  contact(publicKey: string): PeerContact | null {
    const peer = this.#peers.get(publicKey)
    return peer === undefined ? null : { receivedBytes: peer.receivedBytes, hasSession: this.#hasSession(peer) }
  }

  /** @returns false when there was none. */
  removePeer(publicKey: string): boolean {
    const peer = this.#peers.get(publicKey)
    if (peer === undefined) return false
    this.#forget(peer)
    this.#deadlines.forget(peer)
    this.#allowedIps.remove(peer)
    peer.shared?.fill(0)
    if (peer.presharedKey !== NO_PRESHARED_KEY) peer.presharedKey.fill(0)
    return this.#peers.delete(publicKey)
  }

  get peerCount(): number {
    return this.#peers.size
  }

  hasPeer(publicKey: string): boolean {
    return this.#peers.has(publicKey)
  }

  *peers(): Generator<PeerStatus> {
    for (const peer of this.#peers.values()) {
      yield {
        publicKey: peer.publicKey.text,
        // A bind's own may say more.
        endpoint: peer.endpoint === null ? null : { host: peer.endpoint.host, port: peer.endpoint.port },
        allowedIps: this.#allowedIps.prefixesOf(peer).map(formatPrefix),
        receivedBytes: peer.receivedBytes,
        sentBytes: peer.sentBytes,
        lastHandshakeMs: peer.lastHandshakeWallMs,
        hasSession: this.#hasSession(peer),
      }
    }
  }

  /** A packet that wants to leave; it may be used again afterwards. */
  send(packet: Uint8Array): void {
    const shape = ipShape(packet)
    if (shape === null || packet.length > MAX_PACKET_BYTES) return this.drops.count('not-ip')
    const peer = this.#allowedIps.lookup(packet, shape.destinationOffset, shape.addressBytes)
    if (peer === null) return this.drops.count('no-route')
    if (peer.endpoint === null) return this.drops.count('no-endpoint')
    const nowMs = this.#options.clock.monotonicMs()
    if (peer.waiting.length === 0 && peer.current?.isOver(nowMs) === false) this.#sealAndSend(peer, peer.current, packet, peer.endpoint, nowMs)
    else {
      this.#wait(peer, Uint8Array.from(packet))
      this.#flush(peer, nowMs)
    }
    this.#schedule(peer)
  }

  /** A datagram that came; it may be used again afterwards. */
  receive(datagram: Uint8Array, from: Endpoint): void {
    const message = datagram.length <= MAX_PACKET_BYTES ? decodeMessage(datagram) : null
    const nowMs = this.#options.clock.monotonicMs()
    switch (message?.type) {
      case 'transport':
        return this.#takeTransport(message, datagram.length, from, nowMs)
      case 'initiation': {
        const peer = this.#handshakes.takeInitiation(datagram, message, from, nowMs)
        if (peer !== null) this.#schedule(peer)
        return
      }
      case 'response': {
        const peer = this.#handshakes.takeResponse(datagram, message, from, nowMs)
        if (peer === null) return
        this.#established(peer)
        // Even an empty packet tells the other side that the session stands.
        this.#keepAlive(peer, nowMs)
        return this.#schedule(peer)
      }
      case 'cookie-reply':
        return this.#handshakes.takeCookie(message, nowMs)
      default:
        return this.drops.count('malformed')
    }
  }

  /** Does what is due. */
  tick(): void {
    const nowMs = this.#options.clock.monotonicMs()
    for (let peer = this.#deadlines.take(nowMs); peer !== null; peer = this.#deadlines.take(nowMs)) {
      for (const due of peer.timers.due(nowMs)) {
        if (due === 'retry') this.#handshakes.initiate(peer, nowMs)
        else if (due === 'handshake') this.#wantHandshake(peer, nowMs)
        else if (due === 'keepalive') this.#keepAlive(peer, nowMs)
        else if (due === 'forget') this.#forget(peer)
        else this.#giveUp(peer)
      }
      this.#schedule(peer)
    }
  }

  /** Zeroes every key. Nothing may be asked of it afterwards. */
  close(): void {
    for (const publicKey of this.#peers.keys()) this.removePeer(publicKey)
    this.#handshakes.close()
    this.#memory.fill(0)
  }

  #start(local: KeyPair): Handshakes {
    const { random, aead = nodeAead, output, clock, handshakesPerSecond = HANDSHAKES_PER_SECOND } = this.#options
    return new Handshakes(local, {
      random,
      aead,
      handshakesPerSecond,
      drops: this.drops,
      sessions: this.#sessions,
      wallMs: () => clock.wallMs(),
      send: (datagram, to) => output.send(datagram, to),
      findPeer: (publicKey, bytes) => this.#peers.get(publicKey) ?? this.#consider(publicKey, bytes),
      proven: (peer, from, bytes, nowMs) => this.#proven(peer, from, bytes, nowMs),
    })
  }

  #newPeer(publicKey: PublicKey): Peer {
    return new Peer(publicKey, this.#jitter.nextMs)
  }

  #consider(publicKey: string, bytes: Uint8Array): Peer | null {
    const options = publicKey === this.publicKey ? null : (this.#options.admit?.(publicKey) ?? null)
    if (options === null) return null
    const peer = this.#newPeer(new PublicKey(bytes))
    if (options.presharedKey) peer.presharedKey = options.presharedKey
    this.#candidate = { peer, options }
    return peer
  }

  #proven(peer: Peer, from: Endpoint, datagramBytes: number, nowMs: number): void {
    if (this.#candidate?.peer === peer) {
      this.#peers.set(peer.publicKey.text, peer)
      this.setPeer(peer.publicKey.text, { ...this.#candidate.options, endpoint: from })
      this.#candidate = null
    }
    peer.endpoint = from
    peer.receivedBytes += datagramBytes
    peer.timers.packetReceived(nowMs)
  }

  #established(peer: Peer): void {
    peer.timers.handshakeComplete()
    peer.isRenewedLate = false
    peer.lastHandshakeWallMs = this.#options.clock.wallMs()
    // Until the next handshake nobody asks for it.
    peer.publicKey.rest()
    this.#options.established?.(peer.publicKey.text)
  }

  #takeTransport({ receiver, counter, sealed }: Extract<Message, { type: 'transport' }>, datagramBytes: number, from: Endpoint, nowMs: number): void {
    const entry = this.#sessions.find(receiver)
    const session = entry?.session ?? null
    if (entry === undefined || session === null || session.isOver(nowMs)) return this.drops.count('unknown-session')
    if (sealed.length > this.#memory.length) this.#memory = new Uint8Array(MAX_PACKET_BYTES)
    const padded = session.open(counter, sealed, this.#memory)
    if (padded === null) return this.drops.count('forged-or-replayed')
    const { peer } = entry
    this.#proven(peer, from, datagramBytes, nowMs)
    if (session === peer.next) {
      this.#sessions.drop([peer.confirm(session)])
      this.#established(peer)
      this.#flush(peer, nowMs)
    }
    if (session === peer.current && session.isInitiator && !peer.isRenewedLate && nowMs - session.sinceMs >= LATE_MS) {
      peer.isRenewedLate = true
      this.#wantHandshake(peer, nowMs)
    }
    if (padded.length > 0) {
      peer.timers.dataReceived(nowMs)
      this.#deliver(padded, peer)
    }
    this.#schedule(peer)
  }

  #deliver(padded: Uint8Array, peer: Peer): void {
    const shape = ipShape(padded)
    const length = shape === null ? 0 : ipLength(padded, shape)
    if (shape === null || length === 0) return this.drops.count('not-ip')
    if (this.#allowedIps.lookup(padded, shape.sourceOffset, shape.addressBytes) !== peer) return this.drops.count('source')
    this.#options.output.deliver(padded.subarray(0, length), peer.publicKey.text)
  }

  #sealAndSend(peer: Peer, session: Session, packet: Uint8Array, to: Endpoint, nowMs: number): void {
    const { output } = this.#options
    const datagram = session.seal(packet, this.#mtu, (bytes) => output.room?.(bytes, to) ?? null)
    peer.sentBytes += datagram.length
    output.send(datagram, to)
    peer.timers.packetSent(nowMs)
    if (packet.length > 0) peer.timers.dataSent(nowMs)
    if (session.isWorn || (session.isInitiator && nowMs - session.sinceMs >= REKEY_AFTER_MS)) this.#wantHandshake(peer, nowMs)
  }

  /** Sends what waits, or sees to a session. */
  #flush(peer: Peer, nowMs: number): void {
    const { endpoint } = peer
    if (endpoint === null) return
    while (peer.waiting.length > 0) {
      const session = peer.current
      if (session === null || session.isOver(nowMs)) return this.#wantHandshake(peer, nowMs)
      const packet = peer.waiting.shift() ?? KEEPALIVE
      this.#waitingBytes -= packet.length
      this.#sealAndSend(peer, session, packet, endpoint, nowMs)
    }
  }

  #wait(peer: Peer, packet: Uint8Array): void {
    if (peer.waiting.length >= MAX_WAITING_PACKETS) {
      this.#waitingBytes -= peer.waiting.shift()?.length ?? 0
      this.drops.count('waited-too-long')
    }
    if (this.#waitingBytes + packet.length > MAX_WAITING_BYTES) return this.drops.count('waited-too-long')
    this.#waitingBytes += packet.length
    peer.waiting.push(packet)
  }

  #keepAlive(peer: Peer, nowMs: number): void {
    if (peer.waiting.length === 0 && peer.endpoint !== null) this.#wait(peer, KEEPALIVE)
    this.#flush(peer, nowMs)
  }

  #wantHandshake(peer: Peer, nowMs: number): void {
    peer.timers.handshakeWanted()
    this.#handshakes.initiate(peer, nowMs)
  }

  #giveUp(peer: Peer): void {
    for (const packet of peer.waiting) {
      this.#waitingBytes -= packet.length
      this.drops.count('waited-too-long')
    }
    peer.waiting = []
    this.#sessions.dropPending(peer)
  }

  #forget(peer: Peer): void {
    this.#giveUp(peer)
    this.#sessions.dropAll(peer)
    peer.forgetCookies()
    peer.publicKey.rest()
    peer.timers.reset()
    peer.lastInitiationSentMs = -Infinity
  }

  #hasSession(peer: Peer): boolean {
    return peer.current?.isOver(this.#options.clock.monotonicMs()) === false
  }

  #schedule(peer: Peer): void {
    this.#deadlines.note(peer, peer.deadlineMs)
  }
}
