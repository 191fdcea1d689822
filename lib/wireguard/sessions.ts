/** Who is meant by the 32-bit index of a message: a session, or a handshake of ours under way. Indexes are random. Pure. */
import type { RandomBytes } from './cookies.ts'
import type { PendingHandshake, Peer } from './peer.ts'
import type { Session } from './session.ts'

export interface IndexEntry {
  readonly peer: Peer
  readonly session: Session | null
}

export class Sessions {
  readonly #entries = new Map<number, IndexEntry>()
  readonly #random: RandomBytes

  constructor(random: RandomBytes) {
    this.#random = random
  }

  get count(): number {
    return this.#entries.size
  }

  /** A free index. */
  mint(): number {
    for (;;) {
      const bytes = this.#random(4)
      const index = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0)
      if (!this.#entries.has(index)) return index
    }
  }

  find(index: number): IndexEntry | undefined {
    return this.#entries.get(index)
  }

  addPending(peer: Peer, pending: PendingHandshake): void {
    this.dropPending(peer)
    peer.pending = pending
    this.#entries.set(pending.localIndex, { peer, session: null })
  }

  /** Its index goes with it, unless a session took that over. */
  dropPending(peer: Peer): void {
    if (peer.pending === null) return
    peer.pending.state.wipe()
    if (this.#entries.get(peer.pending.localIndex)?.session === null) this.#entries.delete(peer.pending.localIndex)
    peer.pending = null
  }

  addSession(peer: Peer, session: Session): void {
    this.#entries.set(session.localIndex, { peer, session })
  }

  /** Zeroes the keys. */
  drop(sessions: readonly (Session | null)[]): void {
    for (const session of sessions) {
      if (session === null) continue
      session.close()
      this.#entries.delete(session.localIndex)
    }
  }

  /** Everything that a peer has. */
  dropAll(peer: Peer): void {
    this.dropPending(peer)
    this.drop([peer.current, peer.previous, peer.next])
    peer.current = null
    peer.previous = null
    peer.next = null
  }
}
