/**
 * Making sessions: initiations and responses of both roles, cookies (whitepaper, sections 5.4.2 to 5.4.4 and 5.4.7).
 * Every message is checked in the order of what the check costs, and one that fails changes nothing. Pure.
 */
import type { AeadFactory } from './aead.ts'
import type { Endpoint } from './bind.ts'
import { KEY_BYTES, REKEY_TIMEOUT_MS } from './constants.ts'
import { CookieIssuer } from './cookies.ts'
import type { RandomBytes } from './cookies.ts'
import type { DropReason, Drops } from './drops.ts'
import { HandshakeLoad } from './handshake-load.ts'
import { encodeKey, KeyPair } from './keys.ts'
import { encodeInitiation, encodeResponse } from './messages.ts'
import type { Message } from './messages.ts'
import { readPayload, readSecond, readStatic, writeFirst, writeSecond } from './noise.ts'
import type { Peer } from './peer.ts'
import { Session } from './session.ts'
import type { Sessions } from './sessions.ts'
import { timestampAfter } from './tai64n.ts'

/** What handshakes need of the engine around them. */
export interface HandshakeHost {
  readonly random: RandomBytes
  readonly aead: AeadFactory
  readonly drops: Drops
  readonly sessions: Sessions
  readonly handshakesPerSecond: number
  wallMs(): number
  send(datagram: Uint8Array, to: Endpoint): void
  /** The peer of a claimed key, or one that could become a peer. */
  findPeer(publicKey: string, bytes: Uint8Array): Peer | null
  /** Somebody proved to be this peer, from this end point. */
  proven(peer: Peer, from: Endpoint, datagramBytes: number, nowMs: number): void
}

type Of<Type extends Message['type']> = Extract<Message, { type: Type }>

export class Handshakes {
  readonly #host: HandshakeHost
  readonly #local: KeyPair
  readonly #issuer: CookieIssuer
  readonly #load: HandshakeLoad

  constructor(local: KeyPair, host: HandshakeHost) {
    this.#local = local
    this.#host = host
    this.#issuer = new CookieIssuer(local.publicKey, host.random)
    this.#load = new HandshakeLoad(host.handshakesPerSecond)
  }

  /** Not more often than every 5 s, and nothing without an end point. */
  initiate(peer: Peer, nowMs: number): void {
    if (peer.endpoint === null || nowMs - peer.lastInitiationSentMs < REKEY_TIMEOUT_MS) return
    const shared = peer.agree(this.#local)
    if (shared === null) return
    const ephemeral = this.#ephemeral()
    const timestamp = timestampAfter(this.#host.wallMs(), peer.lastTimestampSent)
    const written = writeFirst({ local: this.#local, remote: peer.publicKey, shared }, ephemeral, timestamp)
    if (written === null) return
    const localIndex = this.#host.sessions.mint()
    this.#host.sessions.addPending(peer, { localIndex, state: written.state, ephemeral })
    peer.lastTimestampSent = timestamp
    peer.lastInitiationSentMs = nowMs
    this.#sendSigned(peer, encodeInitiation(localIndex, written.message), peer.endpoint, nowMs)
    peer.timers.initiationSent(nowMs)
  }

  /** @returns the peer who now has a session that it may use, or null */
  takeInitiation(datagram: Uint8Array, { sender, first }: Of<'initiation'>, from: Endpoint, nowMs: number): Peer | null {
    if (!this.#mayPass(datagram, sender, from, nowMs)) return null
    const { sessions } = this.#host
    const read = readStatic(this.#local, first)
    if (read === null) return this.#drop('forged-or-replayed')
    const { claimed, state } = read
    try {
      const peer = this.#host.findPeer(encodeKey(claimed), claimed)
      if (peer === null) return this.#drop('unknown-peer')
      const shared = peer.agree(this.#local)
      const timestamp = shared === null ? null : readPayload(state, shared, first)
      if (timestamp === null || !peer.acceptTimestamp(timestamp, nowMs)) return this.#drop('forged-or-replayed')
      const responder = { remote: peer.publicKey, remoteEphemeral: first.ephemeral, presharedKey: peer.presharedKey }
      const written = writeSecond(state, responder, this.#ephemeral())
      if (written === null) return this.#drop('forged-or-replayed')
      this.#host.proven(peer, from, datagram.length, nowMs)
      const session = new Session({ isInitiator: false, localIndex: sessions.mint(), remoteIndex: sender, nowMs }, written.keys, this.#host.aead)
      sessions.addSession(peer, session)
      sessions.drop([peer.beginAsResponder(session)])
      peer.timers.sessionMade(nowMs)
      this.#sendSigned(peer, encodeResponse(session.localIndex, sender, written.message), from, nowMs)
      peer.timers.packetSent(nowMs)
      return peer
    } finally {
      state.wipe()
    }
  }

  /** @returns the peer that answered, whose session may be used at once */
  takeResponse(datagram: Uint8Array, { sender, receiver, second }: Of<'response'>, from: Endpoint, nowMs: number): Peer | null {
    if (!this.#mayPass(datagram, sender, from, nowMs)) return null
    const { sessions } = this.#host
    const peer = sessions.find(receiver)?.peer
    const pending = peer?.pending
    if (peer === undefined || pending?.localIndex !== receiver) return this.#drop('unknown-session')
    const read = readSecond(pending.state, this.#local, pending.ephemeral, peer.presharedKey, second)
    if (read === null) return this.#drop('forged-or-replayed')
    this.#host.proven(peer, from, datagram.length, nowMs)
    const session = new Session({ isInitiator: true, localIndex: receiver, remoteIndex: sender, nowMs }, read.keys, this.#host.aead)
    sessions.addSession(peer, session)
    sessions.dropPending(peer)
    sessions.drop(peer.beginAsInitiator(session))
    peer.timers.sessionMade(nowMs)
    return peer
  }

  takeCookie({ receiver, nonce, sealedCookie }: Of<'cookie-reply'>, nowMs: number): void {
    const peer = this.#host.sessions.find(receiver)?.peer
    if (peer === undefined) this.#host.drops.count('unknown-session')
    else if (!peer.cookies.accept(nonce, sealedCookie, nowMs)) this.#host.drops.count('forged-or-replayed')
  }

  close(): void {
    this.#issuer.close()
  }

  #mayPass(datagram: Uint8Array, sender: number, from: Endpoint, nowMs: number): boolean {
    const { drops } = this.#host
    if (!this.#issuer.hasMac1(datagram)) {
      drops.count('mac1')
      return false
    }
    if (!this.#load.isUnder(nowMs)) return true
    if (!this.#issuer.hasMac2(datagram, from, nowMs)) {
      drops.count('cookie-asked')
      this.#host.send(this.#issuer.reply(datagram, sender, from, nowMs), from)
      return false
    }
    if (this.#load.mayCome(from.host, nowMs)) return true
    drops.count('too-many')
    return false
  }

  #drop(reason: DropReason): null {
    this.#host.drops.count(reason)
    return null
  }

  #ephemeral(): KeyPair {
    return KeyPair.fromPrivate(this.#host.random(KEY_BYTES))
  }

  #sendSigned(peer: Peer, message: Uint8Array, to: Endpoint, nowMs: number): void {
    peer.cookies.sign(message, nowMs)
    peer.sentBytes += message.length
    this.#host.send(message, to)
  }
}
