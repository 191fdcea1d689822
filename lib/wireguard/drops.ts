/** What was thrown away, and why: counters, because a hostile network must not fill a log. */
export const DROP_REASONS = [
  /** No message of the protocol. */
  'malformed',
  /** A handshake message whose sender doesn't know our public key. */
  'mac1',
  /** Answered with a cookie, because we are under load. */
  'cookie-asked',
  /** Too many handshakes. */
  'too-many',
  /** A handshake of somebody who is no peer. */
  'unknown-peer',
  /** A message of a session that isn't there any more. */
  'unknown-session',
  /** It doesn't open with the keys of its session or handshake, or it came before. */
  'forged-or-replayed',
  /** Inside there is no IP packet. */
  'not-ip',
  /** The peer may not send from this address. */
  'source',
  /** No peer has this destination. */
  'no-route',
  /** The peer has no end point yet. */
  'no-endpoint',
  /** Waited for a session and had to make room. */
  'waited-too-long',
] as const

export type DropReason = (typeof DROP_REASONS)[number]

export class Drops {
  readonly #counts = new Map<DropReason, number>(DROP_REASONS.map((reason) => [reason, 0]))

  count(reason: DropReason): void {
    this.#counts.set(reason, this.of(reason) + 1)
  }

  of(reason: DropReason): number {
    return this.#counts.get(reason) ?? 0
  }

  get all(): ReadonlyMap<DropReason, number> {
    return new Map(this.#counts)
  }
}
